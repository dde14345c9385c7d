"""Floors: multiply-adds against what a pencil counts, and against what a method sends through its network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from defenselib import defenses
from defenselib.experiments import Experiment, floors
from defenselib.experiments.schedule import RULES, Sizes, stages
from defenselib.models import Classifier, build_model


def test_multiply_adds_of_a_residual_network_by_hand() -> None:
    """resnet10 of width 4 on 8 pixels: the stem at 8, pooled to 4, then a block of two 3x3 convolutions a stage, from
    the second on with a 1x1 shortcut, at 4, 2, 1 and 1 pixels; a linear layer."""
    stem = 8 * 8 * 4 * 3 * 9
    first = 4 * 4 * 2 * 4 * 4 * 9
    stages = sum(side**2 * wide * (wide // 2 * 9 + wide * 9 + wide // 2) for side, wide in ((2, 8), (1, 16), (1, 32)))
    adds = floors.adds_of("resnet10", 10, 8, 4)
    assert adds.first == stem and adds.forward == stem + first + stages + 32 * 10
    assert adds.backward == 2 * adds.forward - stem and adds.attack == 2 * adds.forward


def test_the_papers_network_has_its_known_size() -> None:
    assert floors.adds_of("resnet18", 10, 32, 64).forward == pytest.approx(0.556e9, rel=0.01)


@pytest.mark.parametrize("name", defenses.available())
def test_every_schedule_has_a_floor_that_grows_with_it(name: str) -> None:
    adds = floors.Adds(3.0, 1.0)
    method = defenses.create(name)
    small, large = (floors.floor(name, method, Sizes(total, total // 20), adds) for total in (20_000, 40_000))
    assert 0 < small <= large
    names = {stage.name for stage in RULES[name](method, Sizes(20_000, 1000))}
    assert {stage for defense, stage in floors.PASSES if defense == name} <= names, "a stage that does not exist"


def test_floors_of_known_schedules() -> None:
    adds, sizes = floors.Adds(1.0, 0.0), Sizes(1000, 50)
    plain = defenses.create("none", epochs=7)
    assert floors.floor("none", plain, sizes, adds) == 7 * 1000 * 3
    tough = defenses.create("adv-train", epochs=7, steps=4)
    assert floors.floor("adv-train", tough, sizes, adds) == 7 * 1000 * (3 + 4 * 2)
    asd = defenses.create("asd", stage1_end=1, stage2_end=2, epochs=5, iterations=10, batch_size=8)
    # A step: 8 labelled samples and 16 views of 8 others; the views once more for their labels; three virtual models.
    assert floors.floor("asd", asd, sizes, adds) == pytest.approx(5 * 10 * (24 * 3 + 16) + 3 * 1000)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Images that go forward and back through the convolutions of every network, by a network's own layers."""
    found = {"adds": 0}
    plain = nn.Conv2d.forward

    def forward(layer: nn.Conv2d, given: Tensor) -> Tensor:
        made = plain(layer, given)
        weight = layer.weight[0].numel()
        found["adds"] += made.numel() * weight
        if torch.is_grad_enabled() and made.requires_grad:
            ways = int(layer.weight.requires_grad) + int(given.requires_grad)
            made.register_hook(lambda grad: found.__setitem__("adds", found["adds"] + ways * grad.numel() * weight))
        return made

    with monkeypatch.context() as patch:
        patch.setattr(nn.Conv2d, "forward", forward)
        yield found


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("none", "asd", "aabl")]
    + [pytest.param(name, marks=pytest.mark.demo) for name in ("bsd", "vab", "dst", "adv-train")],
)
def test_a_method_does_at_least_its_floor(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Run at `smoke`, counted layer by layer: never less than the floor, and not a multiple of it."""
    from defenselib import run

    cell = Experiment(dataset="shapes", attack="badnets", defense=name, profile="smoke")
    resolved = cell.resolve()
    with counted(monkeypatch) as found:
        run(cell, store=tmp_path)  # type: ignore[arg-type]
    adds = floors.adds_of(resolved.model, 10, 32, resolved.width)
    sizes = Sizes(resolved.train_size, 0)
    least = floors.floor(name, resolved.defense, sizes, adds)
    assert stages(resolved) and least <= found["adds"] < 4 * least


def test_hooks_leave_the_network_as_it_was() -> None:
    network = build_model("resnet10", width=4)
    assert isinstance(network, Classifier) and not any(layer._forward_hooks for layer in network.modules())
