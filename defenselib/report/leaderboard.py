"""The leaderboard: every defense under one protocol, as tables, as a matrix and as effect against cost."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from defenselib.papers.kit.verdict import ASR_HIGH, UNDECIDED
from defenselib.papers.leaderboard import OWN, SHARED, sets
from defenselib.papers.leaderboard import summary as ranked
from defenselib.plots import scatter, words
from defenselib.report import interactive
from defenselib.report.comparison import copies
from defenselib.report.html import Html, boxed, render, tabs
from defenselib.report.provenance import made_of

NARROW = 7  # columns of the matrix that the text's width holds
# What a box of the matrix says of the attack: a mark for those who do not see the colour.
MARKS = {"low": "✓", "middle": "◐", "high": "✗", "open": words.MARKS[UNDECIDED]}
PROTOCOL = (
    "Percent; ± one standard deviation over the seeds. DER: 100 is perfect, 50 no effect; ceiling: what a perfect "
    "defense would get. Target: accuracy on the class that the attacker wants. RA: accuracy under an adversarial "
    "attack, where it was measured. Minutes hold those of the model that is repaired, on one kind of machine; without: "
    "a run was on another"
)
TABS = 4  # sets of attacks to choose from; the style sheet knows as many
HIGH, LOW = ("ACC", "DER", "ceiling", "target", "RA"), ("ASR", "minutes", "clean samples given")


def board(frame: pd.DataFrame, caption: str) -> Html:
    """A row for each pair of attack and defense (see `papers.leaderboard.table`), the best DER of an attack first and
    pairs without a result last, visibly empty."""
    return render(_shown(_ordered(frame)), f"{caption}. {PROTOCOL}", headers=2, foot=copies(frame))


def sortable(frame: pd.DataFrame, caption: str, name: str) -> Html:
    """The same as a table to sort and filter; pairs without a result stay at the end."""
    ordered = _ordered(frame)
    last = (ordered["n"] == 0).tolist()
    said = f"{caption}. {PROTOCOL}{machine(frame)}. {copies(frame)}"
    shown = _shown(ordered)
    leads: list[Any] = [
        Html(f'<a href="{OWN[name]}.html">{escape(words.label(name))}</a>') if name in OWN else words.label(name)
        for name in ordered["defense"]
    ]
    made: list[Any] = [_made_of(row) for row in ordered.to_dict("records")]
    shown = shown.assign(**{"defense": leads, "made of": made})
    long = ("does not count", "note", "made of")
    return interactive.table(shown, said, name, high=HIGH, low=LOW, long=long, last=last)


def machine(frame: pd.DataFrame) -> str:
    """Whose minutes they are, in words; empty where none count."""
    found = [name for name in frame.loc[frame["seconds"].notna(), "machine"].unique() if name]
    return f" (one {found[0]})" if len(found) == 1 else ""


def _made_of(row: dict[Any, Any]) -> Html | str:
    """The results behind a pair, folded."""
    if not row["results"]:
        return ""
    head = words.plural(len(row["results"]), "result")
    return Html(f'<details class="pair"><summary>{head}</summary>{made_of(row["results"], "")}</details>')


def own_presets(frame: pd.DataFrame, caption: str) -> Html:
    """The pairs under attacks as the defense's own paper sets them, which rank nowhere."""
    mine = frame[(frame["preset"] != SHARED) & (frame["n"] > 0)]
    if mine.empty:
        return Html(f"<p>{escape(caption)}: none at this profile.</p>")
    shown = _shown(_ordered(mine))
    shown.insert(2, "set by", [words.label(name) for name in _ordered(mine)["preset"]])
    closed = shown.pop("does not count").tolist()
    bare = [name for name in shown if set(shown[name]) <= {"", words.NONE}]
    return render(shown.drop(columns=bare), caption, headers=3, foot=copies(mine), notes=closed)


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    parts = frame.assign(ran=frame["n"] > 0).groupby("attack", sort=False)
    return pd.concat(
        [part.sort_values(["ran", "der"], ascending=False, kind="stable", na_position="last") for _, part in parts]
    )


def _shown(ordered: pd.DataFrame) -> pd.DataFrame:
    rows = ordered.to_dict("records")
    return pd.DataFrame(
        {
            "attack": [words.value(name, "attack") for name in ordered["attack"]],
            "defense": [words.label(name) for name in ordered["defense"]],
            "ACC": [words.mean(row["acc"], row["sd_acc"]) for row in rows],
            "ASR": [words.mean(row["asr"], row["sd_asr"]) for row in rows],
            "DER": words.numbers(ordered["der"]),
            "ceiling": words.numbers(ordered["ceiling"]),
            "target": words.numbers(ordered["recall"]),
            "RA": words.numbers(ordered["ra"]),
            "minutes": words.numbers(ordered["seconds"] / 60),
            "clean samples given": words.numbers(ordered["clean_given"], 0),
            "suspects, poisoned": [_suspects(row) for row in rows],
            "seeds": [str(row["n"] or words.NONE) for row in rows],
            "does not count": ordered["gate"].fillna(""),
            "note": ordered["reason"],
        }
    )


def summary(frame: pd.DataFrame, caption: str) -> Html:
    """The rows of `papers.leaderboard.summary`: rank, the worst case of every defense over the common attacks, and how
    many of them it has; who lacks one is unranked."""
    rows = frame.to_dict("records")
    several = bool((frame["of"] > 1).any())  # of one attack the worst is the only one
    worst, high, low = ("worst ", "highest ", "lowest ") if several else ("", "", "")
    columns: dict[str, list[str]] = {
        "rank": ["unranked" if pd.isna(value) else f"{value:.0f}" for value in frame["rank"]],
        "defense": [words.label(name) for name in frame["defense"]],
        f"{worst}DER": words.numbers(frame["worst_der"]),
        f"{high}ASR": words.numbers(frame["worst_asr"]),
        f"{low}ACC": words.numbers(frame["worst_acc"]),
        f"{low}target": words.numbers(frame["worst_recall"]),
        f"{low}RA": words.numbers(frame["worst_ra"]),
        "mean DER": words.numbers(frame["mean_der"]),
        "worst under": [words.value(name, "attack") if name else words.NONE for name in frame["worst_attack"]],
        "attacks": [f"{row['attacks']} of {row['of']}" for row in rows],
        "undecided": [str(row["open"]) if several else _yes(row) for row in rows],
        "minutes": words.numbers(frame["seconds"] / 60),
        "clean given": words.numbers(frame["clean_given"], 0),
        "seeds": [_range(row["seeds_from"], row["seeds_to"]) for row in rows],
    }
    empty = {name for name, texts in columns.items() if set(texts) == {words.NONE}}
    left_out = empty | (set() if several else {"mean DER", "worst under", "attacks"})
    shown = pd.DataFrame({name: texts for name, texts in columns.items() if name not in left_out})
    said = (
        "Percent. Undecided: attacks whose low ASR is nobody's merit; there the DER counts as 50, that of no defense. "
        "Target: accuracy on the class that the attacker wants; clean given: clean samples; without minutes: a run "
        "was on another kind of machine"
    )
    links = {words.label(name): f"{paper}.html" for name, paper in OWN.items()}
    return render(shown, f"{caption}. {said}", headers=2, links=links, notes=[_why(row) for row in rows])


def _yes(row: dict[Any, Any]) -> str:
    return words.NONE if not row["attacks"] else "yes" if row["open"] else "no"


def rankings(frames: Mapping[tuple[str, str], pd.DataFrame]) -> Html:
    """The rankings of every board, a tab each: by data set and profile, the tables of `papers.leaderboard`."""
    named = {f"{words.value(dataset, 'dataset')}, {profile}": frame for (dataset, profile), frame in frames.items()}
    parts = {name: str(ranking(frame, name)) for name, frame in named.items()}
    return tabs(parts, "Data set and profile", next(iter(parts), ""))


def ranking(frame: pd.DataFrame, name: str) -> Html:
    """The ranks of one board over each set of attacks that several defenses have whole, a tab a set."""
    said = f"Worst case of every defense on {name}"
    found = sets(frame)
    if not found:
        return summary(ranked(frame), f"{said}; no two defenses were run under the same attack that took")
    parts = {}
    for chosen, count in found[:TABS]:
        have = "one defense alone has met" if count == 1 else f"{count} defenses have all met"
        ranks = f"{said}; ranks are over {_attacks(chosen)}, which {have}"
        parts[f"{_attacks(chosen)}: {words.plural(count, 'defense')}"] = str(summary(ranked(frame, chosen), ranks))
    left = len(found) - len(parts)
    more = f'<p class="table-foot">{words.plural(left, "smaller set")} of attacks not shown.</p>' if left else ""
    return Html(f"{tabs(parts, 'Rank over', next(iter(parts)))}{more}")


def _why(row: dict[Any, Any]) -> str:
    """Why a defense has no rank; empty for one that has."""
    if not pd.isna(row["rank"]):
        return ""
    if row["defense"] == "none":
        return "what the others are held against"
    if not row["of"]:
        return "no attack is common"
    own, lost = row["own"], [name for name in row["lacks"] if name not in row["own"]]
    parts = [f"under {_attacks(own)} only as its own paper sets it"] if own else []
    parts += [f"not run under {_attacks(lost)}"] if lost else []
    return "; ".join(parts)


def _attacks(names: Iterable[str]) -> str:
    return ", ".join(words.value(name, "attack") for name in names)


def matrix(frame: pd.DataFrame, caption: str) -> Html:
    """Defenses by attacks: ASR with a mark over ACC, under the shared setting of the attack, else as the defense's own
    paper sets it (with a star); a pair without a result is an empty box. Attacks that no defense met are named below.

    Defenses without any result stay: what is missing is part of the picture.
    """
    shared = frame["preset"] == SHARED
    ran = frame[frame["n"] > 0]
    cells = {(row["attack"], row["defense"]): row for row in frame[shared].to_dict("records")}
    cells |= {
        (row["attack"], row["defense"]): row
        for row in ran[ran["preset"] != SHARED].to_dict("records")
        if not cells[row["attack"], row["defense"]]["n"] and row["defense"] != "none"
    }
    defenses = list(dict.fromkeys(frame["defense"]))
    met = {row["attack"] for row in cells.values() if row["n"] and row["defense"] != "none"}
    attacks, others = ([n for n in dict.fromkeys(frame["attack"]) if (n in met) is sign] for sign in (True, False))
    head = "".join(f'<th scope="col">{escape(words.value(name, "attack"))}</th>' for name in attacks)
    body = "".join(
        f'<tr><th scope="row">{escape(words.label(name))}</th>'
        f"{''.join(_box(cells[attack, name]) for attack in attacks)}</tr>"
        for name in defenses
    )
    said = (
        f"{caption}: {sum(row['n'] > 0 for row in cells.values())} of {len(cells)} pairs have a result. In a box the "
        f"attack success rate over the accuracy, in percent; {MARKS['low']} the attack fails (ASR at most 10), "
        f"{MARKS['high']} it succeeds (at least 50), {MARKS['middle']} in between, {MARKS['open']} it does not count: "
        "the attack or the target class is gone, or it lies within the spread of 10; * as the defense's own paper sets "
        "the attack; empty: not run"
    )
    rows = f'<thead><tr><th scope="row">defense</th>{head}</tr></thead><tbody>{body}</tbody>'
    missing = f"Met by no defense so far: {_attacks(others)}." if others else ""
    return boxed(rows, said, f"matrix{' full-width' * (len(attacks) > NARROW)}", " ".join([missing, copies(frame)]))


def _box(row: dict[Any, Any]) -> str:
    if not row["n"]:
        why = escape(row["reason"])
        return f'<td class="box-empty" title="{why}"><span class="visually-hidden">not run</span></td>'
    if pd.isna(row["asr"]):
        return f'<td class="box"><b>{words.NONE}</b><br>{words.number(row["acc"])}</td>'
    kind = row["standing"]
    star = "" if row["preset"] == SHARED else "*"
    why = f' title="{escape(row["why"])}"' if kind == "open" else ""
    asr, acc = words.number(row["asr"]), words.number(row["acc"])
    return f'<td class="box box-{kind}"{why}><b>{asr}{star}&nbsp;{MARKS[kind]}</b><br>{acc}</td>'


def _range(low: float, high: float) -> str:
    return words.NONE if pd.isna(low) else f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _suspects(row: dict[Any, Any]) -> str:
    if pd.isna(row["suspects"]):
        return words.NONE
    return f"{row['suspects']:.0f}, {row['suspects_poisoned']:.0f} of {row['poisoned']:.0f}"


def pareto(frame: pd.DataFrame, title: str = "") -> Figure:
    """Defense effectiveness against cost, mean over the attacks that a defense has results for (`scatter.effect`).
    Hollow: an attack succeeds in more than half of the cases, or what keeps it low is nobody's merit."""
    ran = frame[frame["der"].notna() & frame["seconds"].notna()]
    ran = ran.assign(failed=(ran["asr"] > ASR_HIGH) | (ran["gate"] != ""), minutes=ran["seconds"] / 60)
    parts = ran.groupby("defense", sort=False)
    points = parts.agg(der=("der", "mean"), minutes=("minutes", "mean"), failed=("failed", "any"))
    known = dict.fromkeys(frame.loc[frame["der"].notna(), "defense"])
    lost = [words.label(name) for name in known if name not in points.index]
    without = f"no minutes on this kind of machine{machine(ran)}: {', '.join(lost)}" if lost else ""
    return scatter.effect(points, "\n".join(filter(None, (title, textwrap.fill(without, 80)))))
