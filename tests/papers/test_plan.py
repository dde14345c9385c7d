"""The plan against what the exhibits do: the cells they run, the numbers they fill; its costs, order and budget."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from defenselib import attacks, papers
from defenselib.cli import app
from defenselib.errors import InvalidValueError, UnknownNameError
from defenselib.experiments import Experiment, Result, Store
from defenselib.experiments.experiment import as_dict, from_dict, from_json
from defenselib.papers import leaderboard, undefended
from defenselib.papers import plan as plans
from defenselib.papers.collected import Collected
from defenselib.papers.costs import Costs, kind_of
from defenselib.papers.kit import grid
from defenselib.papers.kit.cells import needs, spoken_of
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.request import checked_request
from defenselib.papers.planned import Plan, Planned, read

from .made import cells_of, made

HERE = {"cpu": "a processor", "cores": 2, "gpu": None}
TABLES = [("asd", "table-2"), ("bsd", "table-1"), ("vab", "table-1"), ("vab", "table-4"), ("dst_dbr", "table-2")]
TABLES += [("asd", "table-4"), ("aabl", "table-2"), ("aabl", "table-3")]


@pytest.fixture
def rate() -> float:
    """The ASR of the invented results: every attack takes."""
    return 99.0


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch, store: Store, rate: float) -> dict[str, Result]:
    """Running writes an invented result in place of a training; by hash, what was run."""
    ran: dict[str, Result] = {}

    def run(experiment: Experiment, store: Store) -> Result:
        resolved = experiment.resolve()
        history = [{"stage": "warmup", "epoch": 0, "acc": 90.0, "asr": rate}]
        ran[resolved.hash] = store.get(resolved) or store.put(made(resolved, 90.0, rate, ra=50.0, history=history))
        return ran[resolved.hash]

    monkeypatch.setattr(grid.experiments, "run", run)
    return ran


def hashes(cells: Iterable[Planned]) -> set[str]:
    return {one.hash for one in cells}


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["smoke", "laptop"])
@pytest.mark.parametrize(("paper", "key"), TABLES)
def test_planned_are_the_cells_that_the_exhibit_runs_and_their_numbers_those_it_fills(
    paper: str, key: str, profile: str, store: Store, invented: dict[str, Result]
) -> None:
    exhibit = papers.get(paper).exhibit(key)
    before = exhibit.reproduce(profile=profile, store=store)
    mine = [one for one in plans.make([paper], [profile], store=store).missing if f"{paper} {key}" in one.exhibits]
    request = checked_request(paper, profile, store=store)
    assert {one.resolve().hash for one in cells_of(exhibit, request)} == {one.hash for one in mine}
    after = exhibit.reproduce(profile=profile, run=True, store=store)
    assert {one.hash for one in mine} == set(invented)
    assert before["reproduced"].isna().all() and after["reproduced"].notna().any()
    # One exhibit alone, with its upstreams: the shares of its numbers add up to the rows that it fills.
    only = _only(exhibit, profile, Store(store.root.with_name("empty")))
    assert math.isclose(sum(one.numbers for one in only.missing), after["reproduced"].notna().sum(), abs_tol=0.1)
    assert not any(one.numbers for one in _only(exhibit, profile, store).cells)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [60.0, 20.0])
@pytest.mark.parametrize(("paper", "key"), [("vab", "table-1"), ("dst_dbr", "table-2")])
def test_what_a_gate_asks_is_planned_where_it_may_decide(
    paper: str, key: str, rate: float, store: Store, invented: dict[str, Result]
) -> None:
    """At 60 % an attack that keeps labels, or that the paper prints below 85 %, may have taken; at 20 % none has."""
    exhibit, gate = papers.get(paper).exhibit(key), f"{paper} {key} (gate)"
    asked = [one for one in _only(exhibit, "laptop", store).missing if gate in one.exhibits]
    assert asked and all(one.fields["rate"] == 0.0 for one in asked), "nobody knows yet whether the attacks take"
    exhibit.reproduce(profile="laptop", run=True, store=store)
    assert hashes(asked) & set(invented) == (hashes(asked) if rate == 60.0 else set())
    for key in hashes(asked) & set(invented):
        for path in store.files(key):
            path.unlink()
    later = _only(exhibit, "laptop", store).missing
    # With the undefended models at hand it is known.
    assert {one.hash for one in later if gate in one.exhibits} == hashes(asked) & set(invented)


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_the_categories_of_attacks_are_planned(profile: str, store: Store, invented: dict[str, Result]) -> None:
    exhibit = papers.get("dst_dbr").exhibit("table-4")
    request = checked_request("dst_dbr", profile, seeds=(0, 4), store=store)
    collected = Collected(store, "nothing")
    collected.add(exhibit, exhibit.grid(request))
    planned = [one for one in collected.cells() if "dst_dbr table-4" in one.exhibits]
    exhibit.reproduce(profile=profile, run=True, store=store)
    assert hashes(planned) == set(invented) and len(planned) >= 8
    rows = [row for row in exhibit._printed()["attack"] if row in attacks.available()]
    assert math.isclose(sum(one.numbers for one in collected.cells()), len(rows), abs_tol=0.1)


def test_pages_of_no_paper_are_planned(store: Store, invented: dict[str, Result]) -> None:
    names, methods = ("badnets", "wanet", "none"), ("none", "ft", "asd")
    plan = plans.make(profiles=["laptop"], pages=["leaderboard"], attacks=names, defenses=methods, store=store)
    leaderboard.table("laptop", "cifar10", names, methods, run=True, store=store)
    assert {one.hash for one in plan.cells if "leaderboard" in one.exhibits} == set(invented) and len(invented) == 9
    invented.clear()
    plan = plans.make(profiles=["smoke"], pages=["attacks"], attacks=["badnets", "clb"], seeds=[0, 1], store=store)
    chosen = list(undefended.cases(["badnets", "clb"]))
    undefended.table("smoke", chosen=chosen, run=True, seeds=(0, 1), store=store)
    assert {one.hash for one in plan.cells if "attacks" in one.exhibits} == set(invented) and invented
    assert not any(one.numbers for one in plan.cells)


def test_neither_papers_nor_pages_stands_for_all_of_them(store: Store) -> None:
    def parts(**chosen: Any) -> set[str]:
        made_plan = plans.make(profiles=["smoke"], store=store, **chosen)
        return {label.split()[0] for one in made_plan.cells for label in one.exhibits}

    assert parts() == {*papers.available(), *plans.PAGES}
    assert parts(keys=["asd"]) == {"asd"} and parts(pages=["attacks"]) == {"attacks"}
    assert parts(keys=["asd"], pages=["attacks"]) == {"asd", "attacks"}
    with pytest.raises(UnknownNameError, match="leaderboard"):
        plans.make(pages=["leaderboards"], store=store)


def test_a_model_whose_weights_are_gone_is_trained_again_for_what_starts_from_it(store: Store, tmp_path: Path) -> None:
    repair = Experiment("cifar10", defense="fp", paper="asd", profile="laptop")
    below = repair.resolve().upstream
    assert below is not None

    def planned() -> tuple[Plan, Planned]:
        chosen = {"attacks": ["badnets"], "defenses": ["none", "fp"], "seeds": [0]}
        made_plan = plans.make(["asd"], ["laptop"], store=store, machine=kind_of(HERE), **chosen)
        return made_plan, next(one for one in made_plan.cells if one.hash == below.hash)

    assert planned()[1].missing and not planned()[1].retrain, "it is not there at all"
    store.put(made(below, 90.0, 99.0, seconds=70.0, machine=HERE))
    plan, cell = planned()
    assert cell.stored and cell.retrain and cell in plan.missing and cell.seconds == 70.0
    assert read(plan.write(tmp_path / "plan.json")) == plan
    waiting = next(one for one in plan.missing if one.upstream == below.hash)
    assert cell.numbers == waiting.numbers > 0, "both are needed"
    # What does not fit stays as it was, and so does what starts from it.
    cut = plan.within(60.0, 1)
    assert not cut.cell(below.hash).missing and waiting.hash not in {one.hash for one in cut.cells}
    store.save_model(below.hash, {"weight": torch.zeros(1)})
    plan, cell = planned()
    assert cell.stored and not cell.retrain and cell not in plan.missing


def _only(exhibit: Exhibit, profile: str, store: Store) -> Plan:
    """The plan of one exhibit."""
    collected = Collected(store, "nothing")
    request = checked_request(exhibit.paper, profile, store=store)
    collected.add(exhibit, exhibit.grid(request))
    return Plan(tuple(collected.cells()))


@pytest.mark.slow
def test_at_paper_and_gpu_every_number_has_a_cell_whatever_is_at_hand(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFENSELIB_DATA", str(tmp_path))
    made_plan = plans.make(papers.available(), ("paper",), store=store)
    wanted = sum(len(needs(one, "paper")) for key in papers.available() for one in papers.get(key).exhibits)
    assert not made_plan.left_out and wanted > 3000
    assert math.isclose(sum(one.numbers for one in made_plan.cells), wanted, abs_tol=1)
    waiting = {one.waits_for for one in made_plan.cells if one.waits_for}
    assert {"tiny-imagenet", "imagenet-12", "imagenet-30", "imagenet-200", "imagenet-subset"} < waiting
    assert all("source" not in one.fields for one in made_plan.cells if one.waits_for)
    assert not any(one.waits_for for one in (*made_plan.runnable, *made_plan.within(1e12, 1).cells))
    gpu = plans.make(papers.available(), ("gpu",), store=store)
    assert all("imagenet" not in reason and "loader" not in reason for reason in gpu.left_out)


@pytest.mark.slow
def test_every_planned_cell_is_what_its_fields_resolve_to(store: Store, tmp_path: Path) -> None:
    made_plan = plans.make(profiles=("smoke", "laptop"), seeds=(0, 3), store=store)
    assert read(made_plan.write(tmp_path / "plan.json")) == made_plan
    assert len({one.hash for one in made_plan.cells}) == len(made_plan.cells) > 500
    for one in made_plan.cells[::5]:
        resolved = one.experiment.resolve()
        assert (resolved.hash, resolved.stem) == (one.hash, one.stem)
        assert (resolved.upstream.hash if resolved.upstream else None) == one.upstream
    there = {one.hash for one in made_plan.cells}
    assert all(one.upstream in there for one in made_plan.cells if one.upstream)
    upstreams = [one for one in made_plan.cells if one.upstream]
    assert upstreams and {one.fields.get("seed", 0) for one in made_plan.cells} == {0, 3}
    # Another seed narrows what is there and answers nothing by itself.
    assert all(one.numbers == one.claims == 0 for one in made_plan.cells if one.fields.get("seed") == 3)


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers.available())
def test_every_claim_speaks_of_some_number_of_its_exhibit(paper: str) -> None:
    for exhibit in papers.get(paper).exhibits:
        listed = needs(exhibit, "paper")
        spoken = [{claim.key for claim in claims} for claims in spoken_of(exhibit.checks, listed, "paper")]
        if listed:
            assert set().union(*spoken) == {claim.key for claim in exhibit.checks}


def test_names_narrow_the_plan_and_one_that_no_paper_knows_is_refused(store: Store) -> None:
    whole = plans.make(["vab", "asd"], ["laptop"], store=store)
    some = plans.make(["vab", "asd"], ["laptop"], attacks=["sig"], defenses=["vab", "none"], store=store)
    assert "sig" in {one.fields.get("attack") for one in some.cells}
    assert {one.exhibits[0].split()[0] for one in some.cells if one.exhibits} == {"vab"}, "ASD knows no SIG"
    assert len(some.cells) < len(whole.cells)
    with pytest.raises(ValueError, match="did you mean 'badnets'"):
        plans.make(["asd"], attacks=["badnet"], store=store)


def result(seed: int, seconds: float, machine: dict[str, Any] = HERE, **fields: Any) -> Result:
    resolved = Experiment(
        **{"profile": "laptop", "attack": "badnets", "paper": "asd", "seed": seed, **fields}
    ).resolve()
    return made(resolved, 90.0, 99.0, seconds=seconds, machine=machine)


def test_a_cost_is_the_median_of_the_closest_measured_else_a_guess_by_the_stated_rule() -> None:
    def cost(results: list[Result], **fields: Any) -> tuple[float, bool]:
        usual = {"profile": "laptop", "attack": "badnets", "paper": "asd", "seed": 9}
        found = Costs(results, kind_of(HERE)).of(Experiment(**{**usual, **fields}).resolve())
        return round(found.seconds, 3), bool(found.guess)

    same = [result(0, 10), result(1, 20), result(2, 90)]
    other = [result(0, 500, attack="blend"), result(1, 700, attack="blend"), result(3, 900, attack="blend")]
    assert cost(same + other) == (20, False), "other seeds of the same cell"
    assert cost(same + other, attack="wanet") == (295, False), "the same method here: 10 20 90 500 700 900"
    busy = [
        dataclasses.replace(result(0, 100), cpu_seconds=30.0, machine={**HERE, "threads": 2}, stages={"poison": 5.0})
    ]
    assert cost(busy) == (20, False), "what the processor worked, by two threads"
    assert cost([dataclasses.replace(busy[0], seconds=12.0)]) == (12, False), "never more than passed"
    assert cost(same, model="mobilenet_v2") == (20, True), "the method on another network"
    fast = {"gpu": "a card"}
    there = [result(0, 1, fast), result(0, 3, fast, defense="asd")]
    # On the card ASD takes 3 s and the undefended model 1; here the latter takes 20.
    assert cost(same + there, defense="asd") == (60, True)
    assert cost(there, defense="asd") == (3, True)
    assert cost([], defense="asd") == (600, True)
    longer = {"defense_args": {"epochs": 40}}
    usual = Experiment(profile="laptop", attack="badnets", paper="asd").resolve().describe()
    seconds, guess = cost(same, profile="gpu", **longer)
    wide = Experiment(profile="gpu", attack="badnets", paper="asd", **longer).resolve().describe()
    images, epochs = wide["train_size"] / usual["train_size"], 40 / usual["defense_args"]["epochs"]
    assert guess and math.isclose(seconds, 20 * images * epochs * (18 * 64**2) / (10 * 32**2), rel_tol=1e-3)


def test_what_a_stage_takes_of_a_cell_its_own_results_and_those_that_shared_it_tell() -> None:
    def taken(seed: int, stages: dict[str, float]) -> Result:
        return dataclasses.replace(result(seed, 100.0, defense="dst"), stages=stages)

    asked = Experiment(profile="laptop", attack="badnets", paper="asd", defense="dst", seed=9).resolve()
    found = Costs([taken(0, {"ss-ctl": 60, "rest": 40}), taken(1, {"ss-ctl (shared)": 80, "rest": 20})], kind_of(HERE))
    assert found.of(asked).shares == pytest.approx({"ss-ctl": 0.7, "rest": 0.3})
    other = Experiment(profile="laptop", attack="badnets", paper="asd", defense="dbr", seed=9).resolve()
    assert found.of(other).shares == {}


def cell(
    key: int,
    seconds: float,
    numbers: float = 0.0,
    upstream: int | None = None,
    stored: bool = False,
    stages: dict[str, float] | None = None,
) -> Planned:
    below = None if upstream is None else f"{upstream:016x}"
    return Planned({}, f"{key:016x}", f"x-{key:016x}", stored, below, stages or {}, seconds, numbers=numbers)


@st.composite
def drawn(draw: st.DrawFn) -> Plan:
    cells: list[Planned] = []
    for key in range(draw(st.integers(0, 12))):
        upstream = draw(st.none() | st.integers(0, key - 1)) if key else None
        numbers, seconds = draw(st.floats(0, 50)), draw(st.floats(0, 100))
        stages = {name: seconds * draw(st.floats(0, 0.5)) for name in draw(st.sets(st.sampled_from("ab")))}
        cells.append(cell(key, seconds, numbers, upstream, draw(st.booleans()), stages))
    return Plan(tuple(cells))


@given(drawn(), st.floats(0, 500), st.integers(1, 4))
def test_a_cut_plan_fits_and_nothing_in_it_lacks_what_it_starts_from(plan: Plan, budget: float, jobs: int) -> None:
    ordered = plan.sorted("yield")
    assert sorted(one.hash for one in ordered.cells) == sorted(one.hash for one in plan.cells)
    cut = ordered.within(budget, jobs)
    kept = [one.hash for one in cut.cells]
    assert all(one.upstream is None or one.upstream in kept[: kept.index(one.hash)] for one in cut.missing)
    assert sum(cut.costs.values()) <= budget * jobs + 1e-6 and cut.costs.keys() == {one.hash for one in cut.missing}
    assert all(0 <= seconds <= budget for seconds in cut.costs.values())
    assert ordered.within(math.inf, jobs).cells == ordered.cells
    assert {one.hash for one in plan.cells if one.stored} <= set(kept)


def test_by_yield_the_cheap_answers_come_first() -> None:
    plan = Plan((cell(1, 600, 1), cell(2, 60, 6), cell(3, 60, 1, upstream=4), cell(4, 10, 0), cell(5, 10, 0.1)))
    assert [int(one.hash, 16) for one in plan.sorted("yield").cells] == [2, 4, 3, 5, 1]
    assert [int(one.hash, 16) for one in plan.sorted("yield").within(80, 1).missing] == [2, 4, 5]
    assert plan.sorted("paper") == plan


def test_a_shared_stage_is_counted_once_and_what_it_makes_cheap_comes_next() -> None:
    def on(key: int, seconds: float, numbers: float, **stages: float) -> Planned:
        return cell(key, seconds, numbers, stages=stages)

    plan = Plan(
        (on(1, 100, 1, a=90), on(2, 100, 4, a=90), on(3, 60, 2), on(4, 100, 1, a=50, b=45), on(5, 100, 3, b=95))
    )
    ordered = plan.sorted("yield")
    # 2 makes a, with which 1 takes 10 s and 4 takes 50 (1 number: less than 3's, 5's); 5 makes b, so that 4 takes 5.
    assert [int(one.hash, 16) for one in ordered.cells] == [2, 1, 3, 5, 4]
    assert list(ordered.costs.values()) == [100, 10, 60, 100, 5]
    assert [int(one.hash, 16) for one in ordered.within(115, 1).missing] == [2, 1]
    there = Plan((cell(1, 100, 1, stored=True, stages={"a": 90}), on(2, 100, 1, a=90)))
    assert list(there.costs.values()) == [100], "of a result that is there the stage may be gone"


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(),
        Experiment(defense="asd", diagnostic="oracle-split", measure=("acc", "ra"), seed=7, target=3, rate=0.05),
        Experiment("shapes", attack="clb", attack_args={"preset": "cl-16"}, holdout=5, stop_after="train:2"),
        Experiment(defense="aabl", defense_args={"milestones": (1, 2)}, count="exact-all", source="x", model="vgg16"),
    ],
)
def test_an_experiment_survives_json(experiment: Experiment) -> None:
    again = from_json(json.dumps(as_dict(experiment)))
    assert dataclasses.asdict(from_dict(as_dict(again))) == dataclasses.asdict(again)
    assert again.resolve().hash == experiment.resolve().hash if experiment.source is None else again.source == "x"


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--paper", "asdf"],
        ["plan", "--profile", "big"],
        ["plan", "--by", "cost"],
        ["plan", "--seeds", "1-3"],
        ["plan", "--seeds", "4..0"],
        ["plan", "--budget", "5"],
        ["plan", "--attack", "badnet"],
        ["plan", "--paper", "asd", "--commands"],
        ["plan", "--paper", "asd", "--machine", "foo"],
        ["run-cell"],
        ["run-cell", "0" * 16, "--plan", "there-is-none.json"],
        ["run-cell", "--spec", "{"],
        ["run-cell", "--spec", "[1]"],
        ["run-cell", "--spec", '{"attak": "badnets"}'],
        ["run-cell", "--spec", '{"seed": "1"}'],
        ["run-cell", "--spec", "no-file.json"],
        ["run-cell", "--spec", "{}", "--gpus", "a"],
        ["batch", "there-is-none.json"],
    ],
)
def test_a_mistake_is_one_line_before_any_work(arguments: list[str]) -> None:
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 2, said.output
    assert said.stderr.startswith("error: ") and said.stderr.count("\n") == 1


@pytest.mark.slow
def test_commands_name_the_plan_that_is_written_and_a_machine_is_one_that_has_results(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("defenselib.experiments.default_stores", lambda: store)
    store.put(made(Experiment("cifar10", profile="laptop").resolve(), 90.0, 99.0, machine=HERE))
    path = tmp_path / "a plan.json"
    asked = ["plan", "--paper", "asd", "--exhibit", "table-2", "--commands", "--output", str(path)]
    said = CliRunner().invoke(app, [*asked, "--machine", "a processor"])
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert lines and all(shlex.split(line)[-2:] == ["--plan", str(path)] for line in lines)
    assert read(path).machine == "a processor"
    refused = CliRunner().invoke(app, [*asked, "--machine", "a procesor"])
    assert refused.exit_code == 2 and "'a procesor'; did you mean 'a processor'? available: " in refused.stderr


def test_a_damaged_plan_is_refused_by_name(tmp_path: Path) -> None:
    path = Plan((cell(1, 600, 1),), {"why": 3}, "here").write(tmp_path / "plan.json")
    text = path.read_text()
    content = json.loads(text)
    spoilt = ["", "[]", "null", text[:-20], json.dumps({**content, "format": "2"})]
    for name, value in (("hash", "../x"), ("stem", "a/b"), ("seconds", "1"), ("more", 1)):
        spoilt.append(json.dumps({**content, "cells": [{**content["cells"][0], name: value}]}))
    for bad in spoilt:
        path.write_text(bad)
        with pytest.raises(InvalidValueError, match=r"plan\.json is no plan"):
            read(path)
