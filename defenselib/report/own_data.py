"""The chapter on data of one's own: a folder drawn for it, what was found in it, and committed results of real ones."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from defenselib.audit import trials
from defenselib.audit.defend import Plan, Settings
from defenselib.audit.examples import Example, drawn_folder
from defenselib.audit.folder import UserData, read_folder
from defenselib.audit.names import visible
from defenselib.audit.results import Delivery, ScanReport
from defenselib.experiments.store import committed_file
from defenselib.plots import words
from defenselib.plots.canvas import empty
from defenselib.plots.pictures import captioned
from defenselib.report.html import Html, render

SCANS, DELIVERED = "scan.csv", trials.TABLE
# Columns of the table of scans that are shown, in percent: see `audit.trials`.
TOLD = {
    "precision": "precision, flagged",
    "recall": "recall, flagged",
    "hit_agreement": "poison first, all signs",
    **{f"hit_{key}": f"poison first, {key}" for key in ("pattern", "loss", "entropy", "fct", "spectral")},
}
# Columns of both tables that are called otherwise where they are shown.
CALLED = {"dataset": "data set", "rate": "poison"}
SHOWN = 8


def folder_of(given: str, place: str | Path, images: int, attack: str, seed: int) -> tuple[Path, Example | None]:
    """The folder `given`; where it is empty, one of drawn shapes that is written to `place`, with the truth about it.

    attack: "none" poisons nothing.
    """
    if given:
        return Path(given), None
    example = drawn_folder(Path(place) / "data", images, None if attack == "none" else attack, seed)
    return example.folder, example


def plan_of(data: UserData, defense: str, profile: str, seed: int, clean: str = "", test: str = "") -> Plan:
    """What `defend` is to do; `clean` and `test` are folders, empty for none."""
    size = data.images.image_size
    trusted, unseen = (read_folder(name, size) if name else None for name in (clean, test))
    return Plan(data, Settings(defense=defense, profile=profile, seed=seed), trusted, unseen)


def looks(data: UserData, scan: ScanReport, title: str = "") -> Figure:
    """The most suspicious pictures, and under them the least suspicious ones of the same label."""
    if not len(scan.rank):
        return empty(title)
    first = scan.rank[:SHOWN]
    label = int(data.images.labels[first].mode().values)
    quiet = scan.rank[data.images.labels[scan.rank] == label].flip(0)[:SHOWN]
    found = {}
    for kind, index in (("suspicious", first), ("typical", quiet)):
        for place, i in enumerate(index.tolist(), start=1):
            name = visible(data.classes[int(data.images.labels[i])])
            found[f"{kind} {place}: {name}"] = data.images.images[i].permute(1, 2, 0).numpy()
    return captioned(found, title, columns=SHOWN // 2)


def signs(data: UserData, scan: ScanReport, example: Example | None, caption: str) -> Html:
    """A row a sign: what it says, and where the truth is known how much of the poison stands among as many first
    files as there is poison."""
    rows = []
    for name, scores, said in [
        *((sign.title, sign.scores, sign.words) for sign in scan.signs),
        ("agreement of the signs", scan.score, scan.words),
    ]:
        row = {"sign": name, "says": said}
        if example is not None and bool(example.is_poisoned.any()):
            poisoned = example.poisoned_among(data.files)
            first = scores.nan_to_num(float("-inf")).argsort(descending=True)[: int(poisoned.sum())]
            share = f"{100 * float(poisoned[first].double().mean()):.0f}"
            row["poison among the first, %"] = words.NONE if bool(scores.isnan().all()) else share
        rows.append(row)
    return render(pd.DataFrame(rows), caption)


def outcome(delivery: Delivery, data: UserData, example: Example | None, caption: str) -> Html:
    """What was delivered, and where the truth is known how the model does on images that nobody showed it."""
    seen = delivery.accuracy
    rows = {"files left out of the cleaned list": f"{int(delivery.removed.sum())} of {len(data.files)}"}
    if seen is not None:
        rows[f"accuracy on the {seen.where}, %"] = f"{seen.percent:.1f}"
    if example is not None:
        acc, asr = example.accuracy(delivery.model, data.classes)
        rows["accuracy on new images, %"] = f"{acc:.1f}"
        if asr is not None:
            gone = delivery.removed & example.poisoned_among(data.files)
            rows["the trigger is obeyed, % of new images"] = f"{asr:.1f}"
            rows["poisoned files left out"] = f"{int(gone.sum())} of {int(example.is_poisoned.sum())}"
    return render(pd.DataFrame({"": list(rows), "value": list(rows.values())}), caption)


def results(name: str, caption: str) -> Html:
    """A committed table of `book/results/audit`, as it was measured; says so where there is none."""
    frame = _table(name)
    if frame is None:
        return _missing(caption)
    frame = frame.drop(columns=[key for key in ("machine", "version", "created", "source") if key in frame.columns])
    return render(frame.fillna("").rename(columns=lambda key: str(key).replace("_", " ")), caption, headers=2)


def scans(caption: str, name: str = SCANS) -> Html:
    """The committed scans by data set, attack, rate and budget: means over the subsets, in percent of the poison that
    was put in; of subsets without poison, how many raised an alarm or asked for a look."""
    frame = _table(name)
    if frame is None:
        return _missing(caption)
    rows = []
    frame = frame.sort_values(
        ["budget", "dataset", "attack", "rate"], key=lambda column: column.map(_order), kind="stable"
    )
    for key, mine in frame.groupby(["dataset", "images", "attack", "rate", "budget"], sort=False):
        row = _named(("dataset", "images", "attack", "rate", "budget"), key)
        said = mine["alarm"].value_counts()
        row |= {"subsets": str(len(mine))} | {word: str(said.get(word, 0)) for word in ("alarm", "look", "calm")}
        poisoned = pd.to_numeric(mine["poisoned"]).gt(0).all()
        row["target right"] = str(int((mine["guess"] == mine["target"]).sum())) if poisoned else words.NONE
        for column, title in TOLD.items():
            values = pd.to_numeric(mine[column]) if column in mine else pd.Series(dtype=float)
            row[title] = f"{100 * values.mean():.0f}" if poisoned and values.notna().any() else words.NONE
        rows.append(row)
    return render(pd.DataFrame(rows), caption, headers=5)


def models(caption: str, name: str = DELIVERED) -> Html:
    """The committed models, one row for what was poisoned: ACC and ASR of the model without a defense and of those that
    a defense delivered, on new images; how much of the poison the cleaned list leaves out, and how many clean files."""
    frame = _table(name)
    if frame is None:
        return _missing(caption)
    rows = []
    defenses = sorted(frame["defense"].unique(), key=lambda name: name != "none")
    frame = frame.sort_values(
        ["images", "dataset", "attack", "rate"], key=lambda column: column.map(_order), kind="stable"
    )
    for key, mine in frame.groupby(["dataset", "images", "profile", "attack", "rate"], sort=False):
        row = _named(("dataset", "files", "profile", "attack", "rate"), key)
        last = mine.iloc[-1]
        row |= {"poisoned": last["poisoned"], "scan": last["alarm"], "target right": _yes(last["target_right"])}
        for defense in defenses:
            made = mine[mine["defense"] == defense]
            row[words.label(defense)] = (
                words.NONE if made.empty else " / ".join(words.numbers(made.iloc[-1][["acc", "asr"]].astype(float)))
            )
        bad = float(last["poisoned"])
        caught = float(last["removed_poisoned"]) / 100 * bad if bad else 0.0
        row["poison left out"] = f"{caught:.0f} of {bad:.0f}" if bad else words.NONE
        # Both are kept in percent, rounded: no file may be the difference.
        row["clean left out"] = f"{max(0.0, float(last['removed']) / 100 * float(last['images']) - caught):.0f}"
        rows.append(row)
    return render(pd.DataFrame(rows), caption, headers=5)


def _named(columns: Sequence[str], key: Sequence[object]) -> dict[str, str]:
    """What a row is of, as the book calls it; shares in percent."""
    row = {name: words.value(value, name) for name, value in zip(columns, key, strict=True)}
    return {
        CALLED.get(name, name): f"{100 * float(told):g} %" if name == "rate" else told for name, told in row.items()
    }


def _order(value: str) -> tuple[bool, float, str]:
    """Numbers by size, words by the alphabet; what nothing poisoned comes last."""
    number = pd.to_numeric(value, errors="coerce")
    return value == "none", 0.0 if pd.isna(number) else float(number), value


def _yes(value: object) -> str:
    return words.NONE if words.missing(value) else {"True": "yes", "False": "no"}[str(value)]


def missed(name: str = SCANS) -> Html:
    """Which poison the committed scans did not see: data set, attack, rate and budget of those that ended calm."""
    frame = _table(name)
    if frame is None:
        return Html("")
    rows = frame[pd.to_numeric(frame["poisoned"]).gt(0)]
    calm = rows[rows["alarm"] == "calm"]
    told = []
    for (data, attack, budget), mine in calm.groupby(["dataset", "attack", "budget"], sort=False):
        rates = " and ".join(f"{100 * float(rate):g} %" for rate in mine["rate"].unique())
        told.append(f"{words.value(attack, 'attack')} on {words.value(data, 'dataset')} at {rates} ({budget})")
    listed = f": {', '.join(told)}" if told else ""
    return Html(f"<p>{escape(f'Missed, with a calm report: {len(calm)} of {len(rows)} poisoned subsets{listed}.')}</p>")


def _table(name: str) -> pd.DataFrame | None:
    path = committed_file(f"audit/{name}")
    return None if path is None else pd.read_csv(path, dtype=str)


def _missing(caption: str) -> Html:
    return Html(f"<p><em>{caption}: not measured yet.</em></p>")
