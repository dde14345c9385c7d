"""Torchvision architectures with stems for small images, behind one interface, normalisation inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from defenselib.errors import InvalidValueError, check_choice

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2023, 0.1994, 0.2010)


class Classifier(nn.Module):
    """A network as normalisation, stem, stages, global average pooling and a linear head.

    Input: float [0, 1] (N, 3, H, W). `maps` gives the last feature maps (N, C, h, w), `features` their spatial
    mean (N, C), calling the model the logits (N, num_classes).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        width: int,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(width, num_classes)

    def maps(self, x: Tensor) -> Tensor:
        x = self.stem((x - self.mean) / self.std)
        for stage in self.stages:
            x = stage(x)
        return x

    def features(self, x: Tensor) -> Tensor:
        return self.maps(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class _SlimResNet(ResNet):
    """torchvision's ResNet with `width` channels in the first stage instead of 64."""

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: list[int], width: int) -> None:
        super().__init__(block, layers)
        if width != 64:
            self.inplanes = width
            self.layer1 = self._make_layer(block, width, layers[0])
            self.layer2 = self._make_layer(block, 2 * width, layers[1], stride=2)
            self.layer3 = self._make_layer(block, 4 * width, layers[2], stride=2)
            self.layer4 = self._make_layer(block, 8 * width, layers[3], stride=2)
        self.out_width = 8 * width * block.expansion


def _kaiming(module: nn.Module) -> None:
    """Kaiming normal, fan-out, for convolutions, as torchvision initialises a ResNet."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def _resnet(block: type[BasicBlock | Bottleneck], layers: list[int], pool: bool = False) -> Callable[..., Classifier]:
    """Builder of a ResNet; `pool` halves small images after the stem, by 2x2 max pooling."""

    def build(num_classes: int, image_size: int, width: int, mean: Sequence[float], std: Sequence[float]) -> Classifier:
        net = _SlimResNet(block, layers, width)
        # Images of up to 64 pixels get a 3x3 stem without pooling (all five papers on CIFAR and GTSRB).
        small = image_size <= 64
        first = nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        stem = [first, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        if not small:
            stem.append(nn.MaxPool2d(3, 2, 1))
        elif pool:
            stem.append(nn.MaxPool2d(2))
        stages = [net.layer1, net.layer2, net.layer3, net.layer4]
        model = Classifier(nn.Sequential(*stem), stages, net.out_width, num_classes, mean, std)
        _kaiming(model)
        return model

    return build


MODELS: dict[str, Callable[..., Classifier]] = {
    # One block a stage and a pooled stem: not in the papers, for profiles that must run on a CPU.
    "resnet10": _resnet(BasicBlock, [1, 1, 1, 1], pool=True),
    "resnet18": _resnet(BasicBlock, [2, 2, 2, 2]),
    "resnet34": _resnet(BasicBlock, [3, 4, 6, 3]),
    "resnet50": _resnet(Bottleneck, [3, 4, 6, 3]),
}


def available() -> tuple[str, ...]:
    return tuple(MODELS)


def build_model(
    name: str,
    num_classes: int = 10,
    image_size: int = 32,
    width: int = 64,
    mean: Sequence[float] = CIFAR_MEAN,
    std: Sequence[float] = CIFAR_STD,
) -> Classifier:
    """A freshly initialised classifier.

    width: channels of the first stage (64 is the papers'). mean, std: per channel, in [0, 1] units.
    Raises UnknownNameError for a name not in `available()`, InvalidValueError for sizes that make no network.
    """
    check_choice("model", name, MODELS)
    if num_classes < 2 or width < 1 or image_size < 8:
        raise InvalidValueError(
            f"num_classes {num_classes}, width {width}, image_size {image_size}: need >= 2, >= 1 and >= 8"
        )
    return MODELS[name](num_classes, image_size, width, mean, std)
