"""Printed beside reproduced: the frames of exhibits and the outcomes of claims as tables, one profile at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from defenselib.experiments import Experiment
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.claims import NOT_RUN
from defenselib.papers.kit.exhibit import best_of
from defenselib.papers.kit.verdict import VERDICTS
from defenselib.plots import words
from defenselib.report.comparison import comparison, profile_of, telling
from defenselib.report.html import Html, render, source

__all__ = ["comparison", "profile_of", "source", "telling"]
Levels = Mapping[str, pd.DataFrame]  # what an exhibit has at each profile that counts


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


def schedule(defense: str, profiles: Sequence[str], dataset: str = "cifar10", paper: str | None = None) -> Html:
    """The hyper-parameters of a defense that profiles set differently, with the size of data and model."""
    columns = {}
    for profile in profiles:
        resolved = Experiment(dataset=dataset, defense=defense, profile=profile, paper=paper).resolve().describe()
        size = {"data set": resolved["dataset"], "training images": resolved["train_size"]}
        columns[profile] = {**size, **{name: resolved[name] for name in ("model", "width")}, **resolved["defense_args"]}
    table = pd.DataFrame(columns)
    table = table[table.astype(str).nunique(axis=1) > 1].astype(str).rename_axis("setting").reset_index()
    said = (
        f"What the profiles change ({words.label(defense)} on {words.label(dataset)}); settings as the code names them"
    )
    return render(table, said)


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
    said = f"{caption}: means over the seeds, ACC and ASR on the test images of the curves"
    return render(pd.DataFrame(rows), said) if rows else Html("<p>No run in the store yet.</p>")


def _pool(frame: pd.DataFrame) -> dict[str, Any]:
    seeds = str(frame["seed"].nunique() if "seed" in frame else 1)
    last = frame[frame["epoch"] == frame["epoch"].max()].mean(numeric_only=True)
    pool = {"samples in the pool": last["clean_size"], "poisoned among them": last["clean_poisoned"]}
    return {**pool, "clean (%)": 100 * last["clean_purity"], "ACC (%)": last["acc"], "ASR (%)": last["asr"],
            "seeds": seeds}  # fmt: skip
