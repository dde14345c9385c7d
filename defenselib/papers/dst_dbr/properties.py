"""D-ST's Table 4, the categories of the attacks, measured instead of ticked.

Each criterion of the paper becomes a question to the attack itself. What must be chosen, a threshold, is chosen here:
a trigger is a patch if it changes less than a quarter of the pixels, and visible if it changes some pixel by more than
32 of 255 grey levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from defenselib import attacks
from defenselib.papers.kit import printed
from defenselib.papers.undefended import Case, looks_of

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

PATCH_SHARE = 0.25
VISIBLE = 32.0
KEY, EXHIBIT = "dst_dbr", "table-4"


def table_4(dataset: str = "cifar10", profile: str = "best", run: bool = False, store: Any = None) -> pd.DataFrame:
    """One row a printed tick: attack, criterion, printed, measured ("" where not run), agrees (True, False, None),
    note. Attacks run as D-ST runs them, where it does on this data set."""
    rows = printed.table(KEY, EXHIBIT)
    results: dict[str, Result | None] = {}
    made = []
    for row in rows.to_dict("records"):
        name, criterion = str(row["attack"]), str(row["variant"]).partition("=")[2]
        if name not in results:
            results[name] = (
                looks_of(Case(name, KEY), dataset, profile, run, store) if name in attacks.available() else None
            )
        measured = _measure(criterion, name, results[name])
        agrees = None if not measured else measured == str(row["published"])
        note = "" if pd.isna(row["note"]) else str(row["note"])
        made.append((name, criterion, str(row["published"]), measured, agrees, note))
    return pd.DataFrame(made, columns=["attack", "criterion", "printed", "measured", "agrees", "note"])


def _measure(criterion: str, name: str, result: Result | None) -> str:
    if name not in attacks.available():
        return ""
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
