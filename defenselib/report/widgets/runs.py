"""Follow a training run epoch by epoch: accuracy, attack success, poison in the clean pool."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from defenselib import attacks
from defenselib import defenses as registry
from defenselib.experiments.result import Result
from defenselib.experiments.schedule import PAPERS
from defenselib.experiments.store import Store
from defenselib.plots import style
from defenselib.report.html import Html
from defenselib.report.widgets import evidence
from defenselib.report.widgets.client import Client, number, script

COLUMNS = ("acc", "asr", "clean_size", "clean_poisoned")
# The splits of ASD (Sec. 4.2) are one stage of training; each ends at an epoch that its settings name.
SPLITS = {"class-aware": "stage1_end", "class-agnostic": "stage2_end", "meta-split": "epochs"}


def training_runs(defenses: Sequence[str] | None = None, train: str = "", store: Store | None = None) -> Client | Html:
    """The widget for some defenses (all of them), over the results with a history that the store holds, each profile by
    itself.

    train: the profile at which a method without any result is trained; empty: none is.
    """
    found = evidence.best(list(defenses or registry.available()), has_history, train, store, apart=True)
    methods = [
        {"name": style.label(name), "runs": [_run(words, result) for words, result in results.items()]}
        for name, results in found.items()
    ]
    if not methods:
        return Html("<p>No run with a history is in the store.</p>")
    return Client(name="run", _esm=script("runs.js"), data={"methods": methods, "start": _start(found)})


def has_history(result: Result) -> bool:
    """Whether accuracy was looked at more than once on the way."""
    return sum("acc" in row for row in result.history) > 1


def _start(found: Mapping[str, Mapping[str, Result]]) -> int:
    """The first method to show: one of the papers' own that divides the data, with results that are evidence, if there
    is any."""
    for place, (name, results) in enumerate(found.items()):
        first = next(iter(results.values()))
        divides = sum("clean_size" in row for row in first.history) > 1
        if name in PAPERS and first.profile not in evidence.DRAWN and divides:
            return place
    return 0


def _run(name: str, result: Result) -> dict[str, Any]:
    """Name, evidence, final numbers, what it may be held against, and a row an epoch: stage, epoch, acc, asr, pool,
    poison in it (None: not recorded)."""
    rows = [
        [_stage(row, result), int(row["epoch"]), *(number(row.get(column, float("nan")), 6) for column in COLUMNS)]
        for row in result.history
        if "acc" in row
    ]
    poisoned = result.experiment["attack"] != "none"
    return {
        "name": name,
        "evidence": evidence.words_of(result),
        "acc": number(result.acc, 4),
        "asr": number(result.asr, 4) if poisoned else None,
        "poisoned": result.poisoned_count,
        "field": _field(result),
        "poison": _poison(result),
        "poison_words": _poison_words(result),
        "rows": rows,
    }


def _stage(row: Mapping[str, Any], result: Result) -> str:
    settings = result.experiment["defense_args"] if row["stage"] == "asd" else {}
    splits = (name for name, end in SPLITS.items() if row["epoch"] < settings.get(end, 0))
    return str(next(splits, row["stage"]))


def _field(result: Result) -> str:
    """Runs of one field may stand side by side: the same images, network and profile, an attack of the same name."""
    asked = result.experiment
    names = ("dataset", "source", "train_size", "model", "width", "attack")
    return "/".join([result.profile, *(str(asked[name]) for name in names)])


def _poison(result: Result) -> str:
    """What is the same where two runs have the same poison."""
    asked = result.experiment
    return json.dumps([asked[name] for name in ("attack", "attack_args", "rate", "target", "count")])


def _poison_words(result: Result) -> str:
    """The attack as this paper runs it: with a name in common, papers differ in trigger, rate and target."""
    asked = result.experiment
    if asked["attack"] == "none":
        return "no poison"
    target = "the next class" if asked["target"] is None else f"class {asked['target']}"
    whose = style.label(asked["paper"] or attacks.presets(asked["attack"])[0])
    return f"{100 * asked['rate']:g} % poison towards {target}, the attack as in {whose}"
