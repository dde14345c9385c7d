"""What a schedule costs at least: the multiply-adds of one image through a network, counted on the network itself,
times what the optimiser's steps send through it.

A floor leaves out whatever only ranks samples or measures: the passes that order a training set, the search of A-ABL's
split, the curves. It counts the layers with weights alone, no normalisation, no augmentation, no loading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from defenselib.experiments.result import Result
from defenselib.experiments.schedule import RULES, Sizes, rule_of
from defenselib.learning.semi_supervised import MixMatch

if TYPE_CHECKING:
    from torch import Tensor, nn

MIXED_VIEWS = MixMatch.views  # of an unlabelled sample


@dataclass(frozen=True)
class Adds:
    """Multiply-adds of one image through a network: all layers, and the first one, whose input needs no gradient."""

    forward: float
    first: float

    @property
    def backward(self) -> float:
        """Into the weights of every layer, and into the maps between them."""
        return 2 * self.forward - self.first

    @property
    def attack(self) -> float:
        """A gradient on the image: forward, and back through every layer, into no weight."""
        return 2 * self.forward


@dataclass(frozen=True)
class Passes:
    """What each sample that the optimiser sees sends through the network: passes forward, passes back, and gradients on
    the image."""

    forward: float = 1.0
    backward: float = 1.0
    attack: float = 0.0

    def of(self, adds: Adds) -> float:
        return self.forward * adds.forward + self.backward * adds.backward + self.attack * adds.attack


Rule = Callable[[Any], Passes]
# A labelled sample is seen once; of an unlabelled one both views are, for its guessed label and for the step.
MIXMATCH = Passes((1 + 2 * MIXED_VIEWS) / 2, (1 + MIXED_VIEWS) / 2)
PAIR, HEAD, TWO_NETWORKS = Passes(2.0, 2.0), Passes(1.0, 0.0), Passes(2.0, 1.0)


def _beneficiary(d: Any) -> Passes:
    looks = 2 if d.augmentation in ("attentionmix", "attentive-cutmix") else 1  # attention is a pass of its own
    return Passes(d.views * looks, d.views)


def _adversarial(d: Any) -> Passes:
    return Passes(attack=d.steps)


# By method and stage, as `schedule.RULES` names them; what is not here is one pass forward and one back.
PASSES: Mapping[tuple[str, str], Passes | Rule] = {
    **{("asd", name): MIXMATCH for name in ("class-aware", "class-agnostic", "meta-split")},
    ("asd", "one virtual model"): HEAD,  # at least: its last layers learn
    **{("bsd", name): MIXMATCH for name in ("until OSS", "first pools", "completion", "drop")},
    **{(name, "mixmatch"): MIXMATCH for name in ("dbd", "dbd-meta-split")},
    ("dbd-meta-split", "one virtual model"): HEAD,
    **{(name, "simclr"): PAIR for name in ("dbd", "dbd-meta-split", "simclr-baseline")},
    ("supcon-baseline", "supcon"): PAIR,
    ("dst", "semi-contrast"): PAIR,
    **{(name, "linear"): HEAD for name in ("dst", "dbd", "dbd-meta-split", "simclr-baseline", "supcon-baseline")},
    ("vab", "Beneficiary, clean"): _beneficiary,
    ("vab", "Beneficiary, suppression"): _beneficiary,
    ("aabl", "adversarial"): _adversarial,
    ("adv-train", "adversarial"): _adversarial,
    ("cbd", "train"): TWO_NETWORKS,
    ("nad", "distil"): TWO_NETWORKS,
}


@cache
def adds_of(model: str, classes: int, image_size: int, width: int) -> Adds:
    """Counted by hooks while one image passes through the network."""
    import torch
    from torch import nn

    from defenselib.models import build_model

    found: list[float] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        found.append(float(made[0].numel() * weight[0].numel()))

    network = build_model(model, classes, image_size, width).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    with torch.no_grad():
        network(torch.zeros(1, 3, image_size, image_size))
    return Adds(sum(found), found[0])


def floor(defense: str, settings: Any, sizes: Sizes, adds: Adds) -> float:
    """Multiply-adds of all stages of a method, without those of a model that it repairs; settings: its hyper-parameters
    by name. Errors: InvalidValueError for a method without a schedule."""
    whole = 0.0
    for stage in rule_of(defense)(settings, sizes):
        rule = PASSES.get((defense, stage.name), Passes())
        passes = rule if isinstance(rule, Passes) else rule(settings)
        times = settings.epochs - settings.stage2_end if stage.name == "one virtual model" and defense == "asd" else 1
        whole += times * stage.passes * sizes.total * passes.of(adds)
    return whole


def floor_of(result: Result) -> float:
    """Multiply-adds that a finished cell's schedule needs at least; NaN for a method without a schedule."""
    from defenselib import data, defenses

    told = result.experiment
    if told["defense"] not in RULES:
        return math.nan
    about = data.info(told["dataset"])
    adds = adds_of(told["model"], about.num_classes, about.image_size, int(told["width"]))
    sizes = Sizes(int(told["train_size"]), result.poisoned_count)
    return floor(told["defense"], defenses.create(told["defense"], **told["defense_args"]), sizes, adds)
