"""Defenses by name: one module a method family, one line here."""

from __future__ import annotations

from typing import Any

from defenselib.defenses.aabl import AABL
from defenselib.defenses.abl import ABL
from defenselib.defenses.adv_train import AdversarialTraining
from defenselib.defenses.anp import ANP
from defenselib.defenses.asd import ASD
from defenselib.defenses.base import CleanRequest, Defense, Fitted
from defenselib.defenses.bsd import BSD
from defenselib.defenses.cbd import CBD
from defenselib.defenses.contrastive_baselines import SimCLRBaseline, SupConBaseline
from defenselib.defenses.dbd import DBD
from defenselib.defenses.dbd_meta_split import DBDMetaSplit
from defenselib.defenses.dbr import DBR
from defenselib.defenses.dst import DST
from defenselib.defenses.fp import FP
from defenselib.defenses.ft import FT
from defenselib.defenses.mcr import MCR
from defenselib.defenses.nad import NAD
from defenselib.defenses.none import Undefended
from defenselib.defenses.spectral import Spectral
from defenselib.defenses.vab import VAB
from defenselib.errors import construct, unknown

DEFENSES: dict[str, type[Defense]] = {
    "none": Undefended,
    "ft": FT,
    "fp": FP,
    "nad": NAD,
    "anp": ANP,
    "mcr": MCR,
    "abl": ABL,
    "dbd": DBD,
    "dbd-meta-split": DBDMetaSplit,
    "cbd": CBD,
    "spectral": Spectral,
    "simclr-baseline": SimCLRBaseline,
    "supcon-baseline": SupConBaseline,
    "asd": ASD,
    "vab": VAB,
    "dst": DST,
    "dbr": DBR,
    "bsd": BSD,
    "adv-train": AdversarialTraining,
    "aabl": AABL,
}

__all__ = ["DEFENSES", "CleanRequest", "Defense", "Fitted", "available", "create"]


def available() -> tuple[str, ...]:
    """Names that `create` knows."""
    return tuple(DEFENSES)


def create(name: str, **hyper: Any) -> Defense:
    """The defense called `name` with the paper's hyper-parameters, except those given.

    Raises UnknownNameError for an unknown name or hyper-parameter, naming the nearest.
    """
    if name not in DEFENSES:
        raise unknown("defense", name, DEFENSES)
    return construct(DEFENSES[name], "defense", name, hyper)
