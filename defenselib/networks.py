"""VGG, MobileNetV2 and DenseNet as models by name, beside the ResNets of `models`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from defenselib.architectures import ARCHITECTURES, Builder
from defenselib.errors import InvalidValueError
from defenselib.models import MODELS, Classifier


def register() -> None:
    """Add them to `models.MODELS`. Not there already: results on ResNets do not depend on this module's code."""
    MODELS.update({name: _assembled(make) for name, make in ARCHITECTURES.items()})


def _assembled(make: Builder) -> Callable[..., Classifier]:
    def build(num_classes: int, image_size: int, width: int, mean: Sequence[float], std: Sequence[float]) -> Classifier:
        if image_size < 32:
            raise InvalidValueError(f"image_size is {image_size}; this network halves it five times and needs 32")
        parts = make(image_size, width)
        model = Classifier(parts.stem, list(parts.stages), parts.width, num_classes, mean, std)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        return model

    return build
