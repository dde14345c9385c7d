"""Where a number comes from: the results behind it, each with its file, command, code, machine and time."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from defenselib.experiments import Experiment
from defenselib.experiments.again import experiment_of
from defenselib.experiments.code_digest import code_of
from defenselib.experiments.fields import plain
from defenselib.experiments.result import Result
from defenselib.experiments.store import Store, default_stores, results_folder
from defenselib.papers.kit.frame import machine_of
from defenselib.plots import words

COMMITTED = "book/results"
# What the command line does not take as it is by default, and what it may leave unsaid.
ALWAYS = ("dataset", "attack", "defense", "profile")
FIELDS = ("seed", "model", "paper", "rate", "target", "count", "source", "holdout", "stop_after", "diagnostic")


@dataclass(frozen=True)
class Origin:
    """One result as a reader checks it. cell: what was trained, without its seed. command: runs it again; empty where
    nothing does. line: numbers, code (whether today's definitions made it, with their digests), machine, time, day and
    file from the repository's root, as HTML."""

    cell: str
    seed: int
    command: str
    line: str


def origin_of(result: Result) -> Origin:
    """What a reader must know to check a result or to run it again."""
    seed, today, experiment = int(result.experiment["seed"]), code_of(result.experiment), experiment_of(result)
    older = "" if result.code == today else f"; today's is {today}"
    code = f"{'older code' if older else 'today’s code'} (digest {result.code}{older})"
    said = (f"seed {seed}: {_numbers(result)}", code, _machine(result), f"{words.number(result.seconds, 0)} s")
    line = f"<li>{escape('; '.join(said))}; {result.created[:10]}; <code>{escape(_file(result))}</code></li>"
    return Origin(_cell(result), seed, "" if experiment is None else run_command(experiment), line)


def made_of(keys: Iterable[str], where: str, note: str = "", store: Store | None = None) -> str:
    """HTML for under a row: where the number stands in its paper, what must be said of it, then the results behind it,
    those that differ in the seed alone together. A result that the store has not is named as missing."""
    stores = store or default_stores()
    found = [(key, _origin(key, stores)) for key in keys]
    parts = [f"<p>{escape('. '.join(filter(None, (where, note))))}.</p>"] if where or note else []
    parts += [f"<p>Result {key} is not in the store.</p>" for key, origin in found if origin is None]
    known = [origin for _, origin in found if origin is not None]
    parts += [_together(list(mine)) for _, mine in groupby(known, key=_but_seed)]
    return f'<div class="origins">{"".join(parts)}</div>'


def _origin(key: str, store: Store) -> Origin | None:
    path = next(iter(store.files(key)), None)
    return None if path is None else _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _read(path: Path, changed: int) -> Origin | None:
    """Each file once, until it changes: the same result stands behind numbers of many tables."""
    result = Store(path.parents[1]).get(path.stem.rpartition("-")[2])
    return None if result is None else origin_of(result)


def _together(mine: Sequence[Origin]) -> str:
    """Some seeds of one cell: a line each, and one command."""
    first = mine[0]
    others = [f"--seed {one.seed}" for one in mine[1:]]
    again = f", then {' and '.join(others)}" if others else ""
    command = f"<code>{escape(first.command)}</code>{again}" if first.command else "no command of today's code gives it"
    return (
        f"<p><b>{escape(first.cell)}</b></p><ul>{''.join(one.line for one in mine)}</ul><p>Run it again: {command}</p>"
    )


def _but_seed(origin: Origin) -> tuple[str, str]:
    return origin.cell, origin.command.replace(f" --seed {origin.seed}", "")


def _cell(result: Result) -> str:
    told = result.experiment
    parts = [words.value(told[name], name) for name in ("dataset", "attack", "defense")]
    parts += [f"rate {words.percent(told['rate'])}"] if told["rate"] else []
    stage, _, epochs = (told["stop_after"] or "").partition(":")
    parts += [f"until the end of {words.value(stage, 'stage')}"] if stage and not epochs else []
    parts += [f"until epoch {epochs} of {words.value(stage, 'stage')}"] if epochs else []
    parts += [words.value(told["diagnostic"], "diagnostic")] if told["diagnostic"] else []
    return f"{', '.join(parts)}, profile {result.profile}"


def _numbers(result: Result) -> str:
    named = (("ACC", result.acc), ("ASR", result.asr), ("RA", result.ra))
    return ", ".join(f"{name} {value:.2f}" for name, value in named if not words.missing(value)) or "no ACC"


def _machine(result: Result) -> str:
    processor = result.machine.get("cpu")
    cores = machine_of(result)
    return cores if result.machine.get("gpu") or not processor else f"{processor}, {cores}"


def _file(result: Result) -> str:
    """The file from the repository's root; of a result of somebody's own, its place within the working store."""
    if result.path is None:
        return f"{result.stem}.json"
    below, committed = f"{result.path.parent.name}/{result.path.name}", results_folder()
    if committed is not None and result.path.parents[1].resolve() == committed.resolve():
        return f"{COMMITTED}/{below}"
    return f"{below} of the working store"


def run_command(experiment: Experiment) -> str:
    """`defenselib run --dataset cifar10 ...`, which asks for this very experiment."""
    told = {name: getattr(experiment, name) for name in ALWAYS}
    usual = Experiment()
    told |= {
        name: value
        for name in FIELDS
        if (value := getattr(experiment, name)) is not None and value != getattr(usual, name)
    }
    words = [part for name, value in told.items() for part in (f"--{name.replace('_', '-')}", _text(value))]
    if experiment.measure != usual.measure:
        words += [part for name in experiment.measure for part in ("--measure", name)]
    for kind in ("attack", "defense"):
        given = getattr(experiment, f"{kind}_args")
        words += [part for name, value in given.items() for part in (f"--{kind}-arg", f"{name}={_text(value)}")]
    return shlex.join(["defenselib", "run", *words])


def _text(value: Any) -> str:
    """A value as `parameters.convert` reads it."""
    found = plain(value)
    if isinstance(found, list):
        return ",".join(map(_text, found))
    return "none" if found is None else str(found).lower() if isinstance(found, bool) else str(found)
