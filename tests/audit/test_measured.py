"""Accuracy is never measured on what was trained on, under whatever name it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from defenselib.audit.defend import Plan, Settings, defend
from defenselib.audit.folder import UserData
from defenselib.audit.page import report
from defenselib.audit.results import Measured, accuracy, held_out
from defenselib.data.types import ImageSet
from tests.audit.made import reported, scanner


def data_of(count: int = 60, classes: int = 3, seed: int = 0) -> UserData:
    images = torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(count) % classes
    files = tuple(f"{seed}/{i}.png" for i in range(count))
    return UserData(Path("/data"), ImageSet(images, labels), files, tuple("abc"[:classes]), (), ())


def part_of(data: UserData, index: torch.Tensor) -> UserData:
    names = tuple(data.files[i] for i in index.tolist())
    return replace(data, images=data.images.select(index), files=names)


def plan_of(data: UserData, defense: str = "none", **more: UserData) -> Plan:
    return Plan(data, Settings(defense, "smoke", holdout=0.2), device="cpu", **more)


@given(st.data())
def test_copies_are_on_one_side_and_every_class_is_trained_on(draw: st.DataObject) -> None:
    pictures = draw.draw(st.lists(st.integers(0, 12), min_size=4, max_size=60))
    labels = torch.tensor([draw.draw(st.integers(0, 3)) for _ in pictures])
    keys = [bytes([picture]) for picture in pictures]
    share, seed = draw.draw(st.floats(0, 0.5)), draw.draw(st.integers(0, 3))
    held = held_out(labels, keys, share, seed)
    apart = {key for key, out in zip(keys, held.tolist(), strict=True) if out}
    assert not apart & {key for key, out in zip(keys, held.tolist(), strict=True) if not out}
    assert len(apart) <= round(share * len(set(keys)))
    assert set(labels[~held].tolist()) == set(labels.tolist())
    assert torch.equal(held, held_out(labels, keys, share, seed)), "a run that goes on holds the same files out"


def test_with_every_file_twice_no_held_out_picture_is_trained_on() -> None:
    once = data_of()
    both = ImageSet(once.images.images.repeat(2, 1, 1, 1), once.images.labels.repeat(2))
    plan = plan_of(replace(once, images=both, files=once.files + tuple(f"copy/{name}" for name in once.files)))
    assert torch.equal(plan.held_out[:60], plan.held_out[60:]) and int(plan.held_out.sum()) == 24
    assert plan.measured.words == "measured on 24 images of the held-out part"
    # Where no picture is there twice, the draw is the one that it always was.
    assert torch.equal(plan.held_out[:60], plan_of(once).held_out)


def test_what_is_vouched_for_is_not_measured_on() -> None:
    data = data_of()
    plan = plan_of(data, "asd", clean=part_of(data, torch.arange(30)))
    twice = plan.held_out & (torch.arange(60) < 30)
    assert int(twice.sum()) and torch.equal(plan.measured.index, plan.held_out & ~twice)
    assert f"; {int(twice.sum())} more are pixel by pixel those" in plan.measured.words
    # A method that makes no use of clean images does not train on them.
    assert torch.equal(plan_of(data, clean=part_of(data, torch.arange(30))).measured.index, plan.held_out)


def test_of_a_test_folder_only_new_pictures_are_measured(tmp_path: Path) -> None:
    data, new = data_of(), data_of(9, seed=1)
    images = ImageSet(
        torch.cat([new.images.images, data.images.images]), torch.cat([new.images.labels, data.images.labels])
    )
    plan = plan_of(data, test=replace(new, images=images, files=new.files + data.files))
    assert plan.measured.index.tolist() == [True] * 9 + [False] * 60 and plan.measured.copies == 60
    assert "9 images of the test folder; 60 more" in plan.measured.words
    said = torch.cat([new.images.labels, torch.full((60,), 9)])  # wrong on all that it was trained on
    found = accuracy(plan.measured, said, images.labels, 3)
    assert found is not None and (found.percent, found.images, found.copies) == (100.0, 9, 60)


@pytest.mark.slow
def test_where_nothing_new_is_left_there_is_no_accuracy_but_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("defenselib.audit.export.write_onnx", lambda *_: "left out")
    data = data_of()
    delivery = defend(plan_of(data, test=data), tmp_path / "out", scanner=scanner)
    why = "not known: of the test folder, every picture (60 images) is trained on too"
    assert delivery.accuracy is None and delivery.measured == why
    assert f"Accuracy is {why}." in report(data, reported(data), delivery)
    assert why in (tmp_path / "out" / "model.json").read_text()


def test_accuracy_without_flagged_files_is_of_those_that_are_measured() -> None:
    index = torch.tensor([True, True, True, False])
    flagged = torch.tensor([True, False, False, False])
    said = torch.tensor([0, 0, 1, 1])
    found = accuracy(Measured("held-out part", index, 1), said, torch.tensor([1, 0, 1, 0]), 2, flagged)
    assert found is not None and found.unflagged == 100.0 and found.percent == pytest.approx(200 / 3)
