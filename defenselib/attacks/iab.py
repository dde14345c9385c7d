"""Input-aware dynamic attack, IAB or "Dynamic" (Nguyen and Tran, NeurIPS 2020), in its static form.

Two networks make a trigger of its own for every image: a pattern P(x) and a mask m(x). They are trained first, with a
classifier of their own, and then frozen; what they make is stored in the data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from defenselib.attacks.base import Plan, Preset, TrainedAttack
from defenselib.attacks.iab_training import (
    NORMALISATIONS,
    Generator,
    JointTraining,
    MaskTraining,
    Pairs,
    blend,
    normalise,
    steep,
)
from defenselib.attacks.networks import TensorDict, by_chunks, initialised, precision_of, restored, tensors_of
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import (
    InvalidValueError,
    check_batch_sizes,
    check_choice,
    check_counts,
    check_fields,
    check_increasing,
    check_positive,
    check_range,
)
from defenselib.learning.context import Context
from defenselib.learning.settings import part_of, stage_key
from defenselib.seeds import generator

_ASD, _ALL = Plan(0.05, 3, "bernoulli-nontarget"), Plan(0.1, 0, "exact-all")


@dataclass(frozen=True, kw_only=True)
class InputAware(TrainedAttack):
    """G(x) = x + (P(x) - x) m(x); cross samples x1 + (P(x2) - x1) m(x2) keep their labels.

    cross_share: cross samples, as a share of the training set. cross_per_poisoned: such samples per poisoned one, in
    addition: the authors' batches hold as many of them as poisoned ones. 0 for both: none.
    normalisation: of what the networks are fed, a name of `NORMALISATIONS`. matched_scale: False feeds them pixels
    in [0, 1] and blends the normalised pattern in, as the files of V&B's "Dynamic" were made: triggers nearly saturate.
    mask_*: stage 1, and `density` per pixel. epochs, learning_rate, milestones: stage 2, of P; classifier_*: of the
    classifier. The authors count epochs through both stages: 600 there are 25 and 575 here.
    backdoor_share: of a batch; as many cross samples. padding, degrees: of crop and rotation in training.
    Raises UnknownNameError, InvalidValueError.
    """

    name: ClassVar[str] = "iab"
    presets: ClassVar[Mapping[str, Preset]] = {
        "asd": Preset(_ASD, {"cross_share": 0.0, "cross_per_poisoned": 1}),
        "aabl": Preset(_ALL),
    }

    cross_share: float = 0.1
    cross_per_poisoned: int = 0
    normalisation: str = "cifar"
    matched_scale: bool = True
    mask_epochs: int = 25
    mask_learning_rate: float = 0.01
    mask_milestones: tuple[int, ...] = (10, 20)
    density: float = 0.032
    density_weight: float = 100.0
    epochs: int = 575
    batch_size: int = 128
    learning_rate: float = 0.01
    milestones: tuple[int, ...] = (200, 300, 400, 500)
    classifier_learning_rate: float = 0.01
    classifier_milestones: tuple[int, ...] = (100, 200, 300, 400)
    backdoor_share: float = 0.1
    diversity_weight: float = 1.0
    padding: int = 5
    degrees: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("normalisation", self.normalisation, NORMALISATIONS)
        Augment(self.padding, "zeros")
        check_range("padding", self.padding, 0, self.image_size - 1)
        check_increasing(self, "mask_milestones", "milestones", "classifier_milestones")
        check_batch_sizes(self, "batch_size")
        check_fields(self, 0.0, 1.0, "cross_share", "density")
        check_range("backdoor_share", self.backdoor_share, 1 / self.batch_size if self.batch_size > 0 else 0.0, 0.5)
        check_range("cross_per_poisoned", self.cross_per_poisoned, 0, 1000)
        check_range("degrees", self.degrees, 0.0, 180.0)
        check_counts(self, "mask_epochs", "epochs")
        check_positive(self, "mask_learning_rate", "learning_rate", "classifier_learning_rate")
        check_fields(self, 0.0, float("inf"), "density_weight", "diversity_weight")
        for what in ("mask_milestones", "milestones", "classifier_milestones"):
            object.__setattr__(self, what, tuple(getattr(self, what)))
        if self.image_size % 8:
            raise InvalidValueError(f"image_size is {self.image_size}, {self.name!r} needs a multiple of 8")

    @property
    def cross_rate(self) -> float:
        return self.cross_share

    def cross_count(self, poisoned: int, total: int) -> int:
        return super().cross_count(poisoned, total) + self.cross_per_poisoned * poisoned

    def learned_from(self, target: int | None) -> dict[str, Any]:
        unused = ("cross_share", "cross_per_poisoned", "matched_scale")
        return {name: value for name, value in super().learned_from(target).items() if name not in unused}

    def learn(self, train: ImageSet, target: int | None, context: Context) -> TensorDict:
        if target is None:
            raise InvalidValueError(f"attack {self.name!r} needs a target class")
        pairs = part_of(self, Pairs)
        wanted = {"density": self.density, "density_weight": self.density_weight}
        first = part_of(self, MaskTraining, "mask_", pairs=pairs, **wanted)
        masks = context.cached(stage_key("iab-mask", **asdict(first)), partial(first.run, train, context))
        second = part_of(self, JointTraining, pairs=pairs)
        # Kept under a name of its own, because "iab" and "dynamic" share it.
        key = stage_key("iab-joint", target=target, mask=asdict(first), **asdict(second))
        return context.cached(key, partial(second.run, train, target, context, masks))

    def untrained(self, precision: str = "bf16") -> Self:
        """Ready to use with networks as initialised: for measurements of speed and shape."""
        stream = generator(self.seed, "iab/untrained")
        pattern, mask = (initialised(partial(Generator, channels), stream).folded() for channels in (3, 1))
        return self.with_trained(tensors_of(pattern, "pattern", precision) | tensors_of(mask, "mask", precision))

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        return self._put(images, images)

    def cross(self, images: Tensor, partners: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(partners)
        return self._put(images, partners)

    def _put(self, images: Tensor, seen: Tensor) -> Tensor:
        """Triggers made for `seen`, put on `images`."""
        self.check_images(images)
        pattern, mask = self._networks(images.device)

        def put(images: Tensor, seen: Tensor) -> Tensor:
            inputs = to_float(seen)
            inputs = normalise(inputs, self.normalisation) if self.matched_scale else inputs
            inputs = inputs.to(precision_of(pattern))
            trigger = pattern(inputs) if self.matched_scale else normalise(pattern(inputs), self.normalisation)
            mixed = blend(images.float(), 255 * trigger, steep(mask(inputs)))
            return mixed.clamp_(0, 255).to(torch.uint8)  # rounds down

        return by_chunks(put, images, seen)

    def _networks(self, device: torch.device) -> tuple[Generator, Generator]:
        """P and M on the device, made once."""
        trained = self.ready()
        if device not in self._made:
            pattern, mask = (
                restored(partial(Generator, channels, folded=True), trained, prefix, device)
                for prefix, channels in (("pattern", 3), ("mask", 1))
            )
            self._made[device] = pattern, mask
        return self._made[device]

    @cached_property
    def _made(self) -> dict[torch.device, tuple[Generator, Generator]]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Dynamic(InputAware):
    """V&B's "Dynamic": the same networks, fed pixels and blended in another scale; target and cross samples of all
    classes."""

    name: ClassVar[str] = "dynamic"
    presets: ClassVar[Mapping[str, Preset]] = {"vab": Preset(_ALL)}

    plan: Plan = _ALL
    matched_scale: bool = False
