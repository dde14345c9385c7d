"""Which code made a result: a digest of the definitions that decide its numbers, wherever they stand."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from defenselib.experiments.digest.definitions import Definitions
from defenselib.experiments.digest.names import Key
from defenselib.experiments.digest.rules import Rules
from defenselib.experiments.digest.sources import Sources

ATTACK: Key = ("defenselib.attacks", "ATTACKS")
DEFENSE: Key = ("defenselib.defenses", "DEFENSES")
MODEL: Key = ("defenselib.models.networks", "MODELS")
REGISTRIES = (ATTACK, DEFENSE, MODEL)

# Handed to methods by whoever calls them, so that no method refers to them by name.
HANDED: tuple[Key, ...] = (
    ("defenselib.data.types", "Dataset"),
    ("defenselib.data.types", "ImageSet"),
    ("defenselib.data.types", "PoisonedDataset"),
    ("defenselib.learning.context", "Context"),
    ("defenselib.models.networks", "build_model"),
)
# What a cell does around its method.
ALWAYS: tuple[Key, ...] = (
    ("defenselib.attacks.poisoning", "poison"),
    ("defenselib.experiments.clean", "serve"),
    ("defenselib.experiments.measure.observer", "Observer"),
    ("defenselib.learning.evaluation", "evaluate"),
)
# What an Experiment's `measure` adds; accuracy and success rate are always there.
MEASURES: Mapping[str, Key] = {
    "ra": ("defenselib.experiments.measure.perturbed", "pgd10"),
    "losses": ("defenselib.experiments.measure.perturbed", "history_of"),
    "resistance": ("defenselib.experiments.measure.perturbed", "metrics_of"),
    "sce": ("defenselib.experiments.measure.perturbed", "arrays_of"),
    "recovered": ("defenselib.experiments.measure.perturbed", "recovered"),
}
LOOKS: Key = ("defenselib.experiments.measure.looks", "looks")
ORACLE: Key = ("defenselib.experiments.cell", "with_oracle")

# Checkers that return nothing: a call is a statement of its own.
STATEMENTS = (
    *("check_batch_sizes", "check_counts", "check_fields", "check_increasing", "check_not_negative", "check_positive"),
    "check_shares",
)

RULES = Rules(
    errors="defenselib.errors",
    checks={"check_choice": (1, "name"), "check_range": (1, "value")} | dict.fromkeys(STATEMENTS, (0, "method")),
    # Which data came out of them, the result says by a digest of its own.
    outside=("defenselib.data.load", "defenselib.data.info"),
    registries=REGISTRIES,
)


@cache
def today() -> Definitions:
    """The package as it lies on disk."""
    return of_sources({})


def of_sources(changed: Mapping[str, str | None]) -> Definitions:
    """The package with other texts for some modules (by dotted name; None: without it)."""
    return Definitions(Sources(Path(__file__).resolve().parents[1], changed), RULES)


def code_digest(
    attack: str,
    defense: str,
    diagnostic: str | None = None,
    *,
    model: str = "resnet18",
    measure: Collection[str] = (),
    upstream: bool = False,
    code: Definitions | None = None,
) -> str:
    """16 hexadecimal digits over all definitions that decide a result: those that its attack, its defense, its model,
    its measures and what every cell does reach; "unknown" for a method or a model that is no more.

    upstream: whether the cell starts from another cell's undefended model. code: of other sources than today's.
    """
    code = today() if code is None else code
    start = starts(attack, defense, diagnostic, model=model, measure=measure, upstream=upstream, code=code)
    return "unknown" if start is None else _joined(code, start)


def starts(
    attack: str,
    defense: str,
    diagnostic: str | None,
    *,
    model: str,
    measure: Collection[str],
    upstream: bool,
    code: Definitions,
) -> list[Key] | None:
    """The definitions that the reach of a result starts from; None for a method or a model that is no more."""
    entries = [_entry(code, ATTACK, attack), _entry(code, DEFENSE, defense), _entry(code, MODEL, model)]
    found = [*HANDED, *ALWAYS, *(MEASURES[name] for name in sorted(measure) if name in MEASURES)]
    found += [] if diagnostic is None else [ORACLE]
    if upstream:
        # A repair changes with the model that it repairs; without one, the cell is there for its trigger alone.
        found += [LOOKS] if defense == "none" else _entry(code, DEFENSE, "none") or []
    for keys in entries:
        if keys is None:
            return None
        found += keys
    return found


def code_of(experiment: Mapping[str, Any], code: Definitions | None = None) -> str:
    """`code_digest` of an experiment as `Resolved.describe` and a result's `experiment` tell it."""
    return code_digest(**chosen(experiment), code=code)


def stage_digest(make: Callable[..., Any], model: str) -> str:
    """16 hexadecimal digits over what the function of a shared stage and its model reach."""
    code = today()
    return _joined(code, [*_keys(code, make), *(_entry(code, MODEL, model) or ()), *HANDED])


def chosen(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """What of an experiment's description decides where its reach starts from."""
    names = ("attack", "defense", "diagnostic", "model", "measure")
    return {name: experiment[name] for name in names} | {"upstream": experiment["upstream"] is not None}


def _joined(code: Definitions, keys: Iterable[Key]) -> str:
    return hashlib.sha256("\n".join(map(code.digest, keys)).encode()).hexdigest()[:16]


def _entry(code: Definitions, registry: Key, name: str) -> list[Key] | None:
    """What a registry holds under a name; None if there is no such name."""
    key = (registry[0], f"{registry[1]}[{name}]")
    if key in code:
        return [key]
    # By whoever uses the library: the source of the registry does not know it.
    added = getattr(import_module(registry[0]), registry[1]).get(name)
    return None if added is None else list(_keys(code, added))


def _keys(code: Definitions, item: Any) -> Iterator[Key]:
    """The definitions of a function, of a class and its bases, of a method's class, of what a partial calls; none of
    what no file holds, such as a class in a notebook."""
    while isinstance(item, partial):
        item = item.func
    owner = getattr(item, "__self__", None)
    item = item if owner is None else owner if isinstance(owner, type) else type(owner)
    for part in getattr(item, "__mro__", (item,)):
        module, name = part.__module__, part.__qualname__.partition(".")[0]
        file = getattr(sys.modules.get(module), "__file__", None)
        if part is item and module not in code.sources and file is not None:
            module = f"guest {module}"  # a name that no import finds: what the package imports stays foreign
            code.sources.add(module, Path(file).read_text(encoding="utf-8"))
        if (module, name) in code:
            yield module, name
