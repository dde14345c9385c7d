"""Label-consistent attack: images of the target class, made hard to learn, get a patch and keep their label.

Turner, Tsipras, Madry (2019). Training: x' = patch(PGD(x)); test: patch(x). The papers differ in the surrogate model
that PGD attacks, in its strength and in the patch:

- asd, bsd: adversarially trained surrogate (eps 16), eps 16, step 1.5, 30 steps; DBD's 2x2 block; 25 % of the class.
- vab: CL-16 and CL-32 use images that the attack's authors released. Here the surrogate above stands in for theirs.
- dst_dbr: standard surrogate, eps 8, step 2, four steps from a random start; four 3x3 grids. In its code images may
  leave [0, 1] and wrap around when they are stored; here only with `wrap`.
- aabl: eps 16, step 2, 30 steps; the patch is not described: the attack's own, a grid in every corner.

Patterns beside those of BadNets: grids4 (D-ST), corners4 (the attack's authors).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from defenselib.attacks.additive import ROUNDING, add
from defenselib.attacks.badnets import PATTERNS, Patch
from defenselib.attacks.badnets import patch as badnets_patch
from defenselib.attacks.base import LARGE, Plan, Preset, TrainedAttack
from defenselib.attacks.surrogates import Training, surrogate
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, check_choice, check_counts, check_fields
from defenselib.learning.adversarial import pgd
from defenselib.learning.context import Context
from defenselib.learning.settings import part_of

BATCH = 250

# Rows of each 3x3 grid (1: 255, 0: 0), and distance of the top left one from the upper and left border.
_GRIDS = {
    "grids4": (1, {"upper left": "101 010 100", "lower left": "100 010 101", "upper right": "101 010 001"}),
    "corners4": (0, {"upper left": "100 010 101", "lower left": "100 010 101", "upper right": "001 010 101"}),
}
CLB_PATTERNS = (*PATTERNS, *_GRIDS)


def patches(pattern: str, size: int) -> tuple[Patch, ...]:
    """The patches of `pattern` on images `size` pixels wide."""
    if check_choice("pattern", pattern, CLB_PATTERNS) not in _GRIDS:
        return (badnets_patch(pattern, size),)
    if size < 8:
        raise InvalidValueError(f"pattern {pattern!r} does not fit into an image of {size}x{size} pixels")
    near, grids = _GRIDS[pattern]
    far = size - 3
    corners = {"upper left": (near, near), "lower left": (far, near), "upper right": (near, far)}
    found = [badnets_patch("grid3", size)]
    for corner, (top, left) in corners.items():
        rows = [[255 * int(bit) for bit in row] for row in grids[corner].split()]
        values = torch.tensor(rows, dtype=torch.uint8).expand(3, 3, 3)
        found.append(Patch(top, left, values, torch.ones(3, 3, dtype=torch.bool)))
    return tuple(found)


_TARGET3 = Plan(0.25, 3, "exact-target")
_TARGET0 = Plan(0.1, 0, "exact-target")
_APPLE = {LARGE: {"pattern": "apple32"}}
_DST = {
    "pattern": "grids4",
    "eps": 8.0,
    "step": 2.0,
    "iterations": 4,
    "random_start": True,
    "surrogate": "standard",
    "surrogate_epochs": 200,
    "surrogate_learning_rate": 0.01,
    "surrogate_schedule": "step",
}


@dataclass(frozen=True, kw_only=True)
class LabelConsistent(TrainedAttack):
    """x' = patch(x + p), |p| <= eps, where p raises the surrogate's loss on the true label of x.

    The perturbations of all training images of the target class are found once, in `prepare`, and looked up by
    `index`, so that an image gets the same one in every batch. Images at other positions get the patch alone.

    eps, step: of PGD, in grey levels of 255; iterations: its steps; random_start: uniform in the ball, else at x.
    wrap: images may leave [0, 1] in the search and are stored modulo 256, as D-ST's code does.
    surrogate: "robust" (trained on PGD's images with surrogate_eps, surrogate_step, surrogate_steps) or "standard";
    how it is trained: see `surrogates.Training`. Defaults: ASD's and BSD's (BSD App. B.3).
    """

    name: ClassVar[str] = "clb"
    clean_label: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Preset]] = {
        "asd": Preset(_TARGET3, sizes=_APPLE),
        "bsd": Preset(_TARGET3, sizes=_APPLE),
        "vab": Preset(_TARGET0),
        "cl-16": Preset(_TARGET0),
        "cl-32": Preset(_TARGET0, {"eps": 32.0}),
        "aabl": Preset(
            Plan(0.5, 0, "exact-target"),
            {"step": 2.0, "pattern": "corners4"},
            sizes={64: {"plan": Plan(1.0, 0, "exact-target")}},  # Tiny-ImageNet
        ),
        "dst_dbr": Preset(_TARGET0, _DST),
    }

    plan: Plan = _TARGET3
    pattern: str = "dbd2"
    eps: float = 16.0
    step: float = 1.5
    iterations: int = 30
    random_start: bool = False
    wrap: bool = False
    surrogate: str = "robust"
    surrogate_epochs: int = 15
    surrogate_batch_size: int = 128
    surrogate_learning_rate: float = 0.2
    surrogate_schedule: str = "triangle"
    surrogate_milestones: tuple[int, ...] = (100, 150)
    surrogate_eps: float = 16.0
    surrogate_step: float = 2.0
    surrogate_steps: int = 7
    surrogate_images: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        patches(self.pattern, self.image_size)
        check_fields(self, 0.0, 255.0, "eps", "step")
        check_counts(self, "iterations")
        self.training()

    def training(self) -> Training:
        """How the surrogate is trained."""
        return part_of(self, Training, "surrogate_", kind=self.surrogate)

    def learned_from(self, target: int | None) -> dict[str, Any]:
        return {name: value for name, value in super().learned_from(target).items() if name != "pattern"}

    def learn(self, train: ImageSet, target: int | None, context: Context) -> dict[str, Tensor]:
        """index: positions of the target class's images, int64 (n,), ascending; perturbation: int16 (n, 3, H, W),
        what is added to their grey levels."""
        if target is None:
            raise InvalidValueError(f"attack {self.name!r} needs a target class")
        model = surrogate(train, self.training(), context)
        index = (train.labels == target).nonzero().flatten()
        start = context.generator("clb/start") if self.random_start else None
        found = [torch.empty((0, *train.images.shape[1:]), dtype=torch.int16, device=index.device)]
        for part in index.split(BATCH) if len(index) else ():
            found.append(self._perturbation(model, train.images[part], train.labels[part], context, start))
        return {"index": index, "perturbation": torch.cat(found)}

    def _perturbation(
        self, model: nn.Module, images: Tensor, labels: Tensor, context: Context, start: torch.Generator | None
    ) -> Tensor:
        """int16 grey levels by which PGD moves the images, after they are stored as uint8."""
        # PGD keeps to [0, 1]. With `wrap` it sees the middle third of a scale that no step leaves.
        scale, offset = (1 / 3, 1 / 3) if self.wrap else (1.0, 0.0)

        def scaled_model(inputs: Tensor) -> Tensor:
            return torch.as_tensor(model((inputs - offset) / scale))

        with context.autocast():
            moved = pgd(
                scaled_model if self.wrap else model,  # type: ignore[arg-type]
                to_float(images) * scale + offset,
                labels,
                self.eps / 255 * scale,
                self.step / 255 * scale,
                self.iterations,
                start,
            )
        levels = (moved - offset) / scale * 255
        # numpy's cast drops the fraction, towards 0, and keeps the lowest eight bits
        stored = (levels + levels.sign() * ROUNDING).trunc().to(torch.int16) % 256
        return stored - images.to(torch.int16)

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(images)
        trained = self.ready()
        if index is None:
            raise InvalidValueError(
                f"attack {self.name!r} needs `index`, the positions of the images in the training set"
            )
        known = trained["index"].to(images.device)
        if not len(known):
            return self.trigger(images)
        row = torch.searchsorted(known, index.to(images.device)).clamp(max=len(known) - 1)
        found = known[row] == index.to(images.device)
        added = trained["perturbation"].to(images.device)[row] * found[:, None, None, None]
        return self.trigger(add(images, added))

    def trigger(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        """The patch alone."""
        self.check_images(images)
        out = images.clone()
        for item in patches(self.pattern, self.image_size):
            item.put(out)
        return out
