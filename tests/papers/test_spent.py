"""What was spent: seconds of results by kind of machine, and the times that the papers print."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from defenselib import defenses
from defenselib.bench import steps
from defenselib.bench.loops import Size
from defenselib.errors import DataError, InvalidValueError
from defenselib.experiments import Result, Store, schedule
from defenselib.papers import spent
from defenselib.report import costs

CPU = {"cpu": "chip", "bf16": "hardware", "gpu": None}
GPU = {"cpu": "chip", "bf16": "hardware", "gpu": "card"}


@pytest.fixture
def spend(put: Callable[..., Result]) -> Callable[..., Result]:
    """spend(machine, seconds, cpu_seconds, **fields of Experiment): a result that took so long there."""

    def make(machine: dict[str, Any], seconds: float, cpu: float | None, **fields: Any) -> Result:
        found = put(80.0, 50.0, attack="badnets", **fields)
        return replace(found, machine=machine, seconds=seconds, cpu_seconds=cpu)

    return make


def test_no_two_kinds_of_machines_share_a_row(spend: Callable[..., Result]) -> None:
    found = spent.measured(
        [
            spend(CPU, 900.0, 100.0, seed=0),
            spend(CPU, 900.0, 300.0, seed=1),
            spend(CPU, 900.0, None, seed=2),
            spend(GPU, 20.0, 5.0, seed=0),
            spend({**CPU, "bf16": "software"}, 900.0, 800.0, seed=0),
            spend({"cpu": "chip", "gpu": None}, 900.0, 700.0, seed=0),
        ]
    ).set_index("machine")
    assert dict(found["seconds"]) == {
        "chip (bf16 in hardware)": 200.0,
        "card": 20.0,
        "chip (bf16 in software)": 800.0,
        "chip (bf16 not recorded)": 700.0,
    }
    assert found.loc["chip (bf16 in hardware)", ["n", "unrecorded"]].tolist() == [2, 1]
    assert list(found["gpu"]) == [False, True, False, False]


def test_a_share_is_held_against_plain_training_on_the_same_machine(spend: Callable[..., Result]) -> None:
    plain, asd = spend(CPU, 0.0, 100.0), spend(CPU, 0.0, 400.0, defense="asd")
    elsewhere = spend(GPU, 10.0, None, defense="asd")
    found = spent.measured([plain, asd, elsewhere]).set_index(["defense", "gpu"])
    assert found.loc[("none", False), "share"] == pytest.approx(100.0)
    more = found.loc[("asd", False), "adds"] / found.loc[("none", False), "adds"]
    assert found.loc[("asd", False), "share"] == pytest.approx(100.0 * more / 4)
    assert math.isnan(found.loc[("asd", True), "share"]), "nobody ran plain training there"


def test_a_method_without_a_schedule_has_no_floor(
    spend: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(defenses.DEFENSES, "own", type("Own", (defenses.DEFENSES["none"],), {"name": "own"}))
    found = spent.measured([spend(CPU, 0.0, 100.0), spend(CPU, 0.0, 300.0, defense="own")]).set_index("defense")
    assert dict(found["seconds"]) == {"none": 100.0, "own": 300.0}
    assert found.loc["own", ["adds", "pace", "share"]].isna().all() and found.loc["none", "adds"] > 0
    assert math.isnan(spent.paper_floor("own", "cifar10"))
    with pytest.raises(InvalidValueError, match=r"'own' has no schedule; add its stages to RULES in .*schedule"):
        schedule.rule_of("own")


def test_printed_times_are_whole_methods_in_hours() -> None:
    found = spent.printed_times().set_index(["paper", "exhibit", "dataset", "defense"])["hours"]
    assert found["asd", "table-3", "cifar10", "asd"] == pytest.approx(9990 / 3600)
    assert found["bsd", "table-5", "cifar10", "bsd"] == pytest.approx(11_340 / 3600)
    assert found["bsd", "table-9", "cifar10", "vab"] == pytest.approx(19_800 / 3600)
    assert found["bsd", "table-9", "cifar10", "dst"] == pytest.approx(15_480 / 3600)
    assert found.index.is_unique and "average" not in found.index.get_level_values("dataset")


def test_papers_floors_are_those_of_their_own_schedules() -> None:
    plain, asd = spent.paper_floor("none", "cifar10"), spent.paper_floor("asd", "cifar10")
    # 200 epochs of 50,000 images through the full ResNet-18, and back.
    assert plain == pytest.approx(200 * 50_000 * 3 * 0.556e9, rel=0.02) and asd > plain


def test_the_tables_name_machine_and_clock(spend: Callable[..., Result]) -> None:
    found = spent.measured([spend(CPU, 900.0, 100.0), spend(GPU, 20.0, 5.0), spend(GPU, 30.0, None, defense="asd")])
    text = str(costs.seconds(found))
    assert text.count('scope="colgroup"') == 2 and ">processor (s)<" in text and ">clock (s)<" in text
    assert text.index(">card<") < text.index(">chip (bf16"), "the kind with most methods first"
    assert "share of the time" in str(costs.floors(found))
    assert costs.machines(found) == "chip (bf16 in hardware) and card"
    assert costs.unrecorded(found) == "Every result has them."
    assert str(costs.seconds(found.iloc[:0])) == "<p>No result yet.</p>"


def test_what_papers_print_stands_a_column_a_table() -> None:
    text = str(costs.papers())
    for said in ("ASD, Table 3", "BSD, Table 5", "BSD, Table 9", ">4.81<", ">5.50<"):
        assert said in text, said


def test_steps_a_second_come_from_a_file_or_from_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "results_folder", lambda: tmp_path)
    assert spent.bench() is None and costs.COMMAND in str(costs.steps())
    (tmp_path / "trials").mkdir()
    row = steps.Row(12.5, 31.0, 4.25, steps.NOT_CAPTURED)
    written = steps.report("demo", Size.of("demo"), {"gpu": None, "cpu": "chip"}, 4, 0.3, {"MixMatch": row})
    file = tmp_path / "trials" / "bench-chip.json"
    file.write_text(json.dumps(written))
    found = spent.bench()
    assert isinstance(found, pd.DataFrame) and set(found["machine"]) == {"chip"}
    rates = dict(zip(zip(found["way"], found["processes"], strict=True), found["steps_per_second"], strict=True))
    assert rates == {("eager", 1): 12.5, ("eager", 4): 4.25, ("captured", 1): 31.0}
    text = str(costs.steps())
    assert "eager, alone" in text and "eager, 4 at a time" in text and ">12.5<" in text
    file.write_text("[{}]")
    with pytest.raises(DataError, match="steps a second"):
        spent.bench()


def test_no_result_makes_no_table(store: Store) -> None:
    assert spent.measured([]).empty and costs.measured(store).empty


def test_the_step_beside_the_plain_way_is_shown_or_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_RESULTS", str(tmp_path))
    assert "python -m defenselib.bench.plain" in str(costs.plain())
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / costs.PLAIN).write_text("instructions,times as fast\nAVX2,1.39\nAVX-512,1.36\n")
    assert ">AVX2<" in str(costs.plain()) and ">1.39<" in str(costs.plain())
