"""How much is trained on data of any size, a profile's schedules scaled by a stated rule, and how long that takes.

A profile's schedules are made for a training set of its own size (`reference`). On another number of images

1. what counts passes over the data is multiplied by reference / N, at most `MOST` times and to no fewer than `FEWEST`
   passes (or the profile's own number, if smaller): the optimiser then sees as many images in as many steps, and a
   poisoned share of the data as often;
2. rounds of a fixed number of iterations (MixMatch) stay as they are, for they do not depend on the data;
3. a pass that is tied to such a round has smaller batches on fewer images (of `SMALLEST` at least), for as many steps;
4. counts a class follow the mean size of a class;
5. crops are padded by an eighth of the side, as 4 of 32 pixels.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from defenselib import data as datasets
from defenselib.audit.methods import METHODS
from defenselib.data.tensors import to_float
from defenselib.defenses.base import Defense
from defenselib.experiments import profile as profiles
from defenselib.experiments.profile import PAPER_MODEL, Profile
from defenselib.experiments.resolve import Facts, make_defense
from defenselib.experiments.schedule import RULES, Sizes, Stage
from defenselib.learning.context import Context
from defenselib.learning.supervised import descend, make_optimizer

PROFILES = ("smoke", "demo", "laptop", "gpu", "paper")
MOST, FEWEST, SMALLEST = 20.0, 3, 16
SIDE, PADDING = 32, 4  # what the profiles' padding is made for
# Of what the methods ask before they know it: the share of poison that is taken for the forecast of the work alone.
SUPPOSED_POISON = 0.05
# The data set of the papers that a profile's schedules are made for, or what it runs in its place.
MODEL_DATA = "cifar10"
# What an image of a stage costs, in forward and backward passes of one image. MixMatch guesses labels on two views
# (forward alone, a third of the whole) and learns from three batches where two are counted; contrast has two views.
FACTORS: Mapping[str, float] = {
    **dict.fromkeys(("until OSS", "first pools", "completion", "drop", "class-aware", "class-agnostic"), 11 / 6),
    **dict.fromkeys(("meta-split", "mixmatch"), 11 / 6),
    **dict.fromkeys(("semi-contrast", "simclr"), 2.0),
    **dict.fromkeys(("Beneficiary, clean", "Beneficiary, suppression"), 2.5),
    "linear": 1 / 3,
}
_LOOK = 1 / 3  # at an image, forward alone: rankings, judgements


@dataclass(frozen=True)
class Work:
    """What is trained: the method, the undefended training that it starts from, if any, and the network.

    scale: factor of the passes. reference: training images that the profile's schedules are made for.
    """

    defense: Defense
    before: Defense | None
    model: str
    width: int
    precision: str
    profile: str
    images: int
    scale: float
    reference: int

    def stages(self) -> list[Stage]:
        """Steps and passes, stage by stage; the poison is taken to be a share of `SUPPOSED_POISON`."""
        sizes = Sizes(self.images, round(SUPPOSED_POISON * self.images))
        first = [] if self.before is None else RULES[self.before.name](self.before, sizes)
        return [
            *(dataclasses.replace(item, name=f"before: {item.name}") for item in first),
            *RULES[self.defense.name](self.defense, sizes),
        ]

    def describe(self) -> dict[str, Any]:
        """All that decides the outcome, as JSON can hold it."""
        described = {
            name: None if method is None else {"name": method.name, "version": method.version, **_plain(method)}
            for name, method in (("defense", self.defense), ("before", self.before))
        }
        return {**described, "model": self.model, "width": self.width, "precision": self.precision,
                "profile": self.profile}  # fmt: skip


def work_for(name: str, profile: str, images: int, classes: int, image_size: int) -> Work:
    """The amount of work for so many training images. Errors: UnknownNameError, InvalidValueError."""
    chosen = profiles.load(profile)
    reference, reference_classes = _reference(chosen)
    scale = min(MOST, reference / images)
    size = (images / classes) / (reference / reference_classes)

    def made(method: str) -> Defense:
        facts = Facts("folder", images, classes, "", image_size)
        share = reference / datasets.info(MODEL_DATA).train_size
        return _scaled(make_defense(method, {}, None, chosen, facts, share), scale, size, image_size)

    defense = made(name)
    return Work(
        defense=defense,
        before=made("none") if defense.post_training else None,
        model=chosen.model or PAPER_MODEL,
        width=64 if chosen.width is None else chosen.width,
        precision=chosen.precision,
        profile=chosen.name,
        images=images,
        scale=scale,
        reference=reference,
    )


def _reference(profile: Profile) -> tuple[int, int]:
    """Training images and classes that a profile's schedules are made for."""
    name, rule = profile.dataset(MODEL_DATA)
    facts = datasets.info(name)
    return rule.limit or facts.train_size, facts.num_classes


def _scaled(defense: Defense, scale: float, class_size: float, image_size: int) -> Defense:
    method, changes = METHODS[defense.name], {}
    for name in method.passes:
        changes[name] = _passes(getattr(defense, name), scale)
    for name in method.batches:
        batch = getattr(defense, name)
        changes[name] = min(batch, max(SMALLEST, round(batch / max(1.0, scale))))
    for item in dataclasses.fields(defense):
        value = getattr(defense, item.name)
        if item.metadata.get("per_class") and value:
            changes[item.name] = max(1, round(value * class_size))
    if getattr(defense, "padding", 0):
        changes["padding"] = max(1, round(defense.padding * image_size / SIDE))  # type: ignore[attr-defined]
    return dataclasses.replace(defense, **changes)


def _passes(value: int | tuple[int, ...], scale: float) -> Any:
    if isinstance(value, tuple):
        return tuple(_passes(item, scale) for item in value)
    return max(min(value, FEWEST), round(value * scale))


def _plain(method: Defense) -> dict[str, Any]:
    return {item.name: getattr(method, item.name) for item in dataclasses.fields(method)}


def costs(work: Work) -> dict[str, float]:
    """The work of every stage of the method's `Context`, in forward and backward passes of one image."""
    defense, method = work.defense, METHODS[work.defense.name]
    by_stage = {item.name: item.passes * work.images * FACTORS.get(item.name, 1.0) for item in work.stages()}
    if "adversarial" in by_stage:
        by_stage["adversarial"] *= 1 + getattr(defense, "steps", 0)
    if "meta-split" in by_stage:  # the plan counts one virtual model, and every late round trains one
        by_stage["one virtual model"] *= defense.epochs - defense.stage2_end  # type: ignore[attr-defined]
    found = {stage: sum(by_stage.get(name, 0.0) for name in names) for stage, names in method.stages.items()}
    if method.looks:
        found[defense.name] += method.looks * defense.epochs * work.images * _LOOK  # type: ignore[attr-defined]
    return found


def seconds_an_image(context: Context, image_size: int, batch: int = 64, patience: float = 1.0) -> float:
    """Seconds that one image takes, forward and backward, in this network on this device; measured for `patience`."""
    model = context.build_model("forecast")
    optimizer = make_optimizer(list(model.parameters()), "sgd", 1e-3)
    stream = torch.Generator(context.device).manual_seed(0)
    shape, device = (batch, 3, image_size, image_size), context.device
    images = torch.randint(0, 256, shape, generator=stream, device=device, dtype=torch.uint8)
    labels = torch.arange(batch, device=device) % model.head.out_features

    def step() -> None:
        with context.autocast():
            logits = model(to_float(images))
        descend(F.cross_entropy(logits.float(), labels), optimizer)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    step()
    done, started = 0, time.monotonic()
    while time.monotonic() - started < patience:
        step()
        done += batch
    return (time.monotonic() - started) / done


def spoken(seconds: float) -> str:
    """A length of time as it is said: "40 s", "12 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
