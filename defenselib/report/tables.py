"""Printed beside reproduced, as HTML tables that a screen reader can follow.

Verdicts are a mark and a word, never a colour alone; the book's style sheet colours them. Headers have a scope, every
table has a caption. `Html` shows itself in a notebook and needs no Jupyter package.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from defenselib.experiments import Experiment
from defenselib.papers.kit.exhibit import Paper
from defenselib.papers.kit.verdict import AGREES, DIFFERS, NOT_RUN
from defenselib.plots import style

MARKS = {
    AGREES: "✓ agrees",
    DIFFERS: "✗ differs",
    NOT_RUN: "– not run",
    "holds": "✓ holds",
    "fails": "✗ fails",
}
LOOKS = {"✓": "agrees", "✗": "differs", "–": "not-run"}  # classes verdict-... of the book's style sheet
NUMERIC = re.compile(r"[–\d.,± -]*")


@dataclass(frozen=True)
class Html:
    """A piece of HTML that a notebook shows as such."""

    text: str

    def _repr_html_(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Listing:
    """Source code that a notebook shows in the page's own colours."""

    text: str

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}```\n"

    def __str__(self) -> str:
        return self.text


def source(function: Callable[..., Any]) -> Listing:
    """The source of a function or method, without its indentation."""
    return Listing(textwrap.dedent(inspect.getsource(function)))


def render(
    frame: pd.DataFrame, caption: str, headers: int = 1, marked: str = "", links: Mapping[str, str] | None = None
) -> Html:
    """A table of texts and numbers; the first `headers` columns head their rows, `marked` holds verdicts. links: where
    a text leads, wherever it is a whole cell.

    Numbers stand to the right, words to the left. It scrolls within its box on narrow screens and takes its letters
    from the page, light or dark.
    """
    columns = {str(name): [_text(value) for value in frame[name]] for name in frame.columns}
    left = {name for name, texts in columns.items() if not all(NUMERIC.fullmatch(text) for text in texts)}
    side = {name: _side(texts) if name in left else "" for name, texts in columns.items()}
    head = "".join(f'<th scope="col"{side[name]}>{escape(name)}</th>' for name in columns)
    body = []
    for row in zip(*columns.values(), strict=True):
        cells = []
        for place, (name, text) in enumerate(zip(columns, row, strict=True)):
            inner = _verdict(text) if name == marked else escape(text)
            if links and text in links:
                inner = f'<a href="{escape(links[text])}">{inner}</a>'
            opened, closed = ('th scope="row"', "th") if place < headers else ("td", "td")
            cells.append(f"<{opened}{side[name]}>{inner}</{closed}>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    words = escape(caption)
    return Html(
        f'<div class="results" style="overflow-x:auto" tabindex="0" role="region" aria-label="{words}">'
        f'<table class="dataframe"><caption style="text-align:left">{words}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def comparison(frame: pd.DataFrame, caption: str, only_run: bool = True) -> Html:
    """One row a number: where it stands, printed, reproduced with spread, verdict, evidence (profile, seeds, machine),
    note. A note that all rows share moves to the caption.

    only_run leaves out the rows without a number; the caption says how many, `missing` lists why.
    """
    rows = frame[frame["reproduced"].notna()] if only_run else frame
    shown = pd.DataFrame(
        {
            **{name: [_label(value, name) for value in rows[name]] for name in ("dataset", "attack", "defense")},
            **_varied(rows),
            **({"variant": rows["variant"].fillna("")} if rows["variant"].notna().any() else {}),
            "metric": [str(value).upper() if pd.notna(value) else "" for value in rows["metric"]],
            "printed": [_number(value) for value in rows["published"]],
            "reproduced": [_spread(row) for _, row in rows.iterrows()],
            "verdict": rows["verdict"].map(MARKS),
            "evidence": [_evidence(row) for _, row in rows.iterrows()],
            "note": rows["reason"],
        }
    )
    if shown.empty:
        return Html(f"<p>{escape(caption)}: none of {len(frame)} numbers has been run.</p>")
    left = len(frame) - len(rows)
    words = f"{caption} ({len(rows)} of {len(frame)} numbers; {left} not run)" if left else caption
    if shown["note"].nunique() <= 1:
        shared = "".join(shown.pop("note").unique())
        words += f". All rows: {shared}." if shared else ""
    return render(shown, words, headers=3, marked="verdict")


def overview(frame: pd.DataFrame, metric: str, caption: str) -> Html:
    """The paper's own layout: a row for each data set and attack, a column a defense: "printed → reproduced mark",
    the printed number alone where nothing was run."""
    rows = frame[frame["metric"] == metric]
    cells = [_cell(row) for _, row in rows.iterrows()]
    table = rows.assign(cell=cells).pivot_table(
        index=["dataset", "attack"], columns="defense", values="cell", aggfunc="first", sort=False, fill_value=""
    )
    table = table.rename(columns=style.label).reset_index()
    for name in ("dataset", "attack"):
        table[name] = [_label(value, name) for value in table[name]]
    return render(table, f"{caption}: {metric.upper()} in percent, printed → reproduced where it was run", headers=2)


def missing(frame: pd.DataFrame, caption: str = "What was not run, and why") -> Html:
    """Every reason with the number of rows it holds for: nothing is left out without being listed here."""
    rows = frame[frame["reproduced"].isna()]
    if rows.empty:
        return Html("<p>Every number was run.</p>")
    sizes = rows.groupby("reason", sort=False).size().sort_values(ascending=False, kind="stable")
    table = pd.DataFrame({"reason": sizes.index, "rows": sizes.to_numpy()})
    return render(table, f"{caption} ({len(rows)} of {len(frame)} rows)")


def claims(frame: pd.DataFrame, caption: str) -> Html:
    """The outcome of every claim with the numbers that decided it."""
    shown = frame.assign(outcome=frame["outcome"].map(MARKS))
    return render(shown[["statement", "source", "outcome", "numbers", "profile"]], caption, marked="outcome")


def exhibits(paper: Paper, profile: str = "best") -> Html:
    """Every table and figure of a paper: what it shows, whether it can be run, how many of its numbers were, and the
    command that regenerates it."""
    rows = []
    for exhibit, listed in zip(paper.exhibits, paper.overview().to_dict("records"), strict=True):
        found = exhibit.reproduce(profile=profile)
        run, drawn = int(found["reproduced"].notna().sum()), exhibit.key.startswith("figure")
        evidence = ("drawn" if run else "not run") if drawn else f"{run} of {len(found)} numbers"
        listed["evidence"] = "–" if listed["status"] == "nothing to run" else evidence
        rows.append({name: listed[name] for name in ("exhibit", "title", "status", "evidence", "command")})
    return render(pd.DataFrame(rows), f"Every exhibit of {paper.title}")


def schedule(defense: str, profiles: Sequence[str], dataset: str = "cifar10", paper: str | None = None) -> Html:
    """The hyper-parameters of a defense that profiles set differently, with the size of data and model."""
    columns = {}
    for profile in profiles:
        chosen = Experiment(dataset=dataset, defense=defense, profile=profile, paper=paper).resolve().describe()
        size = {"data set": chosen["dataset"], "training images": chosen["train_size"]}
        columns[profile] = {**size, **{name: chosen[name] for name in ("model", "width")}, **chosen["defense_args"]}
    table = pd.DataFrame(columns)
    table = table[table.astype(str).nunique(axis=1) > 1].astype(str).rename_axis("setting").reset_index()
    return render(table, f"What the profiles change ({style.label(defense)} on {style.label(dataset)})")


def soundness(check: pd.DataFrame, caption: str) -> Html:
    """The rows of `papers.asd.laptop_check`, in words."""
    words = {"none": "no defense", "asd": "ASD", "oracle": "oracle", "acc": "ACC", "asr": "ASR"}
    shown = _named(check.drop(columns="profile"))
    shown = shown.rename(columns=lambda name: " ".join(words.get(part, part) for part in name.split("_")))
    gaps = {"gap no defense": "no defense minus ASD", "gap oracle": "oracle minus ASD", "n": "seeds of ASD"}
    return render(shown.rename(columns={**gaps, "n oracle": "seeds of the oracle"}), caption, headers=2)


def doubled(frame: pd.DataFrame, caption: str) -> Html:
    """The rows of `papers.scaled.doubled`, in words."""
    words = {"acc": "ACC", "asr": "ASR", "ra": "RA", "poison_precision": "poison-precision"}
    words |= {f"twice_{name}": f"{word}, twice" for name, word in words.items()}
    varied = bool((frame["variant"] != "").any())
    shown = frame if varied else frame.drop(columns="variant")
    return render(_named(shown).rename(columns=words), caption, headers=4 if varied else 3)


def pools(histories: Mapping[str, pd.DataFrame], caption: str) -> Html:
    """The clean pool of a splitting defense in the last epoch, mean over seeds, one row a history (see `purity`)."""
    rows = [{"attack": style.run_label(name), **_pool(frame)} for name, frame in histories.items() if len(frame)]
    return render(pd.DataFrame(rows), caption) if rows else Html("<p>No run in the store yet.</p>")


def _pool(frame: pd.DataFrame) -> dict[str, float]:
    last = frame[frame["epoch"] == frame["epoch"].max()].mean(numeric_only=True)
    return {
        "samples in the pool": last["clean_size"],
        "poisoned among them": last["clean_poisoned"],
        "clean (%)": 100 * last["clean_purity"],
        "ACC (%)": last["acc"],
        "ASR (%)": last["asr"],
    }


def _varied(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Target and poisoning rate, where the rows differ in them."""
    said = {"target": ("target", _whole), "poisoning_rate": ("rate", rate)}
    return {name: [say(v) for v in rows[column]] for column, (name, say) in said.items() if rows[column].nunique() > 1}


def rate(value: Any) -> str:
    """A poisoning rate in percent; empty where none is stated."""
    return f"{100 * float(value):g}\N{NO-BREAK SPACE}%" if pd.notna(value) else ""


def _whole(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def counts(frame: pd.DataFrame) -> dict[str, int]:
    """How many rows have each verdict: agrees, differs, not run; for sentences in a page."""
    return {name: int((frame["verdict"] == name).sum()) for name in (AGREES, DIFFERS, NOT_RUN)}


def _cell(row: pd.Series) -> str:
    printed = _number(row["published"])
    if pd.isna(row["reproduced"]):
        return printed
    return f"{printed} → {_number(row['reproduced'])} {MARKS[str(row['verdict'])].split()[0]}"


def _side(texts: Sequence[str]) -> str:
    # Names stay on one line; sentences get room, so that they do not grow into towers.
    longest = max(map(len, texts), default=0)
    width = "white-space:nowrap" if longest <= 24 else "min-width:14em" if longest <= 120 else "min-width:20em"
    return f' style="text-align:left;{width}"'


def _verdict(text: str) -> str:
    return f'<span class="verdict verdict-{LOOKS[text[0]]}">{escape(text)}</span>'


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    axes = [axis for axis in ("dataset", "attack", "defense") if axis in frame]
    return frame.assign(**{axis: [_label(value, axis) for value in frame[axis]] for axis in axes})


def _label(value: Any, kind: str) -> str:
    return style.label(str(value), kind) if pd.notna(value) else ""


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "–" if value is None or pd.isna(value) else f"{float(value):.1f}"


def _text(value: object) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _evidence(row: pd.Series) -> str:
    if not row["n"]:
        return ""
    return f"{row['profile']}, {row['n']} seed{'s' if row['n'] > 1 else ''}, {row['ran_on']}"


def _spread(row: pd.Series) -> str:
    return _number(row["reproduced"]) + ("" if pd.isna(row["sd"]) else f" ± {row['sd']:.1f}")
