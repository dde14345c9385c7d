"""BSD's open-set scores after a quarter and a half of its main model's warm-up, which Figure 8 alone looks at."""

from __future__ import annotations

from defenselib.data.types import PoisonedDataset
from defenselib.defenses.bsd import BSD
from defenselib.defenses.bsd_models import open_set_scores
from defenselib.experiments.measure.observer import Observer, Watch
from defenselib.experiments.spec import Resolved
from defenselib.learning.context import Context
from defenselib.models import Classifier


def watch_of(poisoned: PoisonedDataset, resolved: Resolved) -> Watch | None:
    """Keeps `scores/distance_RULE/EPOCH` of the model at the start of these epochs; None for runs without them."""
    bsd = resolved.defense
    if not isinstance(bsd, BSD) or bsd.initial_pool == "random" or bsd.first_epoch:
        return None
    due = {bsd.stage1_end // 4, bsd.stage1_end // 2} - {0}
    train = poisoned.train.channels_last()

    def watch(observer: Observer, model: Classifier, stage: str, epoch: int) -> None:
        if stage != "bsd" or epoch + 1 not in due:
            return
        context = Context(model_factory=lambda: model, device=train.images.device, precision=resolved.precision)
        found = open_set_scores(model, train, int(observer.metrics["target_guess"]), context)
        for rule, values in found.items():
            observer("scores", name=f"distance_{rule}", epoch=epoch + 1, values=values)

    return watch
