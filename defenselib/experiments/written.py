"""An Experiment as JSON and back: every field that is not its default, so that another process runs the very same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from defenselib.errors import InvalidValueError
from defenselib.experiments.experiment import Experiment
from defenselib.experiments.fields import default_of, hyper_parameters, plain, typed


def as_dict(experiment: Experiment) -> dict[str, Any]:
    """The fields that are not their default, as JSON values."""
    pairs = ((item, getattr(experiment, item.name)) for item in dataclasses.fields(experiment))
    return {item.name: plain(value) for item, value in pairs if value != default_of(item)}


def to_json(experiment: Experiment) -> str:
    """One line, keys in order."""
    return json.dumps(as_dict(experiment), sort_keys=True, allow_nan=False)


def from_dict(content: Any, where: str = "specification") -> Experiment:
    """The Experiment of `as_dict`. Errors: UnknownNameError for a field that is none, InvalidValueError for a value of
    another type or range."""
    if not isinstance(content, Mapping):
        raise InvalidValueError(f"{where} is {content!r}, it must be a table of an experiment's fields")
    return Experiment(**typed(hyper_parameters(Experiment), content, where))


def from_json(text: str, where: str = "specification") -> Experiment:
    """The Experiment in a JSON text. Errors: as `from_dict`, and InvalidValueError for what is no JSON."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"{where} is no JSON: {error}") from error
    return from_dict(content, where)
