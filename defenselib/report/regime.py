"""The page "When does each method work?": measured curves of what each rule goes by, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from defenselib.errors import DataError
from defenselib.experiments.store import committed_file
from defenselib.plots import scatter
from defenselib.report.findings import listing
from defenselib.report.html import Html

DEMO, OSS, VIRTUAL = "regime_demo.csv", "regime_oss.csv", "regime_virtual.csv"
# A rule separates from here on; below one half it takes poison for clean before it takes clean samples.
SEPARATES = 0.8


@dataclass(frozen=True)
class Axis:
    """What a curve runs over: a column of the table, the label of the axis, and how a value is said in a sentence."""

    column: str
    label: str
    said: str
    log: bool = False


AXES: Mapping[str, Axis] = {
    "asd": Axis("steps", "steps of class-aware training", "{:,.0f} steps"),
    "vab": Axis("steps", "steps of the Victim", "{:,.0f} steps", True),
    "fct": Axis("steps", "steps of implanting", "{:,.0f} steps", True),
    "aabl": Axis("steps", "steps of naive training", "{:,.0f} steps", True),
    "aabl-eps": Axis("value", "bound of the step, grey levels", "a bound of {:g}", True),
    "oss": Axis("steps", "steps of the first stage", "{:,.0f} steps"),
    "virtual": Axis("acc", "ACC of the model at the meta-split (%)", "an ACC of {:.0f} %"),
}


def table(name: str) -> pd.DataFrame:
    """A committed table of trials. Raises DataError where it is missing."""
    file = committed_file(f"trials/{name}")
    if file is None:
        raise DataError(f"the table {name} of trials is missing: python -m defenselib.experiments.regime makes it")
    return pd.read_csv(file)


def rows(key: str) -> pd.DataFrame:
    """The runs of a curve: the axis of `AXES`, acc, asr, auc and auc_hardest where they were measured."""
    if key == "oss":
        names = {"steps of f": "steps", "ACC": "acc", "ASR": "asr", "OSS AUC": "auc"}
        return table(OSS).rename(columns=names)[list(names.values())]
    if key == "virtual":
        names = {"its ACC": "acc", "AUC against all clean": "auc", "AUC against hard clean": "auc_hardest"}
        found = table(VIRTUAL)
        epoch = found[(found["virtual layers"] == 3) & (found["virtual steps"] == 291)]  # the paper's virtual epoch
        return epoch.rename(columns=names)[list(names.values())]
    found = table(DEMO)
    return found[found["curve"] == key]


def figure(key: str) -> Figure:
    """The curve of a rule."""
    axis = AXES[key]
    return scatter.separation(rows(key), axis.column, axis.label, axis.log)


def sentence(key: str, measure: str = "auc_hardest") -> Html:
    """Where the rule separates best and worst, means over the runs, and where it is above `SEPARATES`."""
    axis, found = AXES[key], rows(key)
    by_value = found.groupby(axis.column)[measure].mean()
    mean = dict(zip(by_value.index.astype(float).tolist(), by_value.tolist(), strict=True))
    best, worst = max(mean, key=mean.__getitem__), min(mean, key=mean.__getitem__)
    good = [value for value, reached in mean.items() if reached >= SEPARATES]
    against = "the hardest tenth of the clean samples" if measure == "auc_hardest" else "the clean samples"
    at = axis.said.format
    told = f"Poison is told from {against} best at {at(best)} (AUC {mean[best]:.2f}{_model(found, axis, best)})"
    told += f" and worst at {at(worst)} ({mean[worst]:.2f}{_model(found, axis, worst)})."
    if not good:
        return Html(f"<p>{told} It is nowhere at or above {SEPARATES}.</p>")
    inner = "everywhere" if len(good) == len(mean) else "at " + listing(list(map(at, good)))
    return Html(f"<p>{told} It is at or above {SEPARATES} {inner}.</p>")


def _model(found: pd.DataFrame, axis: Axis, value: float) -> str:
    if axis.column == "acc" or found["acc"].isna().all():
        return ""
    return f", ACC {found[found[axis.column] == value]['acc'].mean():.0f}"
