"""What claims and gates say, against a second reading of their rules on many drawn frames."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean, stdev
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import gates
from defenselib.papers.kit.claims import Claim, Evidence, Point, any_point, every_point, most_points
from defenselib.papers.kit.statements import OPERATORS, change, every, leads

ATTACKS, DEFENSES = ("badnets", "blend", "wanet"), ("none", "asd", "abl")
NAN = math.nan
SHUT = "the attack reaches 40 % without defense"
VALUES = (0.0, 5.0, 8.0, 9.0, 10.0, 11.0, 12.0, 15.0, 40.0, 60.0, NAN)


def drawn(seed: int, metric: str) -> pd.DataFrame:
    """A cell for each pair of attack and defense: none, one or three seeds, some with a closed gate."""
    draw = Random(f"{metric}{seed}")
    spread, rows = draw.choice((0.0, 1.5, 3.0)), []
    for attack in ATTACKS:
        for defense in DEFENSES:
            middle = draw.choice(VALUES)
            chosen = [] if math.isnan(middle) else sorted(draw.sample(range(4), draw.choice((0, 1, 3))))
            found = {one: middle + draw.choice((-4.0, -1.0, 0.0, 1.0, 4.0)) for one in chosen}
            rows.append({
                "dataset": "cifar10", "attack": attack, "defense": defense, "metric": metric, "by_seed": found,
                "reproduced": fmean(found.values()) if found else middle, "n": len(found), "sd": NAN, "verdict": "",
                "ran_on": "", "reason": "", "spread": spread, "gate": draw.choice(("", "", "", SHUT)),
                "false_target": draw.choice((NAN, NAN, 30.0, 58.0)), "published": draw.choice((NAN, 2.0, 10.0, 70.0)),
            })  # fmt: skip
    return frames.finish(frames.rows_of(rows), rows, "laptop")


def states(expression: Any, frame: pd.DataFrame) -> list[str]:
    return [point.state for point in Claim("key", "", "", expression).found(Evidence.of(frame))[1]]


def rows_by(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["attack"], row["defense"]): row for row in frames.records(frame)}


def of_bound(row: dict[str, Any], op: str, bound: float, rough: bool) -> str:
    """A number against a bound: a small ASR needs an open gate, one that is not low more than clean images reach."""
    value, spread, asr = row["reproduced"], row["spread"], row["metric"] == "asr"
    if math.isnan(value):
        return "absent"
    said = OPERATORS[op]
    small = not OPERATORS[">" if op in ("<=", ">") else ">="](value, bound)
    room = (100 - bound if value > bound else bound) / 2
    unsure = [
        bool(row["gate"]) and (small or not asr),
        asr and not small and 10 < value <= row["false_target"] + spread,
        rough and 0 < abs(value - bound) < min(spread, room),
        said(value, bound) and not math.isnan(row["published"]) and not said(row["published"], bound),
    ]
    return "open" if any(unsure) else "true" if said(value, bound) else "false"


def of_step(one: dict[str, Any], two: dict[str, Any], beyond: float, op: str) -> str:
    """A step seed by seed, outside of what chance moves it; the better number must have been earned."""
    if math.isnan(one["reproduced"]) or math.isnan(two["reproduced"]):
        return "absent"
    steps = [two["by_seed"][seed] - one["by_seed"][seed] for seed in one["by_seed"].keys() & two["by_seed"].keys()]
    step, chance = (fmean(steps) if steps else two["reproduced"] - one["reproduced"]), one["spread"]
    if len(steps) == 1:
        chance *= math.sqrt(2)
    elif steps and chance:
        chance = max(chance, stdev(steps))
    lower = one["reproduced"] < two["reproduced"]
    better = one if (lower if one["metric"] == "asr" else one["reproduced"] > two["reproduced"]) else two
    if better["gate"] or (chance and abs(step - beyond) <= chance):
        return "open"
    return "true" if OPERATORS[op](round(step, 6), beyond) else "false"


@pytest.mark.parametrize("metric", ["asr", "acc"])
def test_numbers_against_bounds_and_one_another(metric: str) -> None:
    seen: dict[str, set[str]] = {"bound": set(), "step": set(), "lead": set()}
    for seed in range(8):
        frame = drawn(seed, metric)
        rows = rows_by(frame)
        for op in OPERATORS:
            for profile in ("laptop", "gpu"):
                wanted = [of_bound(rows[attack, "asd"], op, 10.0, profile == "laptop") for attack in ATTACKS]
                found = states(every(metric, op, 10.0, defense="asd"), frame.assign(profile=profile))
                assert found == wanted, (seed, op, profile)
                seen["bound"] |= set(found)
            beyond = (0.0, -5.0, 4.0)[seed % 3]
            wanted = [of_step(rows[attack, "none"], rows[attack, "asd"], beyond, op) for attack in ATTACKS]
            found = states(change(metric, "defense", "none", "asd", op, beyond), frame)
            assert found == wanted, (seed, op)
            seen["step"] |= set(found)
        found = states(leads(metric, "asd", DEFENSES, lowest=metric == "asr", margin=seed % 2), frame)
        assert found == [of_lead(rows, attack, metric == "asr", seed % 2) for attack in ATTACKS], seed
        seen["lead"] |= set(found)
    assert set(map(frozenset, seen.values())) == {frozenset({"true", "false", "open", "absent"})}


def of_lead(rows: dict[tuple[str, str], dict[str, Any]], attack: str, lowest: bool, margin: float) -> str:
    """Ahead of all: behind one is behind; ahead of those that were run is not yet ahead of all."""
    rivals = [rows[attack, name] for name in DEFENSES if name != "asd"]
    op, beyond = ("<=", -margin) if lowest else (">=", margin)
    found = [of_step(rival, rows[attack, "asd"], float(beyond), op) for rival in rivals]
    if set(found) == {"absent"}:
        return "absent"
    return next(state for state in ("false", "open", "absent", "true") if state in found)


@pytest.mark.parametrize("decide", [every_point, most_points, any_point])
def test_what_is_not_known_yet_can_still_turn_out_either_way(decide: Any) -> None:
    """`holds` and `fails` are what every outcome of the open and missing cells would give; what is left open says
    whether anything was run, and whether more speaks for it than against."""
    draw = Random(0)
    for _ in range(300):
        found = [draw.choice(("true", "false", "open", "absent")) for _ in range(draw.randint(1, 5))]
        ends = {rest: [state if state in ("true", "false") else rest for state in found] for rest in ("true", "false")}
        true = {rest: mine.count("true") for rest, mine in ends.items()}
        least = {every_point: len(found), most_points: len(found) // 2 + 1, any_point: 1}[decide]
        sure = {rest: count >= least for rest, count in true.items()}
        said = decide([Point(state) for state in found])  # type: ignore[arg-type]
        if sure["true"] == sure["false"]:
            assert said == ("holds" if sure["true"] else "fails"), found
        elif decide is not any_point and found.count("true") > found.count("false"):
            assert said == "holds so far", found
        else:
            assert said == ("not run" if set(found) == {"absent"} else "undecided"), found
    assert decide([]) == "not run"
    empty = Claim("key", "", "", every("asr", "<=", 10.0)).judge(drawn(0, "asr").iloc[:0])
    assert (empty["outcome"], empty["of"]) == ("not run", 0)


def test_gates_a_second_time() -> None:
    draw, seen = Random(1), set()
    rates = (20.0, 30.0, 44.0, 49.9, 50.0, 55.0, 60.0, 80.0, 84.9, 85.0, 99.0)
    recalls = (0.0, 4.9, 5.0, 29.9, 30.0, 30.1, 45.0, 60.0, 90.0)
    for _ in range(1500):
        asr, printed, clean = draw.choice(rates), draw.choice((NAN, *rates)), draw.choice((NAN, 0.0, 20.0, 25.0, 30.0))
        keeps, target = draw.random() < 0.5, draw.choice((0, 1, None))
        now, then = ([draw.choice(recalls) for _ in range(3)] for _ in range(2))
        # Two seeds each, whose mean is what counts.
        defended, plain = (
            [SimpleNamespace(asr=asr + off, per_class=[one + off for one in values], experiment={"target": target})
             for off in (-1.5, 1.5)] for values in (now, then)
        )  # fmt: skip
        asked: list[bool] = []

        def of_clean(value: float = clean, asked: list[bool] = asked) -> float:
            asked.append(True)
            return value

        gate = gates.examine(defended, plain, printed, keeps, of_clean)  # type: ignore[arg-type]
        may = not math.isnan(printed) and (keeps or printed < 85) and asr >= 50
        took = asr >= 85 or (may and asr - clean >= 30)
        dead = tuple(place for place in range(3) if now[place] < 5 and then[place] > 30)
        lives = not dead if target is None else now[target] >= 30 and now[target] >= then[target] / 2
        assert (gate.took, gate.dead, gate.closed == "") == (took, dead, took and lives), (
            asr,
            printed,
            clean,
            now,
            then,
        )
        assert bool(asked) == (asr < 85 and may), "a training that decides nothing is not asked for"
        seen.add((took, lives))
    assert len(seen) == 4
