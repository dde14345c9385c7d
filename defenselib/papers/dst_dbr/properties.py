"""D-ST's Table 4, the categories of the attacks, measured instead of ticked.

Each criterion of the paper becomes a question to the attack itself. What must be chosen, a threshold, is chosen here:
a trigger is a patch if it changes less than a quarter of the pixels, and visible if it changes some pixel by more than
32 of 255 grey levels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from defenselib import attacks
from defenselib.experiments.result import Result
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed, verdict
from defenselib.papers.kit.cells import Need, needs
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.grid import Grid
from defenselib.papers.kit.request import Request, Thin, one_seed
from defenselib.papers.undefended import Case, looks_of
from defenselib.plots import words as in_words

PATCH_SHARE = 0.25
VISIBLE = 32.0
KEY, EXHIBIT = "dst_dbr", "table-4"


def table_4(dataset: str = "cifar10", profile: str = "best", run: bool = False, store: Any = None) -> pd.DataFrame:
    """One row a printed tick: attack, criterion, printed, measured ("" where not run), agrees (True, False, None),
    note. Attacks run as D-ST runs them, where it does on this data set."""
    results: dict[str, Result | None] = {}
    made = []
    for row in frames.records(printed.table(KEY, EXHIBIT)):
        name, criterion, said = str(row["attack"]), str(row["criterion"]), str(row["published"])
        if name not in results:
            results[name] = looks_of(Case(name, KEY), dataset, profile, run, store)
        measured = _measure(criterion, name, results[name])
        note = "" if pd.isna(row["note"]) else str(row["note"])
        made.append((name, criterion, said, measured, measured == said if measured else None, note))
    return pd.DataFrame(made, columns=["attack", "criterion", "printed", "measured", "agrees", "note"])


def _measure(criterion: str, name: str, result: Result | None) -> str:
    kind = attacks.ATTACKS[name]
    if criterion == "label-consistency":
        return "clean" if kind.clean_label else "dirty"
    if criterion == "target-classes":
        return "all2all" if kind.all_to_all else "all2one"
    if result is None:
        return ""
    if criterion == "trigger-size":
        return "patch" if result.metrics["triggered_share"] < PATCH_SHARE else "blend"
    if criterion == "visibility":
        return "visible" if result.metrics["triggered_linf"] > VISIBLE else "invisible"
    if criterion == "variability":
        return "specific" if result.metrics["sample_specific"] else "agnostic"
    raise ValueError(f"unknown criterion {criterion!r} in {KEY} {EXHIBIT}")


@dataclass(frozen=True, kw_only=True)
class Categories(Exhibit):
    """Table 4: every tick of the paper, measured on the attack itself.

    What was measured stands under `reason`; `reproduced` is 1 where it is what is printed, 0 where not.
    """

    def grid(self, request: Request, everything: bool = False, sources: dict[str, str] | None = None) -> Grid:
        """Every attack is looked at once, at whatever seed and profile."""
        return Grid(self.paper, replace(request, seeds=None), one_seed, Thin(), sources)

    def _reproduce(self, request: Request) -> pd.DataFrame:
        profile = request.profile
        measured = table_4(profile=profile, run=request.run, store=request.store)
        # An attack counts from when it has been made once: what its code alone says of it is no evidence.
        made_once = measured[measured["criterion"] == "trigger-size"].set_index("attack")["measured"] != ""
        words: dict[Any, str] = {True: verdict.AGREES, False: verdict.DIFFERS}
        found = []
        for row in frames.records(measured):
            agrees = row["agrees"] if made_once[row["attack"]] and profile != "smoke" else None
            said = f"measured: {in_words.value(row['measured'], 'measured') or in_words.NONE}"
            made = frames.entry([] if agrees is None else [float(agrees)], reason=said)
            found.append({**made, "verdict": words.get(agrees, verdict.NOT_RUN)})
        return frames.finish(self._printed(), found, profile)


@needs.register
def _of_categories(exhibit: Categories, profile: str) -> list[Need]:
    rows = frames.records(exhibit._printed())
    return [Need(row, ((Case(str(row["attack"]), KEY).cell("cifar10", rate=0.0),),)) for row in rows]
