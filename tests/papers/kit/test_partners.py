"""No pair is dropped in silence: a cell whose partner stands elsewhere on an axis counts as missing and says so; what
was not run is no point of an axis that it is not on."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.claims import HOLDS, NOT_RUN, SO_FAR, Claim
from defenselib.papers.kit.compound import along
from defenselib.papers.kit.statements import change, every, leads


def made(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """ACC by row; None: that cell was not run, so that what only results have is unknown."""
    found = []
    for row in rows:
        value = row["reproduced"]
        usual = {"dataset": "cifar10", "attack": "badnets", "verdict": "", "ran_on": "", "reason": "", "sd": math.nan}
        ran = {"metric": "acc", "by_seed": {0: value}, "n": 1} if value is not None else {"by_seed": {}, "n": 0}
        found.append({**usual, **row, **ran, "reproduced": math.nan if value is None else value})
    return frames.finish(frames.rows_of(found), found, "laptop")


def judged(expression: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return Claim("key", "A sentence.", "Sec. 1", expression).judge(made(rows))


KEEPS = change("acc", "defense", "none", "asd", ">=", -5.0)
BEST = leads("acc", "asd", ("dbd",))


def row(defense: str, speed: float | None, value: float | None, attack: str = "badnets") -> dict[str, Any]:
    return {"defense": defense, "speed": speed, "attack": attack, "reproduced": value}


def test_a_pair_that_only_an_axis_keeps_apart_counts_and_is_said() -> None:
    pair = [row("none", 1.0, 80.0), row("asd", 1.0, 79.0)]
    assert judged(KEEPS, pair)["outcome"] == HOLDS
    apart = judged(KEEPS, [*pair, row("none", 2.0, 80.0), row("asd", 3.0, 20.0)])
    assert (apart["outcome"], apart["true"], apart["of"]) == (SO_FAR, 1, 2)
    assert "no partner at this speed" in apart["numbers"]
    assert judged(BEST, [row("asd", 1.0, 80.0), row("dbd", 2.0, 70.0)])["outcome"] == NOT_RUN
    led = judged(BEST, [row("asd", 1.0, 80.0), row("dbd", 1.0, 70.0), row("asd", 2.0, 80.0), row("dbd", 3.0, 99.0)])
    assert (led["outcome"], led["of"]) == (SO_FAR, 2) and "no partner at this speed" in led["numbers"]


def test_a_cell_that_only_one_side_has_is_no_pair() -> None:
    rows = [row("none", 1.0, 80.0), row("asd", 1.0, 79.0), row("none", 1.0, 80.0, attack="wanet")]
    assert judged(KEEPS, rows)["of"] == 1


def test_what_was_not_run_is_on_no_axis_that_it_does_not_state() -> None:
    fast = every("acc", ">=", 50.0, speed=2.0)
    ran = [row("asd", 2.0, 80.0), row("asd", 4.0, None)]
    assert judged(fast, ran)["of"] == 1
    assert judged(fast, [*ran, row("abl", None, None)])["of"] == 1, "a cell without a speed is no point of a sweep"
    assert judged(fast, [row("asd", 2.0, 80.0), row("asd", 2.0, None, attack="wanet")])["of"] == 2
    # What only results have, a panel or an epoch, a cell that was not run would have as well.
    seen = every("acc", ">=", 50.0, panel="a")
    rows = [{**row("asd", 2.0, 80.0), "panel": "a"}, {**row("abl", 2.0, None), "panel": None}]
    assert judged(seen, rows)["of"] == 2


def test_a_cell_without_any_rival_is_no_lead() -> None:
    rows = [row("asd", 1.0, 80.0), row("dbd", 1.0, 70.0), row("asd", 1.0, 10.0, attack="wanet")]
    assert (judged(BEST, rows)["outcome"], judged(BEST, rows)["of"]) == (HOLDS, 1)
    # A cell that has its rival lacks none, wherever else that rival stands.
    assert judged(BEST, [*rows, row("dbd", 3.0, 99.0)])["of"] == 1


def test_of_two_cells_none_is_dropped_because_the_other_side_has_no_such_column() -> None:
    """A sweep of one side has no single partner on the other: whichever cell comes last must not stand for both."""
    sweep = [row("asd", 1.0, 79.0), row("asd", 2.0, 20.0)]
    for cells in (sweep, sweep[::-1]):
        found = judged(KEEPS, [row("none", None, 80.0), *cells])
        assert found["outcome"] == NOT_RUN and "no partner at this speed" in found["numbers"]


def test_a_mean_lacks_what_was_not_run_on_its_own_axes_alone() -> None:
    def mean(*rows: dict[str, Any], **where: Any) -> str:
        return str(judged(along("attack", "mean", every("acc", ">=", 50.0, **where)), list(rows))["outcome"])

    elsewhere = row("abl", 4.0, None, attack="sig")  # so that a speed is what cells state before they are run
    ran, lacks = row("asd", 2.0, 80.0), row("asd", None, None, attack="wanet")
    assert mean(ran, lacks, elsewhere, defense="asd", speed=2.0) == HOLDS, "no point of this sweep"
    assert mean(row("asd", None, 80.0), lacks, elsewhere, defense="asd") == NOT_RUN
    # What only results have, a panel, the missing cell would have as well.
    seen = [{**ran, "panel": "a"}, {**row("asd", 2.0, None, attack="wanet"), "panel": None}]
    assert mean(*seen, panel="a") == NOT_RUN
    once = judged(along("attack", "mean", every("acc", ">=", 50.0, panel="a")), seen)
    assert once["of"] == 1, "a cell that a mean lacks is no point beside it"


def test_a_mean_over_attacks_takes_no_average_for_an_attack() -> None:
    rows = [row("asd", 1.0, 80.0), row("asd", 1.0, 60.0, attack="wanet"), row("asd", 1.0, 0.0, attack="average")]
    assert judged(along("attack", "mean", every("acc", ">=", 70.0)), rows)["outcome"] == HOLDS


def test_the_end_of_a_curve_is_one_for_each_rate_and_target() -> None:
    curves = [
        {**row("asd", 1.0, value), "epoch": epoch, "poisoning_rate": rate, "target": "0"}
        for rate, ends in ((0.05, (10.0, 80.0)), (0.1, (80.0, 10.0)))
        for epoch, value in enumerate(ends)
    ]
    last = judged(along("epoch", "last", every("acc", ">=", 50.0)), curves)
    assert (last["outcome"], last["true"], last["of"]) == ("fails", 1, 2)
