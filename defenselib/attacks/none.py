"""No attack: clean training data. Its success rate is that of a BadNets trigger which the model never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from defenselib.attacks.badnets import BadNets
from defenselib.attacks.base import Plan, Preset

_NOTHING = Plan(0.0, 3, "bernoulli-nontarget")


@dataclass(frozen=True, kw_only=True)
class NoAttack(BadNets):
    """Poisons nothing; at test time each paper's BadNets trigger is put on (BSD, Table 10)."""

    name: ClassVar[str] = "none"
    poisons: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Preset]] = {
        paper: replace(preset, plan=replace(preset.plan, rate=0.0)) for paper, preset in BadNets.presets.items()
    } | {
        # A-ABL prints no success rate without an attack: any patch will do, and BackdoorBench's is kept.
        "aabl": Preset(replace(BadNets.presets["aabl"].plan, rate=0.0), {"pattern": "white3"})
    }

    plan: Plan = _NOTHING
