"""Frames are kept as long as what they rest on is the same, and no longer; arrays as long as they can be read."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from defenselib import papers
from defenselib.defenses import DEFENSES
from defenselib.papers.kit import kept
from defenselib.papers.kit.exhibit import Exhibit

TABLE = papers.get("asd").exhibit("table-2")


@pytest.fixture
def times(monkeypatch):
    """How often a frame was made."""
    made = []
    original = type(TABLE)._reproduce

    def counted(self, request):
        made.append(request.profile)
        return original(self, request)

    monkeypatch.setattr(type(TABLE), "_reproduce", counted)
    return made


def acc(frame):
    where = (frame["attack"] == "badnets") & (frame["defense"] == "none") & (frame["dataset"] == "cifar10")
    return frame[where & (frame["metric"] == "acc")]["reproduced"].iloc[0]


def test_a_frame_is_made_once_and_again_for_every_change_of_the_store(put, store, times):
    first = put(80.0, 99.0, attack="badnets")
    for _ in range(3):
        assert acc(TABLE.reproduce("laptop", store=store)) == 80.0
    assert times == ["laptop"]
    put(70.0, 99.0, attack="blend")
    assert TABLE.reproduce("laptop", store=store)["reproduced"].notna().sum() >= 4
    content = json.loads(first.path.read_text())
    first.path.write_text(json.dumps(content | {"acc": 81.5}))  # in place: the folder does not change
    assert acc(TABLE.reproduce("laptop", store=store)) == 81.5
    first.path.unlink()
    assert np.isnan(acc(TABLE.reproduce("laptop", store=store)))
    assert len(times) == 4


def test_nobody_writes_into_a_kept_frame(put, store, times):
    put(80.0, 99.0, attack="badnets")
    mine = TABLE.reproduce("laptop", store=store)
    mine["reproduced"] = 0.0
    assert acc(TABLE.reproduce("laptop", store=store)) == 80.0 and len(times) == 1


def test_best_and_a_profile_share_frames_but_requests_do_not(put, store, times):
    put(80.0, 99.0, attack="badnets")
    TABLE.evidence(store)
    TABLE.reproduce("best", store=store)
    TABLE.reproduce("laptop", store=store)
    assert sorted(times) == ["gpu", "laptop", "paper"]
    part = TABLE.reproduce("laptop", attacks=["blend"], store=store)
    assert len(times) == 4 and np.isnan(acc(part))


def test_a_method_that_is_registered_again_is_another(put, store, times, monkeypatch):
    put(80.0, 99.0, attack="badnets")
    TABLE.reproduce("laptop", store=store)
    again = dataclasses.make_dataclass("ASD", [], bases=(DEFENSES["asd"],), frozen=True, kw_only=True)
    monkeypatch.setitem(DEFENSES, "asd", again)
    TABLE.reproduce("laptop", store=store)
    assert len(times) == 2


def test_a_profile_of_ones_own_may_change(store, times, tmp_path, monkeypatch):
    profile = {"verdict": "none"}
    monkeypatch.setattr(kept.profiles, "load", lambda name: profile["verdict"])
    request = kept.Request("mine", False, None, None, store)
    calls = []
    frames = {}
    for verdict in ("none", "none", "order"):
        profile["verdict"] = verdict
        kept.kept(frames, request, lambda one: calls.append(one) or TABLE._printed())
    assert len(calls) == 2


def test_an_array_is_made_once_for_its_values_and_again_where_its_file_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path))
    calls = []

    def double(values):
        calls.append(1)
        return 2 * values

    values = np.arange(6, dtype=np.float32)
    for _ in range(2):
        assert kept.kept_array("double", values, double).tolist() == [0, 2, 4, 6, 8, 10]
    assert len(calls) == 1
    assert kept.kept_array("double", values.reshape(2, 3), double).shape == (2, 3) and len(calls) == 2
    assert kept.kept_array("twice", values, double)[1] == 2 and len(calls) == 3
    for file in (tmp_path / "arrays").iterdir():
        file.write_bytes(file.read_bytes()[:-3])
    assert kept.kept_array("double", values, double)[5] == 10 and len(calls) == 4


def test_without_a_cache_folder_an_array_is_made_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path / "file"))
    assert kept.kept_array("double", np.ones(2), lambda values: 2 * values).tolist() == [2, 2]


def test_a_name_that_the_store_does_not_know_is_not_resolved(put, store, monkeypatch):
    put(80.0, 99.0, attack="badnets")
    asked = []
    original = Exhibit.reproduce
    from defenselib.papers.kit.request import Cell

    experiment = Cell.experiment
    monkeypatch.setattr(Cell, "experiment", lambda self, *rest: asked.append(self) or experiment(self, *rest))
    frame = original(TABLE, "laptop", store=store)
    assert acc(frame) == 80.0
    assert {(cell.dataset, cell.attack, cell.defense) for cell in asked} == {("cifar10", "badnets", "none")}
