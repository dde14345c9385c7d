"""A last batch of one image, on maps of one pixel: torch refuses to train BatchNorm on it, the library does not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from defenselib import models
from defenselib.attacks.iab_training import Generator
from defenselib.data.types import ImageSet
from defenselib.defenses import create
from defenselib.learning.context import Context
from defenselib.models.classifier import BatchNorm2d


def test_torch_refuses_what_ours_trains_on_by_its_running_statistics() -> None:
    ours, theirs = BatchNorm2d(5), nn.BatchNorm2d(5)
    for norm in (ours, theirs):
        norm.load_state_dict({"weight": torch.rand(5), "bias": torch.rand(5), "running_mean": torch.rand(5),
                              "running_var": torch.rand(5) + 0.1, "num_batches_tracked": torch.tensor(3)})  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(1, 5, 1, 1, requires_grad=True)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        theirs(x)
    before = copy.deepcopy(ours.state_dict())
    out = ours(x)
    assert torch.equal(out, theirs.eval()(x))
    out.square().sum().backward()
    assert ours.weight.grad is not None and x.grad is not None and (x.grad != 0).all()
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("shape", [(2, 5, 1, 1), (1, 5, 2, 1), (4, 5, 3, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_everything_else_is_torchs(shape: tuple[int, ...], training: bool) -> None:
    ours, theirs = BatchNorm2d(5).train(training), nn.BatchNorm2d(5).train(training)
    x = torch.rand(shape)
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("name", models.available())
def test_every_network_trains_on_one_small_image(name: str) -> None:
    # 9, where a network needs it: its pooling would leave no pixel of 8.
    model = models.build_model(name, 3, 32 if name.startswith(("vgg", "mobile", "dense")) else 8, width=8).train()
    side = 32 if name.startswith(("vgg", "mobile", "dense")) else 8
    model(torch.rand(1, 3, side, side)).sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in model.parameters() if value.grad is not None)
    assert not any(type(layer) is nn.BatchNorm2d for layer in model.modules())


def test_the_networks_of_iab_train_on_one_small_image() -> None:
    Generator(3).train()(torch.rand(1, 3, 8, 8)).sum().backward()


def test_a_defense_trains_on_batches_with_a_remainder_of_one() -> None:
    images = ImageSet(torch.randint(0, 256, (33, 3, 8, 8), dtype=torch.uint8), torch.arange(33) % 3)
    context = Context(model_factory=lambda: models.build_model("resnet18", 3, 8, width=8))
    fitted = create("none", epochs=2, batch_size=32).fit(images, context.build_model, context)
    assert all(torch.isfinite(value).all() for value in fitted.model.state_dict().values())
