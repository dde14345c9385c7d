"""A-ABL's first stages (Zhao, Wressnegger, AISec 2024, Sec. 5.1 and 5.2): a naive model, and what it gives away.

A sample whose prediction resists a small perturbation hangs on a shortcut: a naive model is sure of a BadNets patch
however the pixels around it are shifted. Its symmetric cross-entropy stays low under iFGSM, that of others jumps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel
from defenselib.defenses.scores import adversarial_sce, otsu_threshold, sce
from defenselib.errors import check_batch_sizes, check_choice, check_counts, check_fields, check_positive
from defenselib.learning.context import Context
from defenselib.learning.settings import stage_key
from defenselib.learning.supervised import make_optimizer, supervised_stage
from defenselib.models import Classifier

# The augmentations are those of `aabl_views`, which loads torchvision.
SPLITS = ("ifgsm", "randaugment", "autoaugment", "augmix")
# torchvision draws once a call: so many samples, neighbours in a random order, share a draw.
GROUP = 8


@dataclass(frozen=True)
class NaiveTraining:
    """Plain cross-entropy by Adam at a fixed rate (Sec. 5.1). Stage: "naive", shared by all cells that agree in it."""

    epochs: int = 20
    learning_rate: float = 0.001
    batch_size: int = 128
    padding: int = 4
    padding_mode: str = "reflect"

    def __post_init__(self) -> None:
        Augment(self.padding, self.padding_mode)
        check_batch_sizes(self, "batch_size")
        check_counts(self, "epochs", prefix="naive_")
        check_positive(self, "learning_rate", prefix="naive_")

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Classifier:
        """The naive model of `train`, from the store where another cell has made it."""
        trained = context.cached(stage_key("naive", **asdict(self)), partial(self._train, train, build_model, context))
        model = build_model("naive")
        model.load_state_dict(trained)
        return model

    def _train(self, train: ImageSet, build_model: BuildModel, context: Context) -> dict[str, Tensor]:
        model = build_model("naive")
        optimizer = make_optimizer(list(model.parameters()), "adam", self.learning_rate)
        augment = Augment(self.padding, self.padding_mode, flip=context.flip)
        supervised_stage("naive", self.epochs, model, optimizer, train, context, augment, self.batch_size)
        return dict(model.state_dict())


@dataclass(frozen=True)
class Vulnerability:
    """How high the symmetric cross-entropy of a sample's label climbs when its image is changed (Sec. 5.2, Table 5).

    split: "ifgsm" raises the cross-entropy within eps in `steps` steps of length `step` (both in grey levels of 255),
    without random start; "randaugment", "autoaugment" and "augmix" show one augmented view instead.

    Example: `Vulnerability()(model, train, context)` gives float32 (N,); low is a backdoor that resists.
    """

    split: str = "ifgsm"
    eps: float = 2.0
    step: float = 2.0
    steps: int = 5
    alpha: float = 0.1
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_choice("split", self.split, SPLITS)
        check_fields(self, 0.0, 255.0, "eps", "step", prefix="split_")
        check_counts(self, "steps", prefix="split_")
        check_fields(self, 0.0, float("inf"), "alpha", "beta", prefix="sce_")

    def __call__(self, model: Classifier, train: ImageSet, context: Context) -> Tensor:
        if self.split == "ifgsm":
            eps, step = self.eps / 255, self.step / 255
            return adversarial_sce(
                model, train.images, train.labels, context, eps, step, self.steps, self.alpha, self.beta
            )
        changed = augmented(train.images, self.split, context.generator("split/augment"))
        return sce(model, changed, train.labels, context, self.alpha, self.beta)


def augmented(images: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """One view of every image by one of `AUGMENTATIONS`; uint8 (N, 3, H, W) to the same."""
    from defenselib.defenses.aabl_views import AUGMENTATIONS

    transform = AUGMENTATIONS[name]()
    device = images.device
    seed = torch.randint(2**62, (1,), generator=generator, device=device)
    order = torch.randperm(len(images), generator=generator, device=device)
    out = torch.empty_like(images)
    # torchvision draws from torch's global streams: they are put back.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed))
        for index in order.split(GROUP):
            out[index] = transform(images[index])
    return out


@dataclass(frozen=True)
class Kept:
    """The vulnerable part D_vul: index, int64 sorted positions; cut: what their scores exceed, otsu_cut: Otsu's
    threshold, before the bounds; otsu_gamma: the share (percent) above that."""

    index: Tensor
    cut: float
    otsu_cut: float
    otsu_gamma: float


def keep_vulnerable(scores: Tensor, lowest: float = 0.1, highest: float = 0.9, bins: int = 256) -> Kept:
    """Samples whose score exceeds Otsu's threshold (Sec. 5.2), at least the share `lowest`, at most `highest` of all.

    scores: (N,). The paper states no bounds; that its Tables 1 and 5 have 90.00 four times and 10.00 once implies them.
    """
    n = len(scores)
    otsu = otsu_threshold(scores, bins)
    above = int((scores > otsu).sum())
    size = min(max(above, round(lowest * n)), round(highest * n))
    order = scores.argsort(descending=True, stable=True)
    cut = otsu if size == above else float(scores[order[size]]) if size < n else float("-inf")
    return Kept(order[:size].sort().values, cut, otsu, 100.0 * above / n)
