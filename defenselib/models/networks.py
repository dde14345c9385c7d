"""The registry of networks, and `build_model`: imported when one of them is asked for, torchvision with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchvision.models.resnet import BasicBlock, Bottleneck

from defenselib.errors import InvalidValueError, check_choice
from defenselib.models.architectures import densenet, mobilenet, resnet, vgg
from defenselib.models.classifier import Classifier

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2023, 0.1994, 0.2010)
MODELS: dict[str, Callable[..., Classifier]] = {
    # One block a stage, and pooled stems: not in the papers, for profiles that must run on a CPU.
    "resnet10": resnet(BasicBlock, [1, 1, 1, 1], pool=True),
    "resnet18": resnet(BasicBlock, [2, 2, 2, 2]),
    "resnet34": resnet(BasicBlock, [3, 4, 6, 3]),
    "resnet50": resnet(Bottleneck, [3, 4, 6, 3]),
    "vgg16": vgg("D"),
    "vgg19": vgg("E"),
    "mobilenet_v2": mobilenet(),
    "mobilenet_v2_pooled": mobilenet(pool=True),
    "densenet121": densenet(32, (6, 12, 24, 16), 64),
    "densenet161": densenet(48, (6, 12, 36, 24), 96),
}
OWN = dict(MODELS)  # as it comes


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
