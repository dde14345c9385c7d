"""Architectures beside the ResNets: published sizes, the common interface, gradients everywhere."""

import pytest
import torch
from torchvision import models

from defenselib.errors import InvalidValueError
from defenselib.models import build_model

# Channels of the features and torchvision's network, whose convolutions these are.
PUBLISHED = {
    "vgg16": (512, models.vgg16_bn),
    "vgg19": (512, models.vgg19_bn),
    "mobilenet_v2": (1280, models.mobilenet_v2),
    "mobilenet_v2_pooled": (1280, models.mobilenet_v2),
    "densenet121": (1024, models.densenet121),
    "densenet161": (2208, models.densenet161),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_size(name):
    width, published = PUBLISHED[name]
    with torch.device("meta"):
        model, reference = build_model(name, image_size=224), published().features
    assert model.head.in_features == width
    body = sorted(tuple(p.shape) for key, p in model.named_parameters() if not key.startswith("head."))
    assert body == sorted(tuple(p.shape) for p in reference.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_interface_and_gradients_at_32_pixels(name):
    model = build_model(name, width=16)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = model.maps(x)
    assert maps.shape[:2] == (4, model.head.in_features) and maps.shape[2] == maps.shape[3] <= 4
    assert model.features(x).shape == (4, model.head.in_features) and len(model.stages) >= 4
    model(x).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_small_images_keep_their_size_in_the_stem():
    x = torch.rand(2, 3, 32, 32)
    for name, side in (("mobilenet_v2", 32), ("mobilenet_v2_pooled", 16), ("densenet121", 32), ("vgg16", 16)):
        assert build_model(name, width=16).stem(x).shape[-1] == side


@pytest.mark.parametrize("name", PUBLISHED)
def test_built_by_name_like_any_other_model(name):
    model = build_model(name, num_classes=5, width=8)
    assert model.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 5)
    with pytest.raises(InvalidValueError, match="needs 32"):
        build_model(name, image_size=16, width=8)
