"""Attacks: triggers and the recipes of the papers that use them."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from defenselib.attacks.adaptive import Adaptive
from defenselib.attacks.badnets import BadNets, BadNetsAll2All
from defenselib.attacks.base import COUNTS, Attack, Plan, Preset
from defenselib.attacks.blend import Blend, BlendKitty, BlendNoise, BlendStrip
from defenselib.attacks.clb import LabelConsistent
from defenselib.attacks.iab import Dynamic, InputAware
from defenselib.attacks.narcissus import Narcissus
from defenselib.attacks.none import NoAttack
from defenselib.attacks.poisoning import poison
from defenselib.attacks.refool import Refool
from defenselib.attacks.sig import SIG
from defenselib.attacks.ssba import SampleSpecific
from defenselib.attacks.trojan import Trojan
from defenselib.attacks.wanet import WaNet
from defenselib.errors import InvalidValueError, check_choice, construct, unknown

__all__ = ["ATTACKS", "COUNTS", "Attack", "Plan", "Preset", "available", "create", "poison", "presets"]

ATTACKS: dict[str, type[Attack]] = {
    "none": NoAttack,
    "badnets": BadNets,
    "badnets-all2all": BadNetsAll2All,
    "trojan": Trojan,
    "blend": Blend,
    "blend-kitty": BlendKitty,
    "blend-noise": BlendNoise,
    "blend-strip": BlendStrip,
    "wanet": WaNet,
    "iab": InputAware,
    "dynamic": Dynamic,
    "refool": Refool,
    "clb": LabelConsistent,
    "sig": SIG,
    "ssba": SampleSpecific,
    "narcissus": Narcissus,
    "adaptive": Adaptive,
}


def available() -> tuple[str, ...]:
    """The names that `create` knows."""
    return tuple(ATTACKS)


def presets(name: str) -> tuple[str, ...]:
    """The papers (or variants of papers) that run the attack `name`, the default first."""
    known = tuple(ATTACKS[check_choice("attack", name, ATTACKS)].presets)
    return tuple(sorted(known, key=lambda key: key != "asd"))


def create(name: str, image_size: int = 32, seed: int = 0, preset: str | None = None, **hyper: Any) -> Attack:
    """The attack `name` for square images of `image_size` pixels, as the paper `preset` runs it.

    preset: a paper's key; default "asd" where ASD runs the attack, else the first paper that does. It fixes trigger,
    strength, and `plan` (rate, target, counting rule). `hyper` overrides single hyper-parameters.
    Raises UnknownNameError for an unknown name, preset or hyper-parameter, InvalidValueError for a bad value.
    """
    known = presets(name)
    if preset is not None and preset not in known:
        raise unknown(f"paper (preset) of attack {name!r}:", preset, known)
    if isinstance(image_size, bool) or not isinstance(image_size, Integral):
        raise InvalidValueError(f"image_size is {image_size!r}, it must be a whole number of pixels")
    cls = ATTACKS[name]
    recipe = cls.presets[preset or known[0]].at(int(image_size)) if known else {}
    return construct(cls, "attack", name, {**recipe, **hyper, "image_size": image_size, "seed": seed})
