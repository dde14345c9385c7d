"""Which stages a cell shares with others, by name: what a batch computes once, before it is computed."""

from __future__ import annotations

from collections.abc import Mapping

from defenselib.attacks import Attack
from defenselib.defenses import Defense
from defenselib.defenses.aabl import AABL, DST_PARTS
from defenselib.defenses.dst import DST
from defenselib.experiments.shared import ALWAYS, OF_A_DEFENSE
from defenselib.experiments.spec import Resolved, hash_of

# By method, the stages that it takes from the store's cache where they are there (first words of their keys).
OF_DEFENSES: Mapping[str, tuple[str, ...]] = {
    "dbd": ("simclr",),
    "dbd-meta-split": ("simclr",),
    "dbr": ("distinguish",),
    "mcr": ("mcr-curve",),
    "nad": ("nad-teacher",),
    "simclr-baseline": ("simclr",),
}
OF_ATTACKS: Mapping[str, tuple[str, ...]] = {
    "adaptive": ("surrogate", "adaptive"),
    "clb": ("surrogate", "clb"),
    "dynamic": ("iab-mask", "iab-joint", "dynamic"),
    "iab": ("iab-mask", "iab-joint", "iab"),
    "narcissus": ("surrogate", "narcissus"),
    "ssba": ("ssba",),
}
# By the setting that decides it: how D-ST trains its extractor.
OF_EXTRACTORS: Mapping[str, tuple[str, ...]] = {"ss-ctl": ("ss-ctl",), "ctl": ("simclr",)}


def stages_of(method: Attack | Defense) -> tuple[str, ...]:
    """The first words of the keys by which an attack's preparation or a defense asks for shared stages."""
    match method:
        case Attack():
            return OF_ATTACKS.get(method.name, ())
        case AABL():
            return ("distinguish",) if method.split in DST_PARTS else ("naive",)
        case DST():
            return ("distinguish", *OF_EXTRACTORS.get(method.extractor, ()))
    return OF_DEFENSES.get(method.name, ())


def shared_stages(resolved: Resolved) -> tuple[str, ...]:
    """Names of a cell's shared stages, `simclr-6f0e…`, whatever its seed. Two cells of one seed and the same name share
    the stage if their methods set it alike: what the method itself says of a stage is known only when it runs."""
    spec = {name: value for name, value in resolved.spec().items() if name != "seed"}
    named = ((stages_of(resolved.attack), ALWAYS), (stages_of(resolved.defense), (*ALWAYS, *OF_A_DEFENSE)))
    found = []
    for stages, names in named:
        scope = hash_of({name: spec[name] for name in names if name in spec})[:8] if stages else ""
        found += [f"{stage}-{scope}" for stage in stages]
    return tuple(found)
