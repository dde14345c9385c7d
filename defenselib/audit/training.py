"""A defense at work on data of one's own, with the `Context` that a run of the book has, and nothing that it should not
see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from defenselib.audit.amount import Work, costs, seconds_an_image
from defenselib.audit.methods import METHODS
from defenselib.cpu.devices import keep_memory
from defenselib.data.types import ImageSet
from defenselib.defenses.base import Fitted
from defenselib.experiments.code_digest import code_digest
from defenselib.experiments.spec import file_name, hash_of
from defenselib.experiments.store import Store
from defenselib.learning.context import Context, TensorDict
from defenselib.models import Classifier, build_model
from defenselib.seeds import spawn

# Of a folder of pictures nothing is known: the middle of the range, and about the spread that pictures have.
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
BAR = "{desc} {percentage:3.0f}%|{bar}| {remaining} left{postfix}"


@dataclass(frozen=True)
class Fit:
    """What a defense made of its training images.

    suspects: bool (N,). score: float (N,), higher is more suspicious; None for a method without one. target: the class
    that the method takes for the attacker's, if it looks for one. seconds: by stage. The model is on its device.
    """

    model: Classifier
    suspects: Tensor
    score: Tensor | None
    target: int | None
    seconds: dict[str, float]


@dataclass(frozen=True)
class Trainer:
    """One training: what is trained how, where its unfinished state lies, who is told how far it is.

    classes, image_size: of the network. flip: whether a mirrored image keeps its label. progress: show a bar with the
    time that is left.
    """

    work: Work
    classes: int
    image_size: int
    seed: int
    flip: bool
    device: torch.device
    store: Store
    key: str
    checkpoint_every: float = 60.0
    progress: bool = False

    def context(self, role: str = "defense", **more: Any) -> Watched:
        """The context of the method ("defense"), or of the undefended training that it starts from ("before")."""
        name, upstream = self.work.defense.name, self.work.before is not None
        made_by = f"{self.device.type}-{code_digest('none', name, model=self.work.model, upstream=upstream)}"
        model = partial(
            build_model, self.work.model, self.classes, self.image_size, width=self.work.width, mean=MEAN, std=STD
        )
        return Watched(
            model_factory=model,
            seed=self.seed,
            device=self.device,
            precision=self.work.precision,
            flip=self.flip,
            checkpoints=self.store.checkpoints(self.key) / made_by / role,
            checkpoint_every=self.checkpoint_every,
            cache=partial(_cached, self.store, made_by),
            **more,
        )

    def expected_seconds(self) -> float:
        """About how long it takes here, after a short measurement."""
        return sum(costs(self.work).values()) * seconds_an_image(self.context("forecast"), self.image_size)

    def fit(self, train: ImageSet, clean: ImageSet | None) -> Fit:
        """Train on `train`, and on the `clean` images where the method asks for some: they join the training set."""
        keep_memory()
        given, index = self._with_clean(train, clean)
        stages, recorder = costs(self.work), Recorder()
        shown = tqdm(total=sum(stages.values()), desc=self.work.defense.name, bar_format=BAR, disable=not self.progress,
                     smoothing=0)  # fmt: skip
        with shown as bar, _own_streams(self.device, spawn(self.seed, "global")):
            upstream = None
            if self.work.before is not None:
                before = self.context("before", stages=stages, bar=bar, prefix="before: ")
                upstream = self.work.before.fit(given, before.build_model, before)
            more: dict[str, Any] = {"observer": recorder, "clean": clean, "clean_index": index, "upstream": upstream}
            context = self.context(stages=stages, bar=bar, **more)
            fitted = self.work.defense.fit(given, context.build_model, context)
        seconds = ({} if upstream is None else before.seconds_by_stage) | context.seconds_by_stage
        return self._found(fitted, recorder, len(train), seconds)

    def _with_clean(self, train: ImageSet, clean: ImageSet | None) -> tuple[ImageSet, Tensor | None]:
        """The training set on the device with the clean images behind it, and where these stand in it."""
        if clean is None:
            return train.to(self.device).channels_last(), None
        both = ImageSet(torch.cat([train.images, clean.images]), torch.cat([train.labels, clean.labels]))
        index = torch.arange(len(train), len(both), device=self.device)
        return both.to(self.device).channels_last(), index

    def _found(self, fitted: Fitted, recorder: Recorder, count: int, seconds: dict[str, float]) -> Fit:
        assert isinstance(fitted.model, Classifier)
        suspects = torch.zeros(count, dtype=torch.bool)
        if fitted.suspects is not None:
            found = fitted.suspects.cpu()
            suspects[found[found < count]] = True
        score = METHODS[self.work.defense.name].scored(recorder.scores)
        return Fit(fitted.model.eval(), suspects, None if score is None else score[:count], recorder.target, seconds)


@dataclass
class Recorder:
    """Keeps the last of each of the scores that a method reports, and its guess of the target."""

    scores: dict[str, Tensor] = field(default_factory=dict)
    target: int | None = None

    def __call__(self, event: str, **what: Any) -> None:
        if event == "scores":
            self.scores[what["name"]] = what["values"].detach().float().cpu()
        elif event == "target":
            self.target = int(what["guess"])

    def state_dict(self) -> dict[str, Any]:
        return {"scores": self.scores, "target": self.target}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scores = {name: value.cpu() for name, value in state["scores"].items()}
        self.target = state["target"]


class Watched(Context):
    """A context that moves a bar of tqdm over the work of `stages`, in order. prefix: what stands in front of their
    names there."""

    def __init__(
        self, *, stages: Mapping[str, float] | None = None, bar: Any = None, prefix: str = "", **more: Any
    ) -> None:
        super().__init__(**more)
        self._stages, self._bar, self._prefix = dict(stages or {}), bar, prefix

    @property
    def seconds_by_stage(self) -> dict[str, float]:
        return {self._prefix + name: round(value, 3) for name, value in self.seconds.items()}

    def epochs(self, stage: str, n: int, **state: Any) -> Iterator[int]:
        begun = False
        for epoch in super().epochs(stage, n, **state):
            if not begun:
                self.reach(stage, epoch / n, restored=True)
            begun = True
            yield epoch
            self.reach(stage, (epoch + 1) / n)
        if not begun:
            self.reach(stage, 1.0, restored=True)

    def reach(self, stage: str, share: float, restored: bool = False) -> None:
        """So much of a stage is done, and all of those before it. What was restored, or came from the store, says
        nothing of the pace."""
        names, name = list(self._stages), self._prefix + stage
        if self._bar is None or self._bar.disable or name not in names:
            return
        earlier = sum(self._stages[item] for item in names[: names.index(name)])
        step = max(0.0, earlier + share * self._stages[name] - self._bar.n)
        if restored:
            self._bar.initial += step
        self._bar.set_postfix_str(f"{name}: {share:.0%}", refresh=False)
        self._bar.update(step)


@contextmanager
def _own_streams(device: torch.device, seed: int) -> Iterator[None]:
    """Layers such as dropout draw from torch's global stream; it is the training's inside, and put back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _cached(store: Store, made_by: str, key: str, make: Callable[[], TensorDict]) -> TensorDict:
    """A stage that a method shares with others in the book; here it is kept for a resumed run alone."""
    return store.cached(f"{file_name(key)[:40]}-{hash_of({'key': key, 'made_by': made_by})}", make)
