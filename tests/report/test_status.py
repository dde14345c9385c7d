"""Where results come from: nothing but the store is read, and older code is named."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest

from defenselib import data, papers
from defenselib.experiments import Experiment, Result, Store
from defenselib.experiments.code_digest import code_of
from defenselib.papers.kit.grid import NO_RESULT, OTHER_SETTING
from defenselib.report import status, status_page

CURRENT = {"cpu": "A chip", "cores": 2, "threads": 1, "gpu": None, "bf16": "software"}
OLD = {"cpu": "A chip", "cores": 2, "threads": 1, "gpu": None}


def result(seed: int, code: str | None = None, **fields) -> Result:
    """By today's code where none is named."""
    chosen = {"dataset": "cifar10", "profile": "laptop", "attack": "badnets", "paper": "asd", "seed": seed}
    resolved = Experiment(**chosen).resolve()
    made = Result(
        experiment=resolved.describe(), spec=resolved.spec(), hash=resolved.hash, profile=resolved.profile,
        acc=80.0, asr=99.0, per_class=(80.0,) * 10, code=code or code_of(resolved.describe()), stem=resolved.stem,
        data_digest=data.digests["cifar10-jpeg"], versions={"python": "3.11.7", "torch": "2.15.0"},
        created="2026-11-20T10:00:00",
    )  # fmt: skip
    return dataclasses.replace(made, **fields)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.put(result(0, machine=CURRENT, seconds=120.0, cpu_seconds=90.0))
    made.put(result(1, "0123456789abcdef", machine=OLD, seconds=240.0, peak_memory_mb=900.0, data_digest="f" * 64))
    return made


def test_a_result_by_older_code_is_named(store: Store) -> None:
    frame = status.provenance(store).set_index("seed")
    assert list(frame["code"]) == ["current", "older"]
    assert list(frame["bf16"]) == ["software", "not recorded"]
    assert frame.loc[0, "minutes"] == 2.0 and frame.loc[0, "cpu_minutes"] == 1.5
    assert math.isnan(frame.loc[1, "cpu_minutes"])
    rows = status_page.results(frame.reset_index(), "All").text
    assert rows.count("✓ current") + rows.count("\\u2713 current") >= 1
    assert rows.count("✗ older") + rows.count("\\u2717 older") >= 1
    assert "1 of 2 results" in str(status_page.older(frame.reset_index()))
    assert "Every result" in str(status_page.older(frame.reset_index().iloc[:1]))


def row_of(html: object, line: int = 1) -> list[str]:
    """The texts of a row of a table, heads first."""
    rows = re.findall(r"<tr>(.*?)</tr>", str(html))
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", rows[line])]


def test_totals_count_cells_not_seeds(store: Store) -> None:
    shown = dict(zip(*(row_of(status_page.totals(status.provenance(store)), line) for line in (0, 1)), strict=True))
    assert (shown["results"], shown["cells"], shown["made by older code"]) == ("2", "1", "1")
    assert (shown["hours"], shown["peak memory (MB)"], shown["first"]) == ("0.1", "900", "2026-11-20")
    (cell,) = status.holdings(store).to_dict("records")
    assert (cell["seeds"], cell["working"], cell["committed"], cell["older_code"]) == ("0, 1", 2, 0, 1)
    assert status.holdings(Store(store.root / "nothing")).empty


def cell(**changed) -> Result:
    """Another cell at laptop, by today's code."""
    usual = {"dataset": "cifar10", "profile": "laptop", "attack": "badnets", "defense": "abl", "paper": "asd"}
    resolved = Experiment(**usual | changed).resolve()
    return result(
        0, "current", experiment=resolved.describe(), spec=resolved.spec(), hash=resolved.hash, stem=resolved.stem
    )


def test_runs_that_differ_in_a_setting_alone_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    variants = ({"gamma": 0.4}, {"gamma": 0.4, "batch_size": 32})
    for args in variants:
        store.put(cell(defense_args=args))
    said = list(status.provenance(store)["setting"])
    assert sorted(said) == [f"superseded, or a variant: {words}" for words in ("gamma=0.4", "gamma=0.4, batch_size=32")]
    for more in ({}, {"rate": 0.02}, {"stop_after": "isolate"}, {"measure": ("acc", "asr", "ra")}):
        store.put(cell(**more))
    frame = status.provenance(store)
    told = {"gamma=0.4", "gamma=0.4, batch_size=32", "rate=0.02", "stop_after=isolate"}
    told |= {f"as set today; measured {words}" for words in ("acc, asr", "acc, asr, ra")}
    assert set(frame["setting"]) == told and len(status.holdings(store)) == len(told)
    assert "stop_after=isolate" in status_page.results(frame, "All").text


def test_a_cell_of_which_only_another_setting_ran_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    told = {"profile": "laptop", "attacks": ["blend"], "store": store}
    table = papers.get("asd").exhibit("table-2")

    def reasons() -> set[str]:
        frame = table.reproduce(**told).query("dataset == 'cifar10' and attack == 'blend' and defense == 'abl'")
        return set(frame["reason"])

    assert reasons() == {NO_RESULT}
    store.put(cell(attack="blend", defense_args={"gamma": 0.4}))
    assert reasons() == {OTHER_SETTING}


def test_copies_of_data_are_held_against_the_committed_digests(store: Store) -> None:
    html = status_page.copies(status.provenance(store))
    found = [row_of(html, line) for line in (1, 2)]
    assert {row[4] for row in found} == {"as committed", "another"} and all("JPEG" in row[5] for row in found)


def test_smoke_is_no_evidence(store: Store) -> None:
    smoke = Experiment(dataset="cifar10", profile="smoke", paper="asd").resolve()
    store.put(
        dataclasses.replace(
            result(2, ""),
            profile="smoke",
            hash=smoke.hash,
            experiment=smoke.describe(),
            spec=smoke.spec(),
            stem=smoke.stem,
        )
    )
    assert set(status.provenance(store)["profile"]) == {"laptop"}
    assert set(status.provenance(store, smoke=True)["profile"]) == {"laptop", "smoke"}


def test_run_times_tell_whose_minutes_they_are(store: Store) -> None:
    gpu = {**CURRENT, "gpu": "NVIDIA H200"}
    store.put(result(2, "0123456789abcdef", machine=gpu, seconds=60.0, cpu_seconds=600.0))
    (axis,) = status_page.times(status.provenance(store)).axes
    drawn = {item.get_label(): item.get_offsets()[:, 0].tolist() for item in axis.collections}
    assert drawn == {"of the processor": [1.5], "of the clock": [4.0], "of the clock, on a GPU": [1.0]}
