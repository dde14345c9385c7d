"""Torchvision's ResNets with stems for small images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from defenselib.models.classifier import Classifier, kaiming


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


def resnet(block: type[BasicBlock | Bottleneck], layers: list[int], pool: bool = False) -> Callable[..., Classifier]:
    """Builder of a ResNet; `pool` halves small images after the stem, by 2x2 max pooling."""

    def build(num_classes: int, image_size: int, width: int, mean: Sequence[float], std: Sequence[float]) -> Classifier:
        net = _SlimResNet(block, layers, width)
        # Images of up to 64 pixels get a 3x3 stem without pooling, as in all five papers but D-BR's code on CIFAR-10.
        small = image_size <= 64
        first = nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        stem = [first, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        if not small:
            stem.append(nn.MaxPool2d(3, 2, 1))
        elif pool:
            stem.append(nn.MaxPool2d(2))
        stages = [net.layer1, net.layer2, net.layer3, net.layer4]
        model = Classifier(nn.Sequential(*stem), stages, net.out_width, num_classes, mean, std)
        kaiming(model)
        return model

    return build
