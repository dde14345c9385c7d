"""Which stages a cell shares with others, by name: what a batch computes once, before it is computed."""

from __future__ import annotations

from collections.abc import Mapping

from defenselib.experiments.shared import ALWAYS, OF_A_DEFENSE
from defenselib.experiments.spec import Resolved, hash_of

# By method, the stages that it takes from the store's cache where they are there (first words of their keys).
OF_DEFENSES: Mapping[str, tuple[str, ...]] = {
    "aabl": ("naive", "distinguish"),
    "dbd": ("simclr",),
    "dbd-meta-split": ("simclr",),
    "dbr": ("distinguish",),
    "dst": ("distinguish", "ss-ctl", "simclr"),
    "mcr": ("mcr-curve",),
    "nad": ("nad-teacher",),
    "simclr-baseline": ("simclr",),
}
OF_ATTACKS: Mapping[str, tuple[str, ...]] = {
    "adaptive": ("surrogate", "adaptive"),
    "clb": ("surrogate", "clb"),
    "dynamic": ("iab-mask", "iab-joint"),
    "iab": ("iab-mask", "iab-joint"),
    "narcissus": ("surrogate", "narcissus"),
    "refool": ("refool",),
    "ssba": ("ssba",),
}


def shared_stages(resolved: Resolved) -> tuple[str, ...]:
    """Names of a cell's shared stages, `simclr-6f0e…`, whatever its seed. Two cells of one seed and the same name share
    the stage if their methods set it alike: what the method itself says of a stage is known only when it runs."""
    spec = {name: value for name, value in resolved.spec().items() if name != "seed"}
    named = (
        (OF_ATTACKS.get(resolved.attack.name, ()), ALWAYS),
        (OF_DEFENSES.get(resolved.defense.name, ()), (*ALWAYS, *OF_A_DEFENSE)),
    )
    found = []
    for stages, names in named:
        scope = hash_of({name: spec[name] for name in names if name in spec})[:8] if stages else ""
        found += [f"{stage}-{scope}" for stage in stages]
    return tuple(found)
