"""What BSD's printed numbers say about one another: DERs that do not follow from their parts, the best of each search.

Equation numbers are those of Shen et al., ICML 2025.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd

from defenselib.learning.evaluation import der
from defenselib.papers.kit import printed

KEY = "bsd"
HALF = 0.05  # all numbers that enter are printed with one decimal
# Where the undefended models of a table are printed, if not in itself.
UNDEFENDED = {
    "table-4": ("table-1",),
    "table-6": ("table-1",),
    "table-7": ("table-1",),
    "table-9": ("table-1", "table-2"),
}
# Appendix D.9: the searches behind Tables 2 and 3, by defense.
SEARCHES = {
    "table-2": {"fp": "table-13", "nad": "table-15", "abl": "table-17", "dbd": "table-19"},
    "table-3": {"fp": "table-14", "nad": "table-16", "abl": "table-18", "dbd": "table-20"},
}
AVERAGE = "average"


def undefended(table: str, dataset: str, attack: str, metric: str) -> float:
    """The printed number of the undefended model that DERs of `table` are taken against; NaN if there is none."""
    return printed.undefended(KEY, UNDEFENDED.get(table, (table,)), dataset, attack, metric)


@cache
def der_check(table: str) -> pd.DataFrame:
    """Every printed DER that is no average, indexed as in `printed.table`: dataset, attack, target, defense, variant,
    printed, expected (Eq. 12 from the ACC and ASR printed beside it), lowest and highest (what the rounding of these
    allows), doubtful (the printed number is out of reach even so)."""
    rows = printed.table(KEY, table)
    index = ["dataset", "attack", "target", "defense", "variant"]
    keyed = rows.assign(**{name: rows[name].astype(object).fillna("").astype(str) for name in index})
    numbers = keyed.pivot_table(index=index, columns="metric", values="published", aggfunc="first", dropna=False)
    found = {}
    for label, row in keyed[(keyed["metric"] == "der") & keyed["published"].notna()].iterrows():
        if AVERAGE in (row["attack"], row["target"]):
            continue
        acc, asr = (float(numbers.loc[tuple(row[index]), metric]) for metric in ("acc", "asr"))
        before = [undefended(table, row["dataset"], row["attack"], metric) for metric in ("acc", "asr")]
        low = der(before[0] + HALF, before[1] - HALF, acc - HALF, asr + HALF)
        high = der(before[0] - HALF, before[1] + HALF, acc + HALF, asr - HALF)
        value = float(row["published"])
        found[label] = {
            **{name: row[name] for name in index},
            "printed": value,
            "expected": der(before[0], before[1], acc, asr),
            "lowest": low,
            "highest": high,
            "doubtful": not low - HALF - 1e-9 <= value <= high + HALF + 1e-9,
        }
    return pd.DataFrame.from_dict(found, orient="index")


@cache
def der_tables() -> tuple[str, ...]:
    """The tables that print DERs."""
    return tuple(key for key in printed.tables(KEY) if (printed.table(KEY, key)["metric"] == "der").any())


def misprints() -> pd.DataFrame:
    """The doubtful DERs of all tables: table, dataset, attack, defense, variant, printed, expected."""
    parts = [check[check["doubtful"]].assign(table=key) for key in der_tables() for check in (der_check(key),)]
    columns = ["table", "dataset", "attack", "defense", "variant", "printed", "expected"]
    return pd.concat(parts, ignore_index=True)[columns]


@cache
def best_settings() -> pd.DataFrame:
    """The setting of each search (Tables 13 to 20) with the highest DER, and whether its ACC and ASR are what Table 2
    or 3 prints: table, defense, attack, setting (all that tie, in the order of the search), acc, asr, der, agrees."""
    rows = []
    for table, searches in SEARCHES.items():
        shown = printed.table(KEY, table)
        for defense, search in searches.items():
            grid = printed.table(KEY, search)
            for attack in dict.fromkeys(grid["attack"]):
                mine = grid[grid["attack"] == attack].pivot_table(
                    index="variant", columns="metric", values="published", sort=False
                )
                before = [undefended(table, "cifar10", attack, metric) for metric in ("acc", "asr")]
                rated = {
                    name: round(der(before[0], before[1], one["acc"], one["asr"]), 3) for name, one in mine.iterrows()
                }
                best = [str(name) for name, value in rated.items() if value == max(rated.values())]
                acc, asr = mine.loc[best[0], "acc"], mine.loc[best[0], "asr"]
                beside = shown[(shown["attack"] == attack) & (shown["defense"] == defense)].set_index("metric")
                same = all(abs(beside.loc[m, "published"] - v) < HALF for m, v in (("acc", acc), ("asr", asr)))
                rows.append(
                    {
                        **{"table": table, "defense": defense, "attack": attack, "setting": ", ".join(best)},
                        **{"acc": acc, "asr": asr, "der": rated[best[0]], "agrees": same},
                    }
                )
    return pd.DataFrame(rows)


def best_setting(table: str, defense: str, attack: str) -> dict[str, Any]:
    """The setting of the search that a number of Table 2 or 3 comes from, {"beta": "1e10"}; empty where nothing was
    searched."""
    return dict(_first_settings().get((table, defense, attack), {}))


@cache
def _first_settings() -> dict[tuple[str, str, str], dict[str, Any]]:
    """By table, defense and attack, the first of the best settings."""
    found = best_settings()
    keys = zip(found["table"], found["defense"], found["attack"], strict=True)
    return {key: printed.settings(setting.split(", ")[0]) for key, setting in zip(keys, found["setting"], strict=True)}
