"""ResNet, VGG, MobileNetV2 and DenseNet with stems for small images, from torchvision's parts (D-ST App. H; A-ABL, BSD
tables).

Each builder gives the pieces of a `Classifier`; widths scale with `width / 64`, so that 64 is the published network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn
from torchvision.models import densenet as densenets
from torchvision.models import mobilenetv2
from torchvision.models import vgg as vggs
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from defenselib.cpu.strided import with_strided_depthwise
from defenselib.errors import InvalidValueError
from defenselib.models.classifier import Classifier, kaiming

# Images of up to so many pixels get a stem of stride 1 without pooling.
SMALL = 64


@dataclass(frozen=True)
class Parts:
    """Stem, stages, and channels of the last maps, of which a classifier takes the spatial mean."""

    stem: nn.Module
    stages: Sequence[nn.Module]
    width: int


Builder = Callable[..., Classifier]


def _assembled(make: Callable[[int, int], Parts]) -> Builder:
    def build(num_classes: int, image_size: int, width: int, mean: Sequence[float], std: Sequence[float]) -> Classifier:
        if image_size < 32:
            raise InvalidValueError(f"image_size is {image_size}; this network halves it five times and needs 32")
        parts = make(image_size, width)
        model = Classifier(parts.stem, list(parts.stages), parts.width, num_classes, mean, std)
        kaiming(model)
        return model

    return build


def vgg(configuration: str) -> Builder:
    """VGG with batch normalization; a stage is the convolutions of one size and the pooling after them. The published
    head of three layers is one here, as is usual on small images: its features have 512 entries (D-ST Table 7)."""

    def build(image_size: int, width: int) -> Parts:
        plan = [item if item == "M" else max(1, int(item) * width // 64) for item in vggs.cfgs[configuration]]
        layers = list(vggs.make_layers(plan, batch_norm=True))
        ends = [place + 1 for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        stages = [nn.Sequential(*layers[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
        return Parts(stages[0], stages[1:], int(plan[-2]))

    return _assembled(build)


def mobilenet(pool: bool = False) -> Builder:
    """MobileNetV2 (Sandler et al. 2018). Small images: stride 1 in the stem and in the first group of wider blocks;
    `pool` halves them after the stem, by 2x2 max pooling."""

    def build(image_size: int, width: int) -> Parts:
        layers = list(mobilenetv2.MobileNetV2(width_mult=width / 64, dropout=0.0).features)
        if image_size <= SMALL:
            _unstride(layers[0])
            _unstride(layers[2])
        stem = nn.Sequential(layers[0], nn.MaxPool2d(2)) if pool and image_size <= SMALL else layers[0]
        # Blocks of one size belong together: a new stage begins where the stride is 2.
        starts = [1, *(place for place, block in enumerate(layers) if place > 2 and _strides(block)), len(layers)]
        stages = [nn.Sequential(*layers[start:end]) for start, end in pairwise(starts)]
        return Parts(stem, [*map(with_strided_depthwise, stages)], int(layers[-1].out_channels))

    return _assembled(build)


def _unstride(block: nn.Module) -> None:
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            layer.stride = (1, 1)


def _strides(block: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d) and layer.stride == (2, 2) for layer in block.modules())


def densenet(growth: int, blocks: tuple[int, int, int, int], first: int) -> Builder:
    """DenseNet-BC (Huang et al. 2017); a stage is a dense block with the transition after it, the last one with batch
    normalization and ReLU."""

    def build(image_size: int, width: int) -> Parts:
        # An even growth, so that transitions can halve the channels.
        slim = max(2, growth * width // 64 // 2 * 2)
        net = densenets.DenseNet(slim, blocks, max(2, first * width // 64 // 2 * 2))
        layers = dict(net.features.named_children())
        if image_size <= SMALL:
            stem = nn.Sequential(nn.Conv2d(3, layers["conv0"].out_channels, 3, 1, 1, bias=False))
        else:
            stem = nn.Sequential(*(layers[name] for name in ("conv0", "norm0", "relu0", "pool0")))
        stages = [nn.Sequential(layers[f"denseblock{i}"], layers[f"transition{i}"]) for i in (1, 2, 3)]
        stages.append(nn.Sequential(layers["denseblock4"], layers["norm5"], nn.ReLU(inplace=True)))
        return Parts(stem, stages, int(net.classifier.in_features))

    return _assembled(build)


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
