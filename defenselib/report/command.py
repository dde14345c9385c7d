"""An Experiment as the command line that runs it."""

from __future__ import annotations

import shlex
from typing import Any

from defenselib.experiments import Experiment
from defenselib.experiments.fields import plain

# What the command line does not take as it is by default, and what it may leave unsaid.
ALWAYS = ("dataset", "attack", "defense", "profile")
FIELDS = ("seed", "model", "paper", "rate", "target", "count", "source", "holdout", "stop_after", "diagnostic")


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
