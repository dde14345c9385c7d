"""A defense on a folder of pictures: what it is given, what it delivers, and that stopping it changes nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import defenselib as dl
from defenselib import tensor_files
from defenselib.audit import scan
from defenselib.audit.defend import Plan, Settings, defend, digest
from defenselib.audit.examples import Example, write_folder
from defenselib.audit.export import load_model
from defenselib.audit.folder import UserData, read_folder
from defenselib.audit.methods import METHODS
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.learning.evaluation import predict
from tests.audit.made import drawn, reported, scanner

FILES = ["cleaned", "model.json", "model.safetensors", "report.html", "skipped.csv", "suspects.csv"]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return drawn(tmp_path_factory.mktemp("mine") / "data", 160)


@pytest.fixture(scope="module")
def data(example: Example) -> UserData:
    return read_folder(example.folder)


@pytest.fixture(scope="module")
def vouched(example: Example, tmp_path_factory: pytest.TempPathFactory) -> UserData:
    """Two images of every class that nobody has touched."""
    folder = tmp_path_factory.mktemp("vouched")
    labels = example.test.labels
    index = torch.cat([(labels == label).nonzero().flatten()[:2] for label in range(10)])
    write_folder(folder, example.test.select(index), dl.load_dataset("shapes", limit=10).classes)
    return read_folder(folder)


def plan_of(data: UserData, defense: str, **more: Any) -> Plan:
    return Plan(data, Settings(defense=defense, profile="smoke"), device="cpu", **more)


@pytest.fixture(autouse=True)
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing a network takes longer than these trainings; test_export has it."""
    monkeypatch.setattr("defenselib.audit.export.write_onnx", lambda *_: "left out")
    monkeypatch.setattr("defenselib.audit.export.write_program", lambda *_: "left out")


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_delivers(name: str, data: UserData, vouched: UserData, tmp_path: Path) -> None:
    clean = vouched if name == "asd" else None
    plan, out = plan_of(data, name, clean=clean), tmp_path / "out"
    delivery = defend(plan, out, scanner=scanner)
    assert sorted(item.name for item in out.iterdir()) == FILES
    held = delivery.held_out
    assert int(held.sum()) == 16 and not delivery.suspects[held].any()
    assert delivery.accuracy is not None and delivery.accuracy.images == 16
    if METHODS[name].score is not None:
        assert delivery.score is not None
        assert delivery.score[held].isnan().all() and delivery.score[~held].isfinite().all()
    model, about = load_model(out)
    assert torch.equal(predict(model, data.images.images), delivery.predicted)
    assert about["classes"] == list(data.classes)
    # Every stage that the forecast knows was run, and no other: the time that is left counts them all.
    assert list(delivery.seconds) == list(METHODS[name].stages)
    with (out / "suspects.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(data.files)
    assert {name for name, row in rows.items() if row["held_out"] == "yes"} == {
        name for name, out in zip(data.files, held.tolist(), strict=True) if out
    }
    assert (out / "cleaned" / "kept.txt").read_text().split("\n")[:-1] == list(data.files), (
        "a calm scan removes nothing"
    )


class Killed(BaseException):
    """As a signal would end the process: nothing catches it."""


def killed_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the process "dies" when it has saved so many checkpoints."""
    left, save = [saves], Context._save

    def counting(self: Context, *given: Any) -> None:
        save(self, *given)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(Context, "_save", counting)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "saves"), [("bsd", 4), ("dst", 3), ("spectral", 20)])
def test_a_killed_run_goes_on_to_the_same_files(
    name: str, saves: int, data: UserData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(data, name)
    defend(plan, tmp_path / "whole", checkpoint_every=0, scanner=scanner)
    with monkeypatch.context() as patch:
        killed_after(saves, patch)
        with pytest.raises(Killed):
            defend(plan, tmp_path / "killed", checkpoint_every=0, scanner=scanner)
    assert sorted(item.name for item in (tmp_path / "killed").iterdir()) == [".unfinished"]

    def scanned_again(*_: Any, **__: Any) -> Any:
        pytest.fail("the scan was done before")

    defend(plan, tmp_path / "killed", checkpoint_every=0, scanner=scanned_again)
    weights, expected = (tensor_files.load(tmp_path / name / "model.safetensors")[0] for name in ("killed", "whole"))
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.items()), "bit for bit"
    for file in ("suspects.csv", "cleaned/kept.nul", "skipped.csv"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


def test_a_scan_is_kept_as_it_was(data: UserData, tmp_path: Path) -> None:
    report = reported(data, torch.arange(len(data.files)) == 3, pattern=torch.rand(3, 4, 4))
    scan.keep(tmp_path / "scan", report)
    found = scan.scanned(tmp_path / "scan", lambda **_: pytest.fail("the scan was done before"))
    assert torch.equal(found.rank, report.rank) and torch.equal(found.signs[1].scores, report.signs[1].scores)
    assert found.pattern is not None and report.pattern is not None and torch.equal(found.pattern, report.pattern)
    same = ("target", "target_votes", "alarm", "words", "seconds")
    assert [getattr(found, name) for name in same] == [getattr(report, name) for name in same]


def test_the_held_out_part_is_drawn_by_seed_and_leaves_every_class_an_image(data: UserData) -> None:
    def held(seed: int, share: float) -> torch.Tensor:
        return Plan(data, Settings(defense="none", profile="smoke", seed=seed, holdout=share)).held_out

    assert torch.equal(held(1, 0.25), held(1, 0.25)) and not torch.equal(held(1, 0.25), held(2, 0.25))
    assert int(held(0, 0.25).sum()) == 40 and int(held(0, 0.0).sum()) == 0
    labels = data.images.labels
    assert len(labels[~held(0, 0.5)].unique()) == len(data.classes)


def test_what_decides_the_outcome_is_in_the_request(data: UserData, vouched: UserData, example: Example) -> None:
    base = plan_of(data, "asd", clean=vouched).request()
    json.dumps(base)
    other = UserData(data.root, data.images, data.files[::-1], data.classes, (), ())
    assert digest(other) != digest(data)
    settings = [{"seed": 1}, {"profile": "demo"}, {"holdout": 0.2}, {"flip": False}]
    changed = [Plan(data, Settings(**{"defense": "asd", "profile": "smoke", **change}), vouched) for change in settings]
    changed += [
        plan_of(other, "asd", clean=vouched),
        plan_of(data, "bsd"),
        plan_of(data, "asd", clean=vouched, test=vouched),
    ]
    assert all(plan.request() != base for plan in changed)
    # What a method makes no use of changes nothing.
    assert plan_of(data, "bsd", clean=vouched).request() == plan_of(data, "bsd").request()


def renamed(data: UserData, *names: str) -> UserData:
    return UserData(data.root, data.images, data.files, names, (), ())


def few(data: UserData, count: int) -> UserData:
    index = torch.arange(count)
    return UserData(data.root, data.images.select(index), data.files[:count], data.classes, (), ())


def test_test_images_are_matched_by_the_names_of_their_classes(data: UserData, vouched: UserData) -> None:
    backwards = renamed(vouched, *vouched.classes[::-1])
    found = plan_of(data, "none", test=backwards).test_images
    assert found is not None and torch.equal(found.labels, 9 - vouched.images.labels)
    assert not plan_of(data, "none", test=vouched).held_out.any()


@pytest.mark.parametrize(
    ("settings", "folders", "said"),
    [
        ({"defense": "vabb"}, {}, "unknown defense 'vabb'; did you mean 'vab'"),
        ({"defense": "nad"}, {}, "defense 'nad' is not offered for data of your own; choose one of bsd, asd, vab"),
        ({"defense": "asd"}, {}, "defense 'asd' needs images that you vouch for: give --clean DIR"),
        ({"profile": "labtop"}, {}, "unknown profile 'labtop'; did you mean 'laptop'"),
        ({"profile": "laptop-1"}, {}, "unknown profile 'laptop-1'; did you mean 'laptop'"),
        ({"seed": -1}, {}, "seed is -1"),
        ({"holdout": 0.9}, {}, "holdout is 0.9, it must lie in [0.0, 0.5]"),
        ({"defense": "asd"}, {"clean": lambda v: few(v, 3)}, "has no image of class 'crescent' and 7 more"),
        ({}, {"test": lambda v: renamed(v, "barr", *v.classes[1:])}, "unknown class in --test"),
        ({}, {"test": lambda v: renamed(v, "barr", *v.classes[1:])}, "did you mean 'bar'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_line(
    settings: dict[str, Any], folders: dict[str, Any], said: str, data: UserData, vouched: UserData
) -> None:
    with pytest.raises(DefenseLibError) as caught:
        Plan(data, Settings(**settings), **{name: make(vouched) for name, make in folders.items()})
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_images_of_another_size_are_refused(data: UserData, vouched: UserData) -> None:
    large = read_folder(vouched.root, 48)
    with pytest.raises(DefenseLibError, match="images of --test have a side of 48, those of the data 32"):
        plan_of(data, "none", test=large)
