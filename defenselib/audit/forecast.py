"""How long a training will take: its work in images, what an image costs on this machine, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from defenselib.audit.amount import Work
from defenselib.audit.methods import METHODS
from defenselib.data.tensors import to_float
from defenselib.learning.context import Context
from defenselib.learning.supervised import descend, make_optimizer

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


class Meter:
    """Counts the work that is done, stage by stage, and says how long the rest will take.

    It believes the measurement at the start, and more and more what the work itself has taken in this process.
    """

    TRUST = 0.05  # share of the work after which only its own pace counts

    def __init__(self, stages: Mapping[str, float], seconds_a_unit: float) -> None:
        self.stages = dict(stages)
        self.total = sum(stages.values()) or 1.0
        self.done = 0.0
        self._pace = seconds_a_unit
        self._began = time.monotonic()
        self._before = 0.0  # what earlier processes did

    def begin(self, stage: str, share: float) -> None:
        """A stage begins, of which a resumed run has a share behind it; all earlier ones are done."""
        before = self.done
        self.reach(stage, share)
        self._before += self.done - before  # none of it was done here: restored, or from the store

    def reach(self, stage: str, share: float) -> None:
        """So much of a stage is done, and all of those before it."""
        names = list(self.stages)
        if stage in names:
            earlier = sum(self.stages[name] for name in names[: names.index(stage)])
            self.done = max(self.done, earlier + share * self.stages[stage])

    @property
    def left(self) -> float:
        """Seconds that the rest will take."""
        here = self.done - self._before
        seen = (time.monotonic() - self._began) / here if here > 0 else self._pace
        trust = min(1.0, here / (self.TRUST * self.total))
        return (self.total - self.done) * (trust * seen + (1 - trust) * self._pace)


def spoken(seconds: float) -> str:
    """A length of time as it is said: "40 s", "12 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
