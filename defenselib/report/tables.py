"""Printed beside reproduced: the frames of exhibits and the outcomes of claims as tables, one profile at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from defenselib.experiments import Experiment
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.claims import NOT_RUN
from defenselib.papers.kit.exhibit import Exhibit, Paper, best_of
from defenselib.papers.kit.verdict import VERDICTS
from defenselib.plots import words
from defenselib.report.comparison import comparison, copies, profile_of, telling
from defenselib.report.html import Html, Listing, render, source, tabs

__all__ = ["Html", "Listing", "comparison", "copies", "profile_of", "render", "source", "telling"]
DOUBTFUL = "†"
WHOLE = ("count", "correct")
Levels = Mapping[str, pd.DataFrame]  # what an exhibit has at each profile that counts


def levels(exhibit: Exhibit, evidence: Levels, caption: str) -> Html:
    """An exhibit at every profile that has some of it, a tab each, the best first to be seen; says why it is that."""
    ran = there(evidence)
    if not ran:
        return Html(f"<p>{caption}: nothing of it has been run.</p>")
    parts = {name: f"{comparison(frame, caption)}{missing(frame)}" for name, frame in ran.items()}
    best, why = chosen(evidence)
    return Html(f'<p class="level-why">{why}</p>{tabs(parts, f"{caption}: profile", best)}')


def there(evidence: Levels) -> dict[str, pd.DataFrame]:
    """The frames that hold a number, the best first."""
    best = chosen(evidence)[0]
    ordered = {best: evidence[best], **evidence}
    return {name: frame for name, frame in ordered.items() if frame["reproduced"].notna().any()}


def chosen(evidence: Levels) -> tuple[str, str]:
    """The profile called best of an exhibit, and why: it answers most of it. No row of another stands beside it."""
    best = str(best_of(evidence)["profile"].iloc[0])
    ran = {name: int(frame["reproduced"].notna().sum()) for name, frame in evidence.items()}
    decided = {name: int(frame["verdict"].isin(VERDICTS[:2]).sum()) for name, frame in evidence.items()}
    told = [f"{name}: {ran[name]} run, {decided[name]} decided" for name in evidence if ran[name]]
    if len(told) < 2:
        return best, f"All that was run is of profile {best}."
    return best, f"Shown first is profile {best}, which answers most ({'; '.join(told)})."


def layout(
    frame: pd.DataFrame, down: Sequence[str], across: Sequence[str], caption: str, doubtful: Sequence[int] = ()
) -> Html:
    """The paper's own layout, a row for each combination of the columns `down`, a column for each of `across`:
    "printed → reproduced mark", the printed number alone where nothing was run. `variant` stands for all axes.

    doubtful: labels of rows whose printed number does not follow from others of the same table; they get a dagger.
    """
    cells = [_cell(row, label in doubtful) for label, row in frame.iterrows()]
    named = {name: [_said(row, name, frame) for row in frames.records(frame)] for name in (*down, *across)}
    wide = pd.DataFrame({**named, "cell": cells}).pivot_table(
        index=list(down), columns=list(across), values="cell", aggfunc="first", sort=False, fill_value=""
    )
    wide.columns = [" ".join(column) if isinstance(column, tuple) else str(column) for column in wide.columns]
    wide = wide.reset_index().rename(columns={name: words.axis(name) or name for name in down})
    said = f"{caption}: printed → reproduced where it was run, profile {profile_of(frame)}"
    if len(doubtful):
        said += f". {DOUBTFUL} does not follow from the ACC and ASR printed beside it"
    used = "; ".join(words.marked(word) for word in VERDICTS if (frame["verdict"] == word).any() and word != NOT_RUN)
    return render(wide, f"{said}. {used}" if used else said, headers=len(down), foot=copies(frame))


def overview(frame: pd.DataFrame, metric: str, caption: str) -> Html:
    """The layout of one metric: a row for each data set and attack, a column a defense."""
    return layout(frame[frame["metric"] == metric], ["dataset", "attack"], ["defense"], f"{caption}, {metric.upper()}")


def _said(row: frames.Row, name: str, frame: pd.DataFrame) -> str:
    return words.setting(row, frames.axes(frame)) if name == "variant" else words.value(row[name], name)


def _cell(row: pd.Series, doubtful: bool) -> str:
    digits = 0 if row["metric"] in WHOLE else 1
    printed = words.number(row["published"], digits) + (f" {DOUBTFUL}" if doubtful else "")
    if pd.isna(row["reproduced"]):
        return printed
    found = words.number(row["reproduced"], digits)
    return f"{printed} →{words.SPACE}{found}{words.SPACE}{words.MARKS[str(row['verdict'])]}"


def missing(frame: pd.DataFrame, caption: str = "What has no number, and why") -> Html:
    """Every reason with the number of rows it holds for: nothing is left out without being listed here."""
    rows = frame[frame["reproduced"].isna()]
    if rows.empty:
        return Html("<p>Every number was run.</p>")
    sizes = rows.groupby("reason", sort=False).size().sort_values(ascending=False, kind="stable")
    return render(sizes.rename("rows").reset_index(), f"{caption} ({len(rows)} of {len(frame)} rows)")


def claims(frame: pd.DataFrame, caption: str, printed: bool = False) -> Html:
    """The outcome of every claim at one profile, with its rule and the numbers that decided it. printed: they are the
    paper's own (`claims.as_printed`), so that there is no profile."""
    shown: dict[str, Any] = {"statement": _sentences(frame), "outcome": _outcomes(frame), "rule": frame["rule"]}
    place = "on the printed numbers" if printed else f"profile {profile_of(frame)}"
    return render(pd.DataFrame({**shown, "numbers": frame["numbers"]}), f"{caption}, {place}", marked=["outcome"])


def claims_at(evidence: Levels, claims: Levels, caption: str) -> Html:
    """Every claim of an exhibit with its rule, a column of outcomes for each profile that has some of it, and what
    decided at the best of them. claims: `Exhibit.claims` of the frames."""
    best = chosen(evidence)[0]
    judged = {name: claims[name] for name in there(evidence) or (best,)}
    first = judged[best]
    shown: dict[str, Any] = {"statement": _sentences(first)}
    shown |= {name: _outcomes(found) for name, found in judged.items()}
    shown |= {"rule": first["rule"], f"numbers at {best}": first["numbers"]}
    return render(pd.DataFrame(shown), caption, marked=list(judged))


def _sentences(frame: pd.DataFrame) -> list[str]:
    return [f"{said} ({place})" for said, place in zip(frame["statement"], frame["source"], strict=True)]


def _outcomes(frame: pd.DataFrame) -> list[str]:
    """ "holds so far, 3 of 4"; of a claim on one cell, or that was not run, the word alone."""
    rows = frames.records(frame)
    return [
        f"{row['outcome']}, {row['true']} of {row['of']}" if row["outcome"] != NOT_RUN and row["of"] > 1
        else str(row["outcome"])
        for row in rows
    ]  # fmt: skip


def exhibits(paper: Paper) -> Html:
    """Every table and figure of a paper: what it shows, whether it can be run, how many of its numbers were and at
    which profile, and the command that regenerates it."""
    rows = []
    for exhibit, listed in zip(paper.exhibits, paper.overview().to_dict("records"), strict=True):
        found = exhibit.reproduce(profile="best")
        run, drawn = int(found["reproduced"].notna().sum()), exhibit.key.startswith("figure")
        evidence = ("drawn" if run else NOT_RUN) if drawn else f"{run} of {len(found)} numbers"
        listed["evidence"] = evidence + (f", {profile_of(found)}" if run else "")
        listed["evidence"] = words.NONE if listed["status"] == "nothing to run" else listed["evidence"]
        rows.append({name: listed[name] for name in ("exhibit", "title", "status", "evidence", "command")})
    return render(pd.DataFrame(rows), f"Every exhibit of {paper.title}")


def schedule(defense: str, profiles: Sequence[str], dataset: str = "cifar10", paper: str | None = None) -> Html:
    """The hyper-parameters of a defense that profiles set differently, with the size of data and model."""
    columns = {}
    for profile in profiles:
        resolved = Experiment(dataset=dataset, defense=defense, profile=profile, paper=paper).resolve().describe()
        size = {"data set": resolved["dataset"], "training images": resolved["train_size"]}
        columns[profile] = {**size, **{name: resolved[name] for name in ("model", "width")}, **resolved["defense_args"]}
    table = pd.DataFrame(columns)
    table = table[table.astype(str).nunique(axis=1) > 1].astype(str).rename_axis("setting").reset_index()
    return render(table, f"What the profiles change ({words.label(defense)} on {words.label(dataset)})")


def named(frame: pd.DataFrame, caption: str, headers: int, columns: Mapping[str, str]) -> Html:
    """A frame with its names in words; columns: the heads, by column."""
    known = [name for name in ("dataset", "attack", "defense") if name in frame]
    shown = frame.assign(**{name: [words.value(found, name) for found in frame[name]] for name in known})
    return render(shown.rename(columns=lambda name: columns.get(name, words.axis(name))), caption, headers=headers)


def soundness(check: pd.DataFrame, caption: str) -> Html:
    """The rows of `papers.asd.laptop_check`, in words."""
    heads = {f"{who}_{metric}": f"{words.label(who) if who != 'oracle' else who} {metric.upper()}"
             for who in ("none", "asd", "oracle") for metric in ("acc", "asr")}  # fmt: skip
    heads |= {"gap_none": "no defense minus ASD", "gap_oracle": "oracle minus ASD", "n": "seeds of ASD"}
    return named(check.drop(columns="profile"), caption, 2, {**heads, "n_oracle": "seeds of the oracle"})


def doubled(frame: pd.DataFrame, caption: str) -> Html:
    """The rows of `papers.kit.scaled.doubled`, in words."""
    numbers = [str(name) for name in frame if f"twice_{name}" in frame]
    heads = {name: words.value(name, "metric") for name in numbers}
    heads |= {f"twice_{name}": f"{heads[name]}, twice" for name in numbers} | {"variant": "setting"}
    varied = bool((frame["variant"] != "").any())
    said = [words.spoken(text.replace(", ", ";")) for text in frame["variant"]]
    shown = frame.assign(variant=said) if varied else frame.drop(columns="variant")
    return named(shown, caption, 4 if varied else 3, heads)


def pools(histories: Mapping[str, pd.DataFrame], caption: str) -> Html:
    """The clean pool of a splitting defense in the last epoch, mean over seeds, one row a history (see `purity`)."""
    rows = [{"attack": words.run_label(name), **_pool(frame)} for name, frame in histories.items() if len(frame)]
    return render(pd.DataFrame(rows), caption) if rows else Html("<p>No run in the store yet.</p>")


def _pool(frame: pd.DataFrame) -> dict[str, Any]:
    last = frame[frame["epoch"] == frame["epoch"].max()].mean(numeric_only=True)
    pool = {"samples in the pool": last["clean_size"], "poisoned among them": last["clean_poisoned"]}
    return {**pool, "clean (%)": 100 * last["clean_purity"], "ACC (%)": last["acc"], "ASR (%)": last["asr"]}


def counts(frame: pd.DataFrame) -> dict[str, int]:
    """How many rows have each verdict; for sentences in a page."""
    return {name: int((frame["verdict"] == name).sum()) for name in VERDICTS}
