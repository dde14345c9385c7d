"""The defenses that are offered for data of one's own (`methods.toml`): what each needs, its suspects, its score.

Offered are those that train on the suspect data; repairs of a finished model are not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from defenselib.defenses import DEFENSES
from defenselib.errors import InvalidValueError, unknown


@dataclass(frozen=True)
class Method:
    """A defense as it is offered.

    suspects: what the set of samples that it gives back is, in words. score: what it judges by, higher is more
    suspicious, as weights of the scores that it reports; None where it has none. score_words: what that is.
    passes: its hyper-parameters that count passes over the data, or moments in them. batches: batch sizes of passes
    whose number is tied to something else. looks: how often it looks at every image in a round, forward alone. stages:
    of its `Context`, in order, with the names that `experiments.schedule` has for what is done in them.
    """

    words: str
    stages: Mapping[str, tuple[str, ...]]
    passes: tuple[str, ...]
    suspects: str = ""
    score: Mapping[str, float] | None = None
    score_words: str = ""
    batches: tuple[str, ...] = ()
    looks: int = 0

    def scored(self, reported: Mapping[str, Tensor]) -> Tensor | None:
        """Its score of every sample (N,), from those that it reported by name, each (N,)."""
        if self.score is None:
            return None
        return reduce(torch.add, (weight * reported[name].float() for name, weight in self.score.items()))


def _offered() -> Iterator[tuple[str, Method]]:
    for name, told in tomllib.loads(Path(__file__).with_name("methods.toml").read_text(encoding="utf-8")).items():
        stages = {stage: tuple(names) for stage, names in told.pop("stages").items()}
        facts: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
        yield name, Method(stages=stages, **facts)


METHODS: Mapping[str, Method] = dict(_offered())


def needs_clean(name: str) -> bool:
    """Whether a defense asks for images that somebody vouches for."""
    return DEFENSES[name]().clean_request() is not None


def offered(clean: bool) -> tuple[str, ...]:
    """Names of the defenses that can be chosen with clean images at hand, or without."""
    return tuple(name for name in METHODS if clean or not needs_clean(name))


def check_defense(name: str, clean: bool) -> Method:
    """The method called `name`. Errors: UnknownNameError; InvalidValueError for one that needs clean images."""
    if name in DEFENSES and name not in METHODS:
        raise InvalidValueError(
            f"defense {name!r} is not offered for data of your own; choose one of {', '.join(offered(clean))}"
        )
    if name not in METHODS:
        raise unknown("defense", name, offered(clean))
    if needs_clean(name) and not clean:
        raise InvalidValueError(
            f"defense {name!r} needs images that you vouch for: give --clean DIR, with some of every class; without "
            f"them there are {', '.join(offered(clean))}"
        )
    return METHODS[name]
