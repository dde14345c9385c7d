"""What an experiment comes down to in numbers, and the hash that names its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from defenselib.content import content_digest
from defenselib.experiments.fields import ATTACK_RESERVED, plain, settings

if TYPE_CHECKING:
    from defenselib.attacks.base import Attack
    from defenselib.defenses.base import Defense


@dataclass(frozen=True)
class Resolved:
    """An experiment in numbers. `hash` covers what decides the outcome and names the result.

    dataset: the data set's plain name; location: what loads it, a name or a path. train_size: images that are trained
    on. upstream: the run whose model this one starts from. location, asked, paper, profile and history_test are not
    hashed: two profiles or papers that agree in all numbers share results.
    """

    dataset: str
    location: str
    source: str
    model: str
    attack: Attack
    rate: float
    target: int | None
    count: str
    defense: Defense
    seed: int
    train_size: int
    profile: str
    history_test: int
    paper: str | None = None
    asked: str = ""
    limit: int | None = None
    subset_seed: int = 0
    holdout: int = 0
    width: int = 64
    precision: str = "fp32"
    stop_after: str | None = None
    measure: tuple[str, ...] = ("acc", "asr")
    diagnostic: str | None = None
    upstream: Resolved | None = None

    def spec(self) -> dict[str, Any]:
        """What is hashed: fields equal to their default are left out, so that new options orphan no result."""
        chosen = {name: getattr(self, name) for name in _HASHED_IF_SET if getattr(self, name) != _DEFAULTS[name]}
        spec = {
            **{name: getattr(self, name) for name in ("dataset", "source", "model", "rate", "target", "count", "seed")},
            **{name: plain(value) for name, value in chosen.items()},
            "attack": _method(self.attack, self.seed, False),
            "defense": _method(self.defense, self.seed, False),
        }
        if self.upstream is not None:
            spec["upstream"] = self.upstream.hash
        return spec

    def describe(self) -> dict[str, Any]:
        """Everything, defaults included, for whoever reads a result: its `experiment`."""
        names = ("dataset", "source", "limit", "subset_seed", "holdout", "train_size", "paper", "profile", "model")
        more = ("width", "rate", "target", "count", "precision", "seed", "stop_after", "measure", "diagnostic")
        attack = _method(self.attack, self.seed, True)
        defense = _method(self.defense, self.seed, True)
        return {
            **{name: plain(getattr(self, name)) for name in (*names, *more)},
            "asked": self.asked,
            "attack": attack["name"],
            "attack_version": attack["version"],
            "attack_args": attack["args"],
            "defense": defense["name"],
            "defense_version": defense["version"],
            "defense_args": defense["args"],
            "upstream": None if self.upstream is None else self.upstream.hash,
        }

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical JSON of `spec()`."""
        return hash_of(self.spec())

    @property
    def defense_label(self) -> str:
        """The defense's name, "asd+oracle" for a diagnostic."""
        return label_of(self.defense.name, self.diagnostic)

    @property
    def stem(self) -> str:
        """Name of the result's files without ending."""
        return self.stem_of(self.seed, self.hash)

    def stem_of(self, seed: int, key: str) -> str:
        """The name that its files have at another seed, of the hash `key`."""
        return f"{start_of(self.dataset, self.attack.name, self.defense_label, seed)}-{key}"


def _method(method: Attack | Defense, seed: int, defaults: bool) -> dict[str, Any]:
    """Name, version and hyper-parameters; of these an attack's size, plan and usual seed stand in the experiment."""
    from defenselib.attacks.base import Attack

    args = settings(method, ATTACK_RESERVED if isinstance(method, Attack) else (), defaults)
    if isinstance(method, Attack):
        if method.seed != seed:
            args["seed"] = method.seed
        if not defaults:
            # Another file of the same name is another attack, and the same file elsewhere is the same.
            args |= {name: content_digest(args[name]) for name in method.files()}
    return {"name": method.name, "version": method.version, "args": args}


_HASHED_IF_SET = ("limit", "subset_seed", "holdout", "width", "precision", "stop_after", "measure", "diagnostic")
_DEFAULTS = {name: Resolved.__dataclass_fields__[name].default for name in _HASHED_IF_SET}


def file_name(text: str) -> str:
    """`text` with everything replaced that a file's name should not hold."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in text)


def label_of(defense: str, diagnostic: str | None) -> str:
    """A defense's name in a result's file name, "asd+oracle" for a diagnostic."""
    return defense + ("" if diagnostic is None else f"+{diagnostic.split('-')[0]}")


def start_of(dataset: str, attack: str, label: str, seed: int) -> str:
    """What the name of a result's file says before its hash."""
    return f"{file_name(dataset)}-{attack}-{label}-s{seed}"


def hash_of(spec: Mapping[str, Any]) -> str:
    """Hash of a specification, whatever the order of its keys."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
