"""The leaderboard: every defense under one protocol, as tables, as a matrix and as effect against cost."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from defenselib.papers.kit.verdict import ASR_HIGH, asr_class
from defenselib.plots import style
from defenselib.plots.canvas import empty, grid
from defenselib.report import interactive
from defenselib.report.tables import Html, render

FAILED_ASR = ASR_HIGH  # a backdoor that succeeds more often than not is still there
# What a cell of the matrix says of the attack: a mark for those who do not see the colour.
MARKS = {"low": "✓", "middle": "◐", "high": "✗"}
PROTOCOL = (
    "Percent; ± one standard deviation over the seeds. DER: 100 is perfect, 50 no effect. RA: accuracy under an "
    "adversarial attack, where it was measured. Minutes of computing on the machine of the evidence, with the model "
    "that is repaired and the stages that are shared"
)


def board(frame: pd.DataFrame, caption: str) -> Html:
    """A row for each pair of attack and defense (see `papers.leaderboard.table`), the best DER of an attack first and
    pairs without a result last, visibly empty."""
    return render(_shown(_ordered(frame)), f"{caption}. {PROTOCOL}", headers=2)


def sortable(frame: pd.DataFrame, caption: str, name: str) -> Html:
    """The same as a table to sort and filter; pairs without a result stay at the end."""
    ordered = _ordered(frame)
    return interactive.table(
        _shown(ordered),
        f"{caption}. {PROTOCOL}",
        name,
        high=("ACC", "DER", "RA"),
        low=("ASR", "minutes", "clean samples given"),
        long=("note",),
        last=(ordered["n"] == 0).tolist(),
    )


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    parts = frame.assign(ran=frame["n"] > 0).groupby("attack", sort=False)
    return pd.concat(
        [part.sort_values(["ran", "der"], ascending=False, kind="stable", na_position="last") for _, part in parts]
    )


def _shown(ordered: pd.DataFrame) -> pd.DataFrame:
    rows = ordered.to_dict("records")
    return pd.DataFrame(
        {
            "attack": [style.label(name, "attack") for name in ordered["attack"]],
            "defense": [style.label(name) for name in ordered["defense"]],
            "ACC": [_spread(row, "acc") for row in rows],
            "ASR": [_spread(row, "asr") for row in rows],
            "DER": [_dash(value, ".1f") for value in ordered["der"]],
            "RA": [_dash(value, ".1f") for value in ordered["ra"]],
            "minutes": [_dash(value / 60, ".1f") for value in ordered["seconds"]],
            "clean samples given": [_dash(value, ".0f") for value in ordered["clean_given"]],
            "suspects, poisoned": [_suspects(row) for row in rows],
            "seeds": [str(row["n"]) if row["n"] else "–" for row in rows],
            "evidence": [row["profile"] or "–" for row in rows],
            "note": ordered["reason"],
        }
    )


def summary(frame: pd.DataFrame, caption: str) -> Html:
    """The rows of `papers.leaderboard.summary`: the worst case of every defense, and over how many attacks it is."""
    rows = frame.to_dict("records")
    shown = pd.DataFrame(
        {
            "defense": [style.label(name) for name in frame["defense"]],
            "attacks run": [f"{row['attacks']} of {row['of']}" for row in rows],
            "worst DER": [_dash(value, ".1f") for value in frame["worst_der"]],
            "under": [style.label(name, "attack") if name else "–" for name in frame["worst_attack"]],
            "highest ASR": [_dash(value, ".1f") for value in frame["worst_asr"]],
            "lowest ACC": [_dash(value, ".1f") for value in frame["worst_acc"]],
            "lowest RA": [_dash(value, ".1f") for value in frame["worst_ra"]],
            "mean DER": [_dash(value, ".1f") for value in frame["mean_der"]],
            "mean ACC": [_dash(value, ".1f") for value in frame["mean_acc"]],
            "minutes": [_dash(value / 60, ".1f") for value in frame["seconds"]],
            "clean samples given": [_dash(value, ".0f") for value in frame["clean_given"]],
            "seeds": [_range(row["seeds_from"], row["seeds_to"]) for row in rows],
        }
    )
    return render(shown, f"{caption}. Percent; the worst case is over the attacks that were run")


def matrix(frame: pd.DataFrame, caption: str) -> Html:
    """Defenses by attacks: ASR with a mark (low, in between, high) over ACC; a pair without a result is an empty box.

    Defenses without any result stay too: what is missing is part of the picture.
    """
    cells = {(row["attack"], row["defense"]): row for row in frame.to_dict("records")}
    attacks, defenses = (list(dict.fromkeys(frame[axis])) for axis in ("attack", "defense"))
    head = "".join(f'<th scope="col">{escape(style.label(name, "attack"))}</th>' for name in attacks)
    body = "".join(
        f'<tr><th scope="row">{escape(style.label(name))}</th>'
        f"{''.join(_box(cells[attack, name]) for attack in attacks)}</tr>"
        for name in defenses
    )
    run = int((frame["n"] > 0).sum())
    words = escape(
        f"{caption}: {run} of {len(frame)} pairs have a result. In a box the attack success rate over the accuracy, in "
        f"percent; ✓ the attack fails (ASR at most 10), ✗ it succeeds (at least 50), ◐ in between; empty: not run"
    )
    return Html(
        f'<div class="results matrix" style="overflow-x:auto" tabindex="0" role="region" aria-label="{words}">'
        f'<table class="dataframe"><caption style="text-align:left">{words}</caption>'
        f'<thead><tr><th scope="row">defense</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _box(row: dict[Any, Any]) -> str:
    if not row["n"]:
        return (
            f'<td class="box-empty" title="{escape(row["reason"])}"><span class="visually-hidden">not run</span></td>'
        )
    if pd.isna(row["asr"]):
        return f'<td class="box"><b>–</b><br>{row["acc"]:.1f}</td>'
    kind = asr_class(row["asr"])
    return f'<td class="box box-{kind}"><b>{row["asr"]:.1f}&nbsp;{MARKS[kind]}</b><br>{row["acc"]:.1f}</td>'


def _dash(value: float, how: str) -> str:
    return "–" if pd.isna(value) else f"{value:{how}}"


def _range(low: float, high: float) -> str:
    return "–" if pd.isna(low) else f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


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
