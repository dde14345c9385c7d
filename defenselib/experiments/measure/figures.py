"""What single figures ask beside a method.

D-BR: all pairs of transformations (Figs. 11, 12), features (Figs. 1, 7, App. A.1). An experiment asks by
`defense_args={"probe": ...}`, which is part of its hash, though no model depends on it. BSD: open-set scores after a
quarter and a half of the main model's warm-up (Fig. 8).
"""

from __future__ import annotations

import torch
from torch import Tensor

from defenselib.data.augment.transforms import TRANSFORMS, draw, named
from defenselib.data.subset import spread
from defenselib.data.types import ImageSet, PoisonedDataset
from defenselib.defenses import scores
from defenselib.defenses.base import Defense
from defenselib.defenses.bsd import BSD
from defenselib.defenses.bsd_models import open_set_scores
from defenselib.defenses.dbr import DBR
from defenselib.defenses.distinguish import mean_fct, split_by_rank
from defenselib.errors import InvalidValueError
from defenselib.experiments.measure.observer import Observer, Watch
from defenselib.experiments.spec import Resolved
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.models import Classifier

SAMPLES = 1000  # that features are kept of
COMPONENTS = 30  # principal ones: as much as a t-SNE needs, in a file that can be committed


def arrays_of(defense: Defense, train: ImageSet, context: Context) -> dict[str, Tensor]:
    """What `probe` asks for, once the defense has been fitted on `train`: events, and arrays for the figures."""
    if not isinstance(defense, DBR) or defense.probe == "none":
        return {}
    backdoored = None if context.upstream is None else context.upstream.model
    if not isinstance(backdoored, Classifier):
        raise InvalidValueError("the features of D-BR are those of the undefended model (context.upstream)")
    implanted, tuned = defense.brief_training().models(train, context.build_model, context)
    if defense.probe == "pairs":
        observe_pairs(defense, tuned, train, context)
        return {}
    for name, model in (("implanted", implanted), ("tuned", tuned)):
        found = scores.features(model, train.images)
        context.observe("features", name=name, values=found, labels=train.labels)
    context.observe("scores", name="fitted", epoch=defense.sd_epochs, values=fitted_labels(implanted, train))
    return feature_arrays(backdoored, train, defense.transforms, context)


def observe_pairs(defense: DBR, tuned: Classifier, train: ImageSet, context: Context) -> None:
    """Report the split by every ordered pair of transformations, named "first+second"."""
    stream, ties = context.generator("sensitivity/tau"), context.generator("sensitivity/ties")
    seed = int(torch.randint(2**62, (1,), generator=stream, device=stream.device))
    for pair in ((first, second) for first in TRANSFORMS for second in TRANSFORMS):
        values = mean_fct(tuned, train, pair, (seed,))
        split = split_by_rank(values, defense.clean_share, defense.poison_share, defense.ties, ties)
        context.observe("split", name="+".join(pair), epoch=0, clean=split.clean, poison=split.poison)


def fitted_labels(model: Classifier, train: ImageSet) -> Tensor:
    """1 where the model's prediction is the given label, else 0, float (N,)."""

    def same(logits: Tensor, index: Tensor) -> Tensor:
        return (logits.argmax(1) == train.labels[index]).float()

    return infer(model, train.images, Context(model_factory=lambda: model, device=train.images.device), same)


def feature_arrays(
    model: Classifier, train: ImageSet, transforms: tuple[str, ...], context: Context
) -> dict[str, Tensor]:
    """Features of samples spread over the training set as they are and transformed, (n, 2, C) float16, in their
    common principal components; `feature_index` int32 (n,), `feature_label` uint8 (n,)."""
    index = spread(torch.arange(len(train), device=train.labels.device), SAMPLES)
    n, images = len(index), train.images[index]
    tau = named(transforms)
    moved = tau(images, draw(tau, n, context.generator("sensitivity/features")))
    both = torch.cat([scores.features(model, images), scores.features(model, moved)])
    centred = both.double() - both.double().mean(0)
    # As in a principal component analysis, with signs fixed by the largest entry so that every machine agrees.
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :COMPONENTS]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    reduced = (centred @ axes).clamp(-6e4, 6e4).half().view(2, n, -1).transpose(0, 1)
    return {
        "features": reduced.contiguous(),
        "feature_index": index.to(torch.int32),
        "feature_label": train.labels[index].to(torch.int32),
    }


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
