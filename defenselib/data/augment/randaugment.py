"""Strong augmentation: RandAugment as UDA uses it (Xie et al. 2020), ReMixMatch's CTAugment (Berthelot et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from defenselib.data.augment.operations import BLENDED, OPERATIONS, cutout
from defenselib.data.tensors import constant
from defenselib.errors import InvalidValueError, check_choice, check_range

RANDAUGMENT = (
    "autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "color", "contrast", "brightness",
    "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip


def operate(images: Tensor, order: Tensor, names: tuple[str, ...], level: Tensor, where: Tensor) -> Tensor:
    """Sample order[i] undergoes the operation names[i % K]; order: a permutation of the B samples.

    Dealing the operations out in turn gives groups whose sizes are known, so that nothing waits for the device.
    images: float (B, 3, H, W) in [0, 1]; level: (B,); where: (B, 2). Returns new images.
    """
    out = images.clone()
    for turn, name in enumerate(names[: len(order)]):
        part = order[turn :: len(names)]
        out[part] = OPERATIONS[name](images[part], level[part], where[part])
    return out


@dataclass(frozen=True)
class RandAugment:
    """`count` random operations at random levels, each with `probability`, then a grey square.

    operations: names from `OPERATIONS`. square: its side as a share of the image's (UDA: 16 of 32 pixels).

    Example: `strong = RandAugment()(to_float(augment(train.images, index, generator)), generator)`.
    """

    count: int = 2
    probability: float = 0.5
    square: float = 0.5
    operations: tuple[str, ...] = RANDAUGMENT

    def __post_init__(self) -> None:
        check_range("probability", self.probability, 0.0, 1.0)
        check_range("square", self.square, 0.0, 0.5)
        if self.count < 0 or not self.operations:
            raise InvalidValueError(f"count {self.count} must not be negative, operations {self.operations} not empty")
        for name in self.operations:
            check_choice("operation", name, OPERATIONS)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: float32 (B, 3, H, W) in [0, 1]. Returns the same kind, in channels-last memory order."""
        n, device = len(images), generator.device
        whole = torch.ones(n, device=device)
        images = images.contiguous()
        for step in range(self.count):
            # Where the batch is no multiple, the first names come once more, so every other round runs backwards.
            names = self.operations[:: -1 if step % 2 else 1]
            order = torch.randperm(n, generator=generator, device=device)
            level = torch.rand(n, generator=generator, device=device)
            on = torch.rand(n, generator=generator, device=device) < self.probability
            blended = constant(tuple(name in BLENDED for name in names), device, torch.bool)
            turn = torch.empty_like(order).index_copy_(0, order, torch.arange(n, device=device) % len(names))
            level = torch.where(blended[turn], whole, level)
            where = torch.rand(n, 2, generator=generator, device=device)
            images = torch.where(on.view(-1, 1, 1, 1), operate(images, order, names, level, where), images)
        if self.square:
            where = torch.rand(n, 2, generator=generator, device=device)
            images = cutout(images, 2 * self.square * whole, where)
        return images.contiguous(memory_format=torch.channels_last)


class CTAugment(nn.Module):
    """RandAugment whose levels are learnt (ReMixMatch, Sec. 3.2.2).

    Each operation's level is cut into bins of weight m, at first 1. `probe` draws bins uniformly; `update` moves the
    weights of those drawn towards how well the model still predicts the images:
    m <- decay m + (1 - decay) (1 - |p - y|_1 / 2). `forward` draws a bin with the probability of its weight, of those
    that reach `threshold` times the largest weight of the operation: the paper compares with the threshold itself, the
    authors' code with this, which also works while the model still predicts nothing.
    The weights are a buffer: they are saved with the module that owns this one.
    """

    weights: Tensor

    def __init__(
        self,
        count: int = 2,
        bins: int = 17,
        decay: float = 0.99,
        threshold: float = 0.8,
        operations: tuple[str, ...] = tuple(OPERATIONS),
    ) -> None:
        super().__init__()
        if count < 1 or bins < 2 or not operations:
            raise InvalidValueError(f"count {count}, bins {bins}, operations {operations}: at least 1, 2 and one")
        for name in operations:
            check_choice("operation", name, OPERATIONS)
        self.count, self.bins, self.operations = count, bins, operations
        self.decay = check_range("decay", decay, 0.0, 1.0)
        self.threshold = check_range("threshold", threshold, 0.0, 1.0)
        self.register_buffer("weights", torch.ones(len(operations), bins))

    def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: float32 (B, 3, H, W) in [0, 1]. Returns the same kind, in channels-last memory order."""
        share = self.weights + (1 - self.decay)
        share = share / share.amax(1, keepdim=True)
        return self._augment(images, share * (share >= self.threshold), generator)[0]

    def probe(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Images with uniformly drawn levels, and which operations and bins they had: int64 (B, count) each."""
        return self._augment(images, torch.ones_like(self.weights), generator)

    @torch.no_grad()
    def update(self, predictions: Tensor, targets: Tensor, operations: Tensor, bins: Tensor) -> None:
        """predictions, targets: probabilities (B, C) of probed images; operations, bins: as `probe` gave them.

        A bin that occurs several times in the batch moves once, towards the mean.
        """
        match = 1 - 0.5 * (predictions - targets).abs().sum(1)
        place = (operations * self.bins + bins).flatten()
        total = torch.zeros(self.weights.numel(), device=match.device)
        times = torch.zeros_like(total)
        total.index_add_(0, place, match.repeat_interleave(operations.shape[1]))
        times.index_add_(0, place, torch.ones_like(place, dtype=total.dtype))
        seen = (times > 0).view_as(self.weights)
        mean = (total / times.clamp(min=1)).view_as(self.weights)
        self.weights.copy_(torch.where(seen, self.decay * self.weights + (1 - self.decay) * mean, self.weights))

    def _augment(self, images: Tensor, weights: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        n, device, kinds = len(images), generator.device, len(self.operations)
        images = images.contiguous()
        operations, bins = [], []
        for step in range(self.count):
            ids = torch.arange(kinds, device=device).flip(0) if step % 2 else torch.arange(kinds, device=device)
            order = torch.randperm(n, generator=generator, device=device)
            operation = torch.empty_like(order).index_copy_(0, order, ids[torch.arange(n, device=device) % kinds])
            # What torch.multinomial does for one draw, without reading back whether these are probabilities.
            chances = weights[operation]
            drawn = (chances / torch.empty_like(chances).exponential_(1, generator=generator)).argmax(1)
            level = (drawn + torch.rand(n, generator=generator, device=device)) / self.bins
            where = torch.rand(n, 2, generator=generator, device=device)
            images = operate(images, order, self.operations[:: -1 if step % 2 else 1], level, where)
            operations.append(operation)
            bins.append(drawn)
        images = images.contiguous(memory_format=torch.channels_last)
        return images, torch.stack(operations, 1), torch.stack(bins, 1)
