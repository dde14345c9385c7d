"""What an attack is: a frozen dataclass of its hyper-parameters with a batched, pure trigger; one that trains something
first; draws that follow from a sample's number alone."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, NotPreparedError, check_choice, check_range
from defenselib.learning.context import Context
from defenselib.learning.settings import stage_key

COUNTS = ("bernoulli-nontarget", "exact-nontarget", "exact-all", "exact-target")
LARGE = 128  # from this image side on, a picture is taken for ImageNet-like and the papers change some triggers
CHUNK = 1 << 20  # image values that are worked on at a time: bounds memory and stays in the processor's cache
# What says how an attack is used, not what it trains.
_NOT_LEARNED = ("image_size", "plan", "seed", "trained")
WORD = 0xFFFFFFFF


def _typed(what: str, kind: type, value: Any) -> Any:
    """`value` as the plain Python type `kind`, else InvalidValueError; kinds other than numbers and text pass."""
    if kind is bool:
        fits = isinstance(value, bool)
    elif kind in (int, float):
        fits = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    elif kind is str:
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        fits = isinstance(value, str)
    else:
        return value
    if not fits:
        raise InvalidValueError(f"{what} is {value!r}, it must be of type {kind.__name__}")
    return kind(value)


@dataclass(frozen=True)
class Plan:
    """How a paper poisons with an attack: share, target class (None: all-to-all) and counting rule (see `COUNTS`)."""

    rate: float = 0.05
    target: int | None = 3
    count: str = "bernoulli-nontarget"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_range("rate", _typed("rate", float, self.rate), 0.0, 1.0))
        check_choice("count", self.count, COUNTS)
        if self.target is not None:
            object.__setattr__(self, "target", _typed("target", int, self.target))


@dataclass(frozen=True)
class Preset:
    """How one paper runs an attack: its plan, its hyper-parameters, and others from an image side on.

    `sizes` maps an image side in pixels to hyper-parameters that hold for that side and above.
    """

    plan: Plan
    hyper: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def at(self, image_size: int) -> dict[str, Any]:
        """The arguments of the attack's constructor at `image_size` pixels."""
        arguments = {"plan": self.plan, **self.hyper}
        for side in sorted(self.sizes):
            if image_size >= side:
                arguments.update(self.sizes[side])
        return arguments


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Base of all attacks.

    Images are uint8 (N, 3, H, W) on any device; nothing is changed in place. `attack(images, index)` is what is
    stored in the training set (`index`: int64 (N,), the samples' identities, from which per-sample draws come),
    `trigger(images, index)` what is put on test images. Attacks that need no training leave `prepare` as it is.

    `presets` maps a paper's key (or the name of one of its variants) to how that paper runs the attack; the first
    is the default unless there is one called "asd". `poisons` is False where only the test trigger is wanted.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    all_to_all: ClassVar[bool] = False
    clean_label: ClassVar[bool] = False
    poisons: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Preset]] = {}

    image_size: int = 32
    seed: int = 0
    plan: Plan = Plan()

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = _typed(f"{item.name} of attack {self.name!r}", type(item.default), getattr(self, item.name))
            object.__setattr__(self, item.name, value)
        check_range(f"seed of attack {self.name!r}", self.seed, 0, (1 << 63) - 1)
        check_range(f"image_size of attack {self.name!r}", self.image_size, 1, 1 << 14)

    def prepare(self, train: ImageSet, target: int | None, context: Any) -> Self:
        """The attack ready to use: surrogates trained, patterns found."""
        return self

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def trigger(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        """What is put on test images; `index` are their positions in the test set."""
        return self(images, index)

    def files(self) -> tuple[str, ...]:
        """Hyper-parameters that name a file or folder of the caller's; what it holds decides the result."""
        return ()

    @property
    def cross_rate(self) -> float:
        """Share of the training set that becomes noise or cross samples with their labels kept."""
        return 0.0

    def cross_count(self, poisoned: int, total: int) -> int:
        """How many of `total` training samples become cross samples, when `poisoned` are poisoned."""
        return floor_share(self.cross_rate, total)

    def cross(self, images: Tensor, partners: Tensor, index: Tensor | None = None) -> Tensor:
        """Noise or cross samples made of `images`; `partners` (same shape) are other training images."""
        raise NotImplementedError(f"attack {self.name!r} has no cross samples")

    def wanted(self, labels: Tensor, target: int | None, num_classes: int) -> Tensor:
        """The prediction that the attacker wants at test time: the target, or y + 1 (all-to-all)."""
        if self.all_to_all:
            return (labels + 1) % num_classes
        if target is None:
            raise InvalidValueError(f"attack {self.name!r} needs a target class")
        return torch.full_like(labels, target)

    def relabel(self, labels: Tensor, target: int | None, num_classes: int) -> Tensor:
        """Labels that the attacker gives: the wanted ones, or the true ones (clean label)."""
        return labels.clone() if self.clean_label else self.wanted(labels, target, num_classes)

    def check_images(self, images: Tensor) -> None:
        """Raise InvalidValueError unless `images` are uint8 (N, 3, image_size, image_size)."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (3, self.image_size, self.image_size):
            raise InvalidValueError(
                f"attack {self.name!r} was made for uint8 images (N, 3, {self.image_size}, {self.image_size}), "
                f"these are {images.dtype} {tuple(images.shape)}; create it with their image_size"
            )


def floor_share(rate: float, total: int) -> int:
    """floor(rate * total) of the decimal number that `rate` stands for: 0.1 of 45000 and 1 - 0.9 of 50 are whole."""
    return math.floor(Fraction(f"{rate:.12g}") * total)


def chunks(images: Tensor) -> Iterator[slice]:
    """Slices over the first dimension of at most `CHUNK` values each (at least one image)."""
    step = max(1, CHUNK // max(1, images[:1].numel()))
    for start in range(0, len(images), step):
        yield slice(start, min(start + step, len(images)))


@dataclass(frozen=True, kw_only=True)
class TrainedAttack(Attack):
    """Base of attacks with a `learn` step. `trained` is its outcome and no hyper-parameter: tensors by name, which
    `prepare` fills in, through the store, and without which the attack refuses to work.

    Subclasses write `learn`, and read `self.ready()[name]` in `__call__`.
    """

    trained: Mapping[str, Tensor] | None = field(
        default=None, repr=False, compare=False, metadata={"hyper_parameter": False}
    )

    def learn(self, train: ImageSet, target: int | None, context: Context) -> dict[str, Tensor]:
        """Train on `train` (as the attacker has it: clean) and return what the trigger needs."""
        raise NotImplementedError

    def learned_from(self, target: int | None) -> dict[str, Any]:
        """What decides the outcome of `learn` beside data, model and seed; a subclass may leave out what does not
        (the opacity of a trigger, a target class that is not looked at), so that more cells share it."""
        settings = {
            item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in _NOT_LEARNED
        }
        return settings | {"target": target}

    def prepare(self, train: ImageSet, target: int | None, context: Context) -> Self:
        self.check_images(train.images)
        key = stage_key(self.name, **self.learned_from(target))
        return self.with_trained(context.cached(key, partial(self.learn, train, target, context)))

    def with_trained(self, trained: Mapping[str, Tensor]) -> Self:
        """A copy that works with these tensors."""
        return dataclasses.replace(self, trained=dict(trained))

    def ready(self) -> Mapping[str, Tensor]:
        """The trained tensors. Raises NotPreparedError before `prepare`."""
        if self.trained is None:
            raise NotPreparedError(
                f"attack {self.name!r} must be trained first: attack = attack.prepare(dataset.train, target, context); "
                "`defenselib.run` does it by itself"
            )
        return self.trained


def mix(x: Tensor) -> Tensor:
    """One-to-one mixing of 32-bit numbers held in int64 (multipliers from a public search for little bias; below 2^31,
    so that no product overflows)."""
    x = (x ^ (x >> 16)).mul_(0x21F0AAAD).bitwise_and_(WORD)
    x = (x ^ (x >> 15)).mul_(0x735A2D97).bitwise_and_(WORD)
    return x ^ (x >> 15)


def uniform(index: Tensor, seed: int) -> Tensor:
    """Numbers in (0, 1), float64, as if drawn: each follows from `seed` and its own `index` (int64) alone."""
    x = index & WORD
    for key in (seed & WORD, seed >> 32):
        x = mix(x ^ key)
    return (x.double() + 0.5) / (1 << 32)
