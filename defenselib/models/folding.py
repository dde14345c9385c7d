"""Inference with BatchNorm folded into the convolution before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from defenselib.cpu.devices import computes_bf16
from defenselib.cpu.small_maps import Conv2d
from defenselib.models.classifier import BatchNorm2d

# Folding `laptop`'s network takes as long as it saves on 200 images; saved are 13 % of a pass, 3 % with ResNet-18.
FEWEST_IMAGES = 1000


@contextmanager
def folded(model: nn.Module, images: int) -> Iterator[None]:
    """`model`, which is in evaluation mode, with each BatchNorm folded inside, where that is worth it: for at least
    `FEWEST_IMAGES` images, on a processor that computes in float32 for want of bf16 instructions.

    The outputs are the same up to float32's rounding. Parameters and buffers are as before afterwards; inside they must
    not be changed, and no gradient be taken.
    """
    first = next(model.parameters(), None)
    if images < FEWEST_IMAGES or first is None or first.dtype != torch.float32 or computes_bf16(first.device):
        yield
        return
    changed: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for parent, before, after in _pairs(model):
            convolution, norm = (parent.get_submodule(name) for name in (before, after))
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            both = fuse_conv_bn_eval(convolution, norm).requires_grad_(False)
            for name, new in ((before, both.to(memory_format=torch.channels_last)), (after, nn.Identity())):  # type: ignore[call-overload]
                changed.append((parent, name, parent.get_submodule(name)))
                setattr(parent, name, new)
        yield
    finally:
        for parent, name, old in changed:
            setattr(parent, name, old)


def _pairs(model: nn.Module) -> list[tuple[nn.Module, str, str]]:
    """A module, and the names in it of a convolution and of the BatchNorm that gets its output and nothing else."""
    # Here, for it takes torch's compiler with it (tests/test_imports.py).
    from torchvision.models.resnet import BasicBlock, Bottleneck

    found = []
    for parent in model.modules():
        if isinstance(parent, BasicBlock | Bottleneck):
            names = [(f"conv{number}", f"bn{number}") for number in (1, 2, 3)]
            names = [pair for pair in names if hasattr(parent, pair[0])]
        elif isinstance(parent, nn.Sequential):
            names = list(pairwise(parent._modules))
        else:
            continue
        found += [(parent, *pair) for pair in names if _foldable(*(parent.get_submodule(name) for name in pair))]
    return found


def _foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    """Whether both are what they seem, with nothing attached that looks at what passes, and in evaluation mode."""
    if type(convolution) not in (nn.Conv2d, Conv2d) or type(norm) not in (nn.BatchNorm2d, BatchNorm2d):
        return False
    watched = any(each._forward_hooks or each._forward_pre_hooks for each in (convolution, norm))
    return not (watched or convolution.training or norm.training)
