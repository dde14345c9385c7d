"""BatchNorm folded into convolutions for a pass of inference: the same outputs, and everything back in its place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.evaluation import predict
from defenselib.models import Classifier, build_model, folding
from defenselib.models.classifier import evaluating
from defenselib.models.folding import FEWEST_IMAGES, folded

ENOUGH = FEWEST_IMAGES


@pytest.fixture(autouse=True)
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "computes_bf16", lambda device: torch.device(device).type != "cpu")


def network(name: str, width: int = 4, seed: int = 0) -> Classifier:
    """A network whose BatchNorms have seen something and differ by channel."""
    torch.manual_seed(seed)
    model = build_model(name, width=width).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.uniform_(layer.bias, -0.5, 0.5)
        for _ in range(3):
            model(torch.rand(16, 3, 32, 32))
    return model


def images(n: int, size: int = 32) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def norms(model: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left"),
    # In a DenseNet BatchNorm comes before the convolution, and its blocks are none that folding knows; neither are the
    # three depthwise convolutions with a stride of MobileNetV2.
    [("resnet10", 0), ("resnet18", 0), ("resnet50", 0), ("vgg16", 0), ("mobilenet_v2", 3), ("densenet121", 120)],
)
@torch.no_grad()
def test_outputs_are_the_same_and_the_network_is_as_before(name: str, left: int) -> None:
    model = network(name).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    layers = list(model.modules())
    x = torch.rand(8, 3, 32, 32)
    expected = model(x)
    with folded(model, ENOUGH):
        assert norms(model) == left
        found = model(x)
    assert (found - expected).norm() <= 1e-5 * expected.norm()
    assert all(a is b for a, b in zip(model.modules(), layers, strict=True))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@settings(max_examples=25)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, 99))
@torch.no_grad()
def test_one_pair_against_the_formula(
    inside: int, outside: int, kernel: int, bias: bool, affine: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(inside, outside, kernel, bias=bias), nn.BatchNorm2d(outside, affine=affine)).eval()
    convolution, norm = layers
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 2.0)
    x = torch.randn(3, inside, 5, 5)
    scale = (norm.running_var + norm.eps).rsqrt()[:, None, None]
    expected = (convolution(x) - norm.running_mean[:, None, None]) * scale
    if affine:
        expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    with folded(layers, ENOUGH):
        assert isinstance(layers[1], nn.Identity)
        torch.testing.assert_close(layers(x), expected, rtol=1e-5, atol=1e-5)


def watched(model: Classifier) -> None:
    model.stem[0].register_forward_hook(lambda module, inputs, output: None)  # type: ignore[index]


def training(model: Classifier) -> None:
    model.stem[1].train()  # type: ignore[index]


@pytest.mark.parametrize("changed", [watched, training])
def test_layers_that_somebody_looks_at_or_that_train_stay(changed: Callable[[Classifier], None]) -> None:
    model = network("resnet10").eval()
    changed(model)
    with folded(model, ENOUGH):
        assert norms(model) == 1


def test_few_images_other_types_and_processors_with_bf16_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("resnet10").eval()
    count = norms(model)
    with folded(model, FEWEST_IMAGES - 1):
        assert norms(model) == count
    with folded(network("resnet10").eval().double(), ENOUGH) as _:
        pass
    with folded(nn.ReLU(), ENOUGH):
        pass
    monkeypatch.setattr(folding, "computes_bf16", lambda device: True)
    with folded(model, ENOUGH):
        assert norms(model) == count


def test_after_an_error_all_is_back() -> None:
    model = network("resnet10").eval()
    layers = list(model.modules())
    with pytest.raises(KeyError), folded(model, ENOUGH):
        raise KeyError
    assert all(a is b for a, b in zip(model.modules(), layers, strict=True))


def test_ranking_and_predictions_take_it_and_put_the_mode_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("resnet10", 2).train()
    data, context = images(ENOUGH), Context(model_factory=lambda: model)
    count, seen = norms(model), []
    model.stem.register_forward_hook(lambda module, inputs, output: seen.append(norms(model)))
    found = infer(model, data, context, lambda logits, index: logits)
    classes = predict(model, data)
    assert set(seen) == {0} and norms(model) == count and all(layer.training for layer in model.modules())
    with evaluating(model), torch.no_grad():
        expected = torch.cat([model(data[a:b].float() / 255) for a, b in pairwise(range(0, ENOUGH + 1, 250))])
    assert (found - expected).norm() <= 1e-5 * expected.norm()
    assert (classes == expected.argmax(1)).float().mean() > 0.999
