"""Networks by name, with stems for small images, behind one interface, normalisation inside: `build_model`.

Torchvision, from whose parts they are built, takes as long to import as torch: it is loaded with the first network, and
whoever only asks which there are does without.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from defenselib import lazy

if TYPE_CHECKING:
    from defenselib.models.classifier import Classifier
    from defenselib.models.networks import CIFAR_MEAN, CIFAR_STD, MODELS, build_model

# The keys of `networks.MODELS` as they are there (a test compares them).
NAMES = (
    *("resnet10", "resnet18", "resnet34", "resnet50", "vgg16", "vgg19"),
    *("mobilenet_v2", "mobilenet_v2_pooled", "densenet121", "densenet161"),
)

__all__ = ["CIFAR_MEAN", "CIFAR_STD", "MODELS", "Classifier", "available", "build_model"]

__getattr__, __dir__ = lazy.attributes(
    __name__,
    {
        "classifier": ("Classifier",),
        "networks": ("CIFAR_MEAN", "CIFAR_STD", "MODELS", "build_model"),
    },
)


def available() -> tuple[str, ...]:
    """Names that `build_model` knows, those that a user of the library has added included."""
    networks = sys.modules.get(f"{__name__}.networks")
    return NAMES if networks is None else tuple(networks.MODELS)


def added() -> dict[str, Any]:
    """By name, the networks that a user of the library has put into the registry, or in place of one of its own."""
    networks = sys.modules.get(f"{__name__}.networks")
    if networks is None:
        return {}
    return {name: build for name, build in networks.MODELS.items() if networks.OWN.get(name) is not build}
