"""Counting rules, cross samples, refusals: what `poison` does whatever the attack."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from defenselib import attacks
from defenselib.attacks import Attack, Plan, poison
from defenselib.attacks.base import floor_share
from defenselib.data.types import Dataset, ImageSet
from defenselib.errors import InvalidValueError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Crossing(Attack):
    """Inverts images; its cross samples are their partners' first row on their own image."""

    name: ClassVar[str] = "crossing"
    share: float = 0.2

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        return 255 - images

    @property
    def cross_rate(self) -> float:
        return self.share

    def cross(self, images: Tensor, partners: Tensor, index: Tensor | None = None) -> Tensor:
        assert index is not None and len(index) == len(images) == len(partners)
        out = images.clone()
        out[:, :, 0] = partners[:, :, 0]
        return out


class DoubleCrossing(Crossing):
    """Twice as many cross samples as poisoned ones."""

    def cross_count(self, poisoned: int, total: int) -> int:
        return 2 * poisoned


@dataclass(frozen=True, kw_only=True)
class CleanLabel(Attack):
    name: ClassVar[str] = "clean-label"
    clean_label: ClassVar[bool] = True
    plan: Plan = Plan(0.5, 1, "exact-target")  # noqa: RUF009

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        return 255 - images

    def trigger(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        return images // 2


def tiny(labels: list[int], classes: int = 4, test: int = 12, size: int = 2) -> Dataset:
    stream = torch.Generator().manual_seed(len(labels))
    images = torch.randint(0, 256, (len(labels) + test, 3, size, size), generator=stream).to(torch.uint8)
    train = ImageSet(images[: len(labels)], torch.tensor(labels, dtype=torch.int64))
    held = ImageSet(images[len(labels) :], torch.arange(test) % classes)
    return Dataset("tiny", train, held, tuple(map(str, range(classes))), "none")


@pytest.mark.parametrize(
    ("rate", "total", "expected"),
    [(0.1, 45000, 4500), (0.1, 50000, 5000), (0.05, 39209, 1960), (1 - 0.9, 50, 5), (0.1 + 0.2, 10, 3), (0.29, 100, 29),
     (0.57, 100, 57), (0.1, 9, 0), (1.0, 7, 7), (0.0, 7, 0), (1e-05, 100000, 1), (0.1, 39209, 3920)],
)  # fmt: skip
def test_floor_of_decimals(rate: float, total: int, expected: int) -> None:
    assert floor_share(rate, total) == expected


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    percent=st.integers(0, 100),
    target=st.integers(0, 3),
    count=st.sampled_from(attacks.COUNTS),
    seed=st.integers(0, 2**40),
)
def test_counts_for_any_labels(labels: list[int], percent: int, target: int, count: str, seed: int) -> None:
    dataset = tiny(labels)
    attack = Crossing(image_size=2, share=0.0)
    sizes = {
        "exact-nontarget": sum(label != target for label in labels),
        "exact-all": len(labels),
        "exact-target": labels.count(target),
        "bernoulli-nontarget": None,
    }
    size = sizes[count]
    expected = None if size is None else math.floor(Fraction(percent, 100) * size)
    try:
        made = poison(dataset, attack, percent / 100, target, seed, count)
    except InvalidValueError as error:
        assert percent > 0 and "poisons none" in str(error)
        assert not expected
        return
    chosen = made.is_poisoned
    assert expected is None or int(chosen.sum()) == expected
    assert percent == 0 or chosen.any()
    if count.endswith("nontarget"):
        assert (made.clean_labels[chosen] != target).all()
    if count == "exact-target":
        assert (made.clean_labels[chosen] == target).all()
    assert torch.equal(made.train.images[chosen], 255 - dataset.train.images[chosen])
    assert torch.equal(made.train.images[~chosen], dataset.train.images[~chosen])
    assert (made.train.labels[chosen] == target).all()
    assert torch.equal(made.train.labels[~chosen], dataset.train.labels[~chosen])


def test_bernoulli_rate_is_met_on_average() -> None:
    labels = [0, 1] * 20000
    made = poison(tiny(labels), Crossing(image_size=2, share=0.0), 0.05, 0, 7, "bernoulli-nontarget")
    assert abs(int(made.is_poisoned.sum()) - 1000) < 4 * math.sqrt(20000 * 0.05 * 0.95)


def test_bernoulli_choice_does_not_depend_on_the_target() -> None:
    dataset = tiny([0, 1, 2, 3] * 50)
    one, two = (poison(dataset, Crossing(image_size=2, share=0.0), 0.5, target, 3) for target in (0, 1))
    both = dataset.train.labels > 1
    assert torch.equal(one.is_poisoned[both], two.is_poisoned[both])


def test_cross_samples() -> None:
    dataset = tiny([0, 1, 2, 3] * 25)
    made = poison(dataset, Crossing(image_size=2), 0.1, 0, 5, "exact-all")
    crossed = made.is_cross
    assert int(crossed.sum()) == 20 and int(made.is_poisoned.sum()) == 10
    assert not (crossed & made.is_poisoned).any()
    assert torch.equal(made.train.labels[crossed], dataset.train.labels[crossed])
    images, stored = dataset.train.images, made.train.images
    assert torch.equal(stored[crossed][:, :, 1], images[crossed][:, :, 1])
    steps = set()
    for position in crossed.nonzero().flatten().tolist():
        same = (images[:, :, 0] == stored[position][:, 0]).flatten(1).all(1).nonzero().flatten()
        assert position not in same.tolist()
        steps.add((int(same[0]) - position) % 100)
    assert len(steps) == 1
    untouched = ~(crossed | made.is_poisoned)
    assert torch.equal(stored[untouched], images[untouched])


def test_cross_count_may_follow_the_poisoned_and_rate_zero_has_none() -> None:
    dataset = tiny([0, 1, 2, 3] * 25)
    attack = DoubleCrossing(image_size=2)
    assert int(poison(dataset, attack, 0.2, 0, 0, "exact-all").is_cross.sum()) == 40
    clean = poison(dataset, attack, 0.0, 0)
    assert not clean.is_cross.any() and not clean.is_poisoned.any()
    assert len(clean.triggered_test) == 9
    with pytest.raises(InvalidValueError, match="needs 100 cross samples, but only 50 of 100"):
        poison(dataset, attack, 0.5, 0, 0, "exact-all")


def test_clean_label_keeps_labels_and_test_wants_the_target() -> None:
    dataset = tiny([0, 1, 2, 3] * 10)
    made = poison(dataset, CleanLabel(image_size=2))
    assert made.target == 1 and int(made.is_poisoned.sum()) == 5
    assert torch.equal(made.train.labels, dataset.train.labels)
    assert (dataset.train.labels[made.is_poisoned] == 1).all()
    keep = dataset.test.labels != 1
    assert torch.equal(made.triggered_test.images, dataset.test.images[keep] // 2)
    assert (made.triggered_test.labels == 1).all()


def test_plan_of_the_attack_is_the_default_and_arguments_override_it(make_dataset: Any) -> None:
    dataset = make_dataset(train=400)
    attack = attacks.create("badnets", preset="vab")
    made = poison(dataset, attack)
    assert made.target == 0 and int(made.is_poisoned.sum()) == 40
    made = poison(dataset, attack, rate=0.2, target=5)
    assert made.target == 5 and int(made.is_poisoned.sum()) == 80
    nontarget = int((dataset.train.labels != 0).sum())
    assert int(poison(dataset, attack, count="exact-nontarget").is_poisoned.sum()) == nontarget // 10


def test_all_to_all_poisons_all_classes(make_dataset: Any) -> None:
    dataset = make_dataset(train=300, classes=3)
    made = poison(dataset, attacks.create("badnets-all2all"), rate=0.5)
    assert made.target is None and int(made.is_poisoned.sum()) == 150
    assert set(dataset.train.labels[made.is_poisoned].tolist()) == {0, 1, 2}
    assert len(made.triggered_test) == len(dataset.test)
    assert torch.equal(made.triggered_test.labels, (dataset.test.labels + 1) % 3)


def test_pieces_join_without_a_seam(make_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(size=8)
    attack = attacks.create("blend", 8)
    whole = poison(dataset, attack, 0.5)
    monkeypatch.setattr("defenselib.attacks.base.CHUNK", 3 * 64 * 7)
    parts = poison(dataset, attack, 0.5)
    assert torch.equal(whole.train.images, parts.train.images)
    assert torch.equal(whole.triggered_test.images, parts.triggered_test.images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": -0.1}, "rate is -0.1"), ({"rate": 1.01}, "rate is 1.01"), ({"rate": float("nan")}, "rate is nan"),
        ({"rate": "0.1"}, "rate is '0.1'"), ({"rate": True}, "rate is True"),
        ({"target": 10}, "target is 10, it must be a class from 0 to 9"), ({"target": -1}, "target is -1"),
        ({"target": 1.0}, "target is 1.0"), ({"rate": 0.001, "count": "exact-all"}, "poisons none of 200"),
        ({"count": "exact-al"}, "did you mean 'exact-all'"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(make_dataset: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidValueError, UnknownNameError), match=message):
        poison(make_dataset(), attacks.create("badnets"), **arguments)


def test_bad_combinations_are_refused(make_dataset: Any) -> None:
    dataset = make_dataset()
    with pytest.raises(InvalidValueError, match="create it with their image_size"):
        poison(dataset, attacks.create("badnets", 28))
    with pytest.raises(InvalidValueError, match="target is 3, it must be a class from 0 to 1"):
        poison(make_dataset(classes=2), attacks.create("badnets"))
    with pytest.raises(InvalidValueError, match="sends every class to the next"):
        poison(dataset, attacks.create("badnets-all2all"), target=1)
    with pytest.raises(InvalidValueError, match="has no target class"):
        poison(dataset, attacks.create("badnets-all2all"), count="exact-target")
    with pytest.raises(InvalidValueError, match="poisons nothing"):
        poison(dataset, attacks.create("none"), rate=0.1)
    with pytest.raises(InvalidValueError, match="keeps labels"):
        poison(tiny([0, 1]), CleanLabel(image_size=2), count="exact-all")
    with pytest.raises(InvalidValueError, match=r"must come from attacks\.create"):
        poison(dataset, "badnets")  # type: ignore[arg-type]


def test_create_names_what_it_does_not_know() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown attack 'badnet'; did you mean 'badnets'\? available: none, b"):
        attacks.create("badnet")
    with pytest.raises(UnknownNameError, match=r"paper \(preset\) of attack 'blend-strip': 'asd'; available: dst_dbr"):
        attacks.create("blend-strip", preset="asd")
    with pytest.raises(UnknownNameError, match=r"'patern'; did you mean 'pattern'\?"):
        attacks.create("badnets", patern="dbd2")
    with pytest.raises(InvalidValueError, match="image_size"):
        attacks.create("badnets", image_size=0)


def test_hyper_parameters_override_the_preset() -> None:
    attack = attacks.create("badnets", preset="dst_dbr", pattern="white3", plan=Plan(0.3, 2, "exact-all"))
    assert attack.pattern == "white3" and attack.plan.target == 2  # type: ignore[attr-defined]
    assert attacks.create("blend", preset="dst_dbr", alpha=1).alpha == 1.0  # type: ignore[attr-defined]


def test_default_preset_is_asds_else_the_first() -> None:
    assert attacks.presets("badnets")[0] == "asd"
    assert attacks.create("blend-strip") == attacks.create("blend-strip", preset="dst_dbr")
    for name in attacks.available():
        assert attacks.create(name) == attacks.create(name, preset=attacks.presets(name)[0])


def test_a_new_attack_is_one_class_and_one_line(make_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attacks.ATTACKS, "crossing", Crossing)
    attack = attacks.create("crossing", share=0.1)
    assert attack == dataclasses.replace(attack) and "crossing" in attacks.available()
    made = poison(make_dataset(), attack)
    assert made.is_poisoned.any() and int(made.is_cross.sum()) == 20
