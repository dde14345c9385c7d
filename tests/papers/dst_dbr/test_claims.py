"""What D-ST and D-BR state: on the paper's own numbers, and that each statement can be contradicted."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

from defenselib.papers.dst_dbr import exhibits as dst_dbr
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed
from defenselib.papers.kit.claims import as_printed
from defenselib.papers.kit.exhibit import Exhibit

from .ideal import POINTS, figure

TABLES = [exhibit for exhibit in dst_dbr.EXHIBITS if exhibit.checks and exhibit.key.startswith("table")]
FIGURES = [exhibit for exhibit in dst_dbr.EXHIBITS if exhibit.key in POINTS]
TELLING = ("defense", "model", "attack", "poisoning_rate")  # and the exhibit's own axes


def frame_of(exhibit: Exhibit) -> pd.DataFrame:
    if exhibit.key in POINTS:
        return figure(exhibit.key)
    return as_printed(frames.unanswered(printed.table("dst_dbr", exhibit.key), "paper", ""))


def outcomes(exhibit: Exhibit, frame: pd.DataFrame) -> dict[str, str]:
    return dict(exhibit.claims(frame)[["claim", "outcome"]].itertuples(index=False))


def moved(frame: pd.DataFrame, rows: pd.Series, points: float) -> pd.DataFrame:
    """The frame with these numbers moved."""
    numbers = frame["reproduced"].where(~rows, frame["reproduced"] + points)
    return frame.assign(reproduced=numbers, by_seed=[{}] * len(frame))


def contradictions(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The frame with all numbers of one metric and one defense, network, score, ... moved up or down by 100 points."""
    axes = [name for name in (*TELLING, *frames.axes(frame)) if name in frame]
    for axis in axes:
        for metric in frame["metric"].unique():
            for value in frame[axis].dropna().unique():
                group = (frame["metric"] == metric) & (frame[axis] == value)
                yield from (moved(frame, group, points) for points in (100.0, -100.0))


def test_on_print_three_statements_of_the_paper_do_not_hold() -> None:
    found = dst_dbr.on_print()
    failing = found[found["outcome"] != "holds"]
    assert set(zip(failing["exhibit"], failing["claim"], strict=True)) == {
        ("table-2", "dbr-72"),
        ("table-2", "averages"),
        ("table-6", "attacks-85"),
    }
    assert set(found["outcome"]) == {"holds", "fails"}, "every claim finds all of its printed numbers"
    assert "printed 80.21, recomputed 84.49" in "".join(failing.loc[failing["claim"] == "averages", "numbers"])


def test_on_ideal_figures_every_statement_holds() -> None:
    found = {(exhibit.key, *claim) for exhibit in FIGURES for claim in outcomes(exhibit, figure(exhibit.key)).items()}
    assert {outcome for *_, outcome in found} == {"holds"}, [one for one in found if one[-1] != "holds"]
    assert len(found) == sum(len(exhibit.checks) for exhibit in FIGURES)


@pytest.mark.slow
@pytest.mark.parametrize("exhibit", [*TABLES, *FIGURES], ids=lambda exhibit: exhibit.key)
def test_every_statement_can_be_contradicted(exhibit: Exhibit) -> None:
    standing = list(exhibit.checks)
    for frame in contradictions(frame_of(exhibit)):
        standing = [claim for claim in standing if claim.judge(frame)["outcome"] != "fails"]
        if not standing:
            break
    assert [claim.key for claim in standing] == []


@pytest.mark.parametrize("exhibit", [*TABLES, *FIGURES], ids=lambda exhibit: exhibit.key)
def test_without_an_attack_no_statement_on_all_attacks_holds(exhibit: Exhibit) -> None:
    """The hole of the earlier rules: all, on the attacks that happened to be run."""
    whole = frame_of(exhibit)
    part = moved(whole, whole["attack"] == whole["attack"].iloc[0], float("nan"))
    rules = {claim.key: claim.expression.rule for claim in exhibit.checks}
    spoken = {key for key, rule in rules.items() if "attack" not in rule and "cell" not in rule and "each" not in rule}
    after = outcomes(exhibit, part)
    assert {key for key in spoken if after[key] == "holds"} == set()


def test_the_label_consistent_attack_alone_contradicts_less_than_one_percent_on_all_attacks() -> None:
    table_2 = dst_dbr.PAPER.exhibit("table-2")
    frame = frame_of(table_2)
    clb = (frame["attack"] == "clb") & (frame["defense"] == "dbr") & (frame["metric"] == "asr")
    assert outcomes(table_2, moved(frame, clb, 36.91))["dbr-below-1"] == "fails"


def test_a_method_that_took_clean_data_is_still_a_rival() -> None:
    """FT's rows bear the share of clean data that it takes, D-BR's do not: they are compared all the same."""
    table_2 = dst_dbr.PAPER.exhibit("table-2")
    frame = frame_of(table_2)
    ft = (frame["attack"] == "trojan") & (frame["defense"] == "ft") & (frame["metric"] == "asr")
    assert outcomes(table_2, moved(frame, ft, -100.0))["dbr-best"] == "holds", "89.86 - 0 is less than D-BR's 91.45"
    better = ft | ((frame["attack"] == "trojan") & (frame["defense"] == "ft") & (frame["metric"] == "acc"))
    changed = moved(moved(frame, ft, -100.0), better & (frame["metric"] == "acc"), 5.0)
    assert outcomes(table_2, changed)["dbr-best"] == "fails"
