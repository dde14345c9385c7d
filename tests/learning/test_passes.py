"""Copies of a network for the passes of a step: autograd's and autocast's numbers, in fewer operations."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor

from defenselib.cpu import bf16, small_maps
from defenselib.learning.context import Context
from defenselib.learning.passes import Passes
from defenselib.models import Classifier, build_model

from ..operators import Operators


def network(precision: str) -> tuple[Classifier, Context]:
    context = Context(model_factory=partial(build_model, "resnet10", 4, 16, 8), precision=precision)
    return context.build_model().train(), context


def blocks(count: int) -> list[Tensor]:
    draws = torch.Generator().manual_seed(3)
    return [torch.rand(6, 3, 16, 16, generator=draws) for _ in range(count)]


def by_autograd(model: Classifier, context: Context, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        with context.autocast():
            outputs = [model(block).float() for block in blocks(3)]
        torch.cat(outputs).log_softmax(1).square().mean().backward()
        optimizer.step()


def by_passes(model: Classifier, context: Context, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    passes = Passes(model, 3, context)
    for _ in range(steps):
        passes.convert()
        with context.autocast():
            outputs = [one(block).float() for one, block in zip(passes.models, blocks(3), strict=True)]
        torch.cat(outputs).log_softmax(1).square().mean().backward()
        passes.hand_over()
        optimizer.step()


@pytest.mark.parametrize("kind", ["fp32", "bf16", "bf16 as fp32"])
def test_weights_gradients_and_statistics_are_the_same_to_the_last_bit(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "bf16 as fp32":
        monkeypatch.setattr(bf16, "hardware_has_bf16", lambda: False)
    one, context = network("fp32" if kind == "fp32" else "bf16")
    other = copy.deepcopy(one)
    by_autograd(one, context, 3)
    by_passes(other, context, 3)
    state = other.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
    assert int(state["stem.1.num_batches_tracked"]) == 9
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None and theirs.grad.dtype == torch.float32
        assert torch.equal(mine.grad, theirs.grad), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_asks_for_less(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_maps, "hardware_has_bf16", lambda: True)  # torch's convolutions, on any processor
    seen = []
    for work in (by_autograd, by_passes):
        model, context = network(precision)
        with Operators() as operators:
            work(model, context, 2)
        seen.append(operators.launched.total())
    assert seen[1] < 0.85 * seen[0]


def test_copies_share_memory_and_parameters_without_gradient_stay_out() -> None:
    model, context = network("fp32")
    model.stem.requires_grad_(False)
    passes = Passes(model, 2, context)
    for one in passes.models:
        for mine, theirs in zip(model.state_dict().values(), one.state_dict().values(), strict=True):
            assert mine.data_ptr() == theirs.data_ptr()
    passes.models[0](blocks(1)[0]).sum().backward()
    passes.models[1](blocks(1)[0]).sum().backward()
    passes.hand_over()
    assert all((item.grad is None) == name.startswith("stem.") for name, item in model.named_parameters())
    assert all(item.grad is None for one in passes.models for item in one.parameters())
