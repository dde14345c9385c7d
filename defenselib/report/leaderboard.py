"""The leaderboard: every defense under one protocol, as a table and as effect against cost."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from defenselib.report import style
from defenselib.report.canvas import empty, grid
from defenselib.report.tables import Html, render

FAILED_ASR = 50.0  # a backdoor that succeeds more often than not is still there


def board(frame: pd.DataFrame, caption: str) -> Html:
    """A row for each pair of attack and defense (see `papers.leaderboard.table`), the best DER of an attack first and
    pairs without a result last, visibly empty."""
    ordered = pd.concat(
        [
            part.sort_values(["ran", "der"], ascending=False, kind="stable", na_position="last")
            for part in _parts(frame.assign(ran=frame["n"] > 0))
        ]
    )
    shown = pd.DataFrame(
        {
            "attack": [style.label(name, "attack") for name in ordered["attack"]],
            "defense": [style.label(name) for name in ordered["defense"]],
            "ACC": [_spread(row, "acc") for row in ordered.to_dict("records")],
            "ASR": [_spread(row, "asr") for row in ordered.to_dict("records")],
            "DER": ordered["der"],
            "minutes": [_dash(value / 60, ".1f") for value in ordered["seconds"]],
            "clean samples given": [_dash(value, ".0f") for value in ordered["clean_given"]],
            "suspects, poisoned": [_suspects(row) for row in ordered.to_dict("records")],
            "seeds": ordered["n"].astype(str),
            "evidence": ordered["profile"],
            "note": ordered["reason"],
        }
    )
    words = (
        f"{caption}. Percent; ± one standard deviation over the seeds. DER: 100 is perfect, 50 no effect. Minutes of "
        "computing on the machine of the evidence, with the model that is repaired and the stages that are shared"
    )
    return render(shown, words, headers=2)


def _parts(frame: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in frame.groupby("attack", sort=False)]


def _dash(value: float, how: str) -> str:
    return "–" if pd.isna(value) else f"{value:{how}}"


def _spread(row: dict[Any, Any], name: str) -> str:
    spread = row[f"sd_{name}"]
    return _dash(row[name], ".1f") + ("" if pd.isna(spread) else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{spread:.1f}")


def _suspects(row: dict[Any, Any]) -> str:
    if pd.isna(row["suspects"]):
        return "–"
    return f"{row['suspects']:.0f}, {row['suspects_poisoned']:.0f} of {row['poisoned']:.0f}"


def pareto(frame: pd.DataFrame, title: str = "") -> Figure:
    """Defense effectiveness against cost, one point a defense, mean over the attacks that it has results for; the
    line joins those that no other beats in both. Hollow: an attack succeeds in more than half of the cases."""
    ran = frame[frame["der"].notna() & frame["seconds"].notna()]
    if ran.empty:
        return empty(title)
    points = ran.groupby("defense", sort=False).agg(
        der=("der", "mean"), seconds=("seconds", "mean"), asr=("asr", "max")
    )
    with style.look():
        figure, axes = grid(7.2, 4.6, 1, 1)
        axis = axes.flat[0]
        front = undominated(points)
        axis.plot(front["seconds"] / 60, front["der"], color=style.GREY, linewidth=1, linestyle="--", zorder=1)
        for name, point in points.iterrows():
            look = style.method(str(name))
            hollow = point["asr"] > FAILED_ASR and look["marker"] not in "12"
            face = {"facecolors": "none"} if hollow else {}
            axis.scatter(point["seconds"] / 60, point["der"], s=70, **look, **face, zorder=2)
            axis.annotate(
                style.label(str(name)),
                (point["seconds"] / 60, point["der"]),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=9,
            )
        axis.set(xscale="log", xlabel="minutes", ylabel="DER (%)", title=title)
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        return figure


def undominated(points: pd.DataFrame) -> pd.DataFrame:
    """Rows that no other row beats in both: less `seconds` and more `der`; by rising seconds."""
    ordered = points.sort_values(["seconds", "der"], ascending=[True, False], kind="stable")
    best = ordered["der"].cummax()
    return ordered[(ordered["der"] == best) & ~best.duplicated()]
