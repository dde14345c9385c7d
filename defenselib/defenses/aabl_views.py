"""The augmentations that A-ABL compares its perturbation with; torchvision is loaded for them alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torchvision.transforms import v2

# A-ABL Table 5, with torchvision's defaults; the column that it prints as AutoMix cites AugMix.
AUGMENTATIONS: dict[str, Callable[[], torch.nn.Module]] = {
    "randaugment": v2.RandAugment,
    "autoaugment": partial(v2.AutoAugment, v2.AutoAugmentPolicy.CIFAR10),
    "augmix": v2.AugMix,
}
