"""What results there are, what a paper still lacks at a profile, which data sets are at hand: as tables."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from defenselib.errors import DataError
from defenselib.experiments import Result, Store, default_stores, profiles
from defenselib.papers.costs import same_but_seed
from defenselib.report.settings import Settings, among, apart

if TYPE_CHECKING:
    from defenselib.papers.kit.exhibit import Paper

CELL = ["profile", "dataset", "attack", "defense"]


def holdings(store: Store | None = None) -> pd.DataFrame:
    """One row a cell: profile, dataset, attack, defense, setting, seeds, committed, working (counts), and older_code.

    setting: what cells of one profile, data set, attack and defense set otherwise than one another, in words.

    A result that was kept lies in both stores and counts as committed. older_code: results whose method changed since.
    """
    found = store or default_stores()
    results = list(found.results())
    cells: dict[tuple[object, ...], list[Result]] = {}
    rows = []
    for result in results:
        row = _origin(result, found)
        cells.setdefault(tuple(row[name] for name in CELL), []).append(result)
        rows.append(row)
    for result, row in zip(results, rows, strict=True):
        row["setting"] = among([result, *cells[tuple(row[name] for name in CELL)]])
    frame = _frame(rows)
    frame = frame.assign(working=~frame["committed"].astype(bool), older_code=frame["code"] == "older")
    return frame.groupby([*CELL, "setting", "cell"], sort=False, as_index=False).agg(
        seeds=("seed", lambda seeds: ", ".join(map(str, sorted(set(seeds))))),
        committed=("committed", "sum"),
        working=("working", "sum"),
        older_code=("older_code", "sum"),
    ).drop(columns="cell")  # fmt: skip


def gaps(paper: Paper, profile: str, store: Store | None = None) -> pd.DataFrame:
    """One row an exhibit: rows (of the printed table, or series of the figure), run, not_run, and why (most frequent
    reason first, with counts)."""
    rows = []
    for exhibit in paper.exhibits:
        frame = exhibit.reproduce(profile=profile, store=store)
        run = frame["reproduced"].notna()
        reasons = Counter(reason for reason in frame.loc[~run, "reason"] if reason).most_common()
        why = "; ".join(f"{reason} ({count})" for reason, count in reasons)
        counts = {"rows": len(frame), "run": int(run.sum()), "not_run": int((~run).sum())}
        rows.append({"exhibit": exhibit.key, **counts, "why": why})
    return pd.DataFrame(rows)


def data_sets(names: tuple[str, ...] = ()) -> pd.DataFrame:
    """Load each data set, all known ones if none is named: where, classes, train, test, source, digest, seconds.

    If one is missing, `note` says where it was looked for; one that nobody named and that would have to be decoded to
    gigabytes first is not loaded, and `note` says so. Nothing is downloaded. Errors: UnknownNameError for a name
    that is none.
    """
    from defenselib import data

    return pd.DataFrame([_data_set(name, bool(names)) for name in names or data.available()])


def _data_set(name: str, named: bool) -> dict[str, object]:
    from defenselib import data
    from defenselib.data import load

    started = time.perf_counter()
    try:
        listing = None if named else load.undecoded(name)
        if listing is not None:
            return {
                "data set": name,
                "where": str(listing.folder),
                "classes": str(len(listing.classes or ())),
                "train": str(listing.train.count),
                "test": str(0 if listing.test is None else listing.test.count),
                "note": f"{name} is not decoded yet; its first use does that, once, and so does defenselib data {name}",
            }
        found = data.load_dataset(name, fetch=False)
    except DataError as error:
        return {"data set": name, "note": str(error)}
    return {
        "data set": name,
        "where": "drawn" if name == "shapes" else str(load.find(name, None, fetch=False).folder),
        "classes": str(found.num_classes),
        "train": str(len(found.train)),
        "test": str(len(found.test)),
        "source": data.source_of(found),
        "digest": found.digest,
        "seconds": f"{time.perf_counter() - started:.2f}",
        "note": "",
    }


def provenance(store: Store | None = None, smoke: bool = False) -> pd.DataFrame:
    """One row a result, by profile: profile, dataset, attack, defense, setting, paper, seed, acc, asr, minutes
    (wall clock), cpu_minutes, memory_mb, python, torch, torchvision, numpy, defenselib, cpu, cores, threads, gpu, bf16,
    code ("current", "older"), digest (of the code), data_digest, source, created, committed, cell (the same for all
    seeds).

    setting: what is set otherwise than by today's recipe, in words (`settings.Settings`); of two results that differ in
    nothing else it differs. Nothing but the store is read, so no data need to be at hand.

    bf16 is "not recorded" for older results. smoke: with
    those that are no evidence.
    """
    found = store or default_stores()
    drawn = () if smoke else [name for name in profiles.available() if profiles.load(name).verdict == "none"]
    results = [result for result in found.results() if result.profile not in drawn]
    rows = [_origin(result, found) for result in results]
    names = [tuple(row[name] for name in NAMED) for row in rows]
    words = Settings(found)
    for row, said in zip(rows, apart(map(words.of, results), names, results), strict=True):
        row["setting"] = said
    return _frame(rows)


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    """The rows of `_origin` by profile."""
    order = {name: position for position, name in enumerate(profiles.available())}
    frame = pd.DataFrame(rows, columns=None if rows else ORIGIN)
    return frame.sort_values("profile", key=lambda names: names.map(order), kind="stable", ignore_index=True)


VERSIONS = ("python", "torch", "torchvision", "numpy", "defenselib")
MACHINE = ("cpu", "cores", "threads", "gpu", "bf16")
NAMED = ("profile", "dataset", "source", "attack", "defense", "paper", "seed")
ORIGIN = [
    *("profile", "dataset", "attack", "defense", "setting", "paper", "seed"),
    *("acc", "asr", "minutes", "cpu_minutes", "memory_mb"),
    *(*VERSIONS, *MACHINE),
    *("code", "digest", "data_digest", "source", "created", "committed", "cell"),
]


def _origin(result: Result, store: Store) -> dict[str, object]:
    cell = result.experiment
    row = {
        "profile": result.profile,
        "dataset": cell["asked"] or cell["dataset"],
        "attack": cell["attack"],
        "defense": f"{cell['defense']}+oracle" if cell["diagnostic"] else cell["defense"],
        "setting": "",
        "seed": cell["seed"],
        "committed": result.path is not None and not result.path.is_relative_to(store.root),
        "paper": cell["paper"] or "",
        "acc": result.acc,
        "asr": result.asr,
        "minutes": result.seconds / 60,
        "cpu_minutes": math.nan if result.cpu_seconds is None else result.cpu_seconds / 60,
        "memory_mb": result.peak_memory_mb,
        **{name: result.versions.get(name, "") for name in VERSIONS},
        **{name: result.machine.get(name) for name in MACHINE},
        "code": "current" if result.made_by_current_code() else "older",
        "digest": result.code,
        "data_digest": result.data_digest,
        "source": cell["source"],
        "created": result.created,
        "cell": same_but_seed(result.spec),
    }
    row["gpu"], row["bf16"] = row["gpu"] or "none", row["bf16"] or "not recorded"
    return {name: row[name] for name in ORIGIN}
