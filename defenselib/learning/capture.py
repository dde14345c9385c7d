"""Training steps as CUDA graphs: recorded once an epoch, then each launched as one, where the environment asks for it.

`DEFENSELIB_CUDA_GRAPHS=1` does, in every process that inherits it. It is no part of an experiment: a graph launches the
kernels of the step that it was made of, with the same numbers. Only the learning rate is rounded to float32, as fused
optimizers read it from a device. Where a step cannot be recorded it runs as ever, after a warning that says why.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.learning.context import Context

SETTING = "DEFENSELIB_CUDA_GRAPHS"
WARM_UP = 3  # steps run as ever: they make the optimizer's state and let libraries choose their kernels
WORTH = 16  # steps below which a recording costs more than it saves
Step = Callable[..., Tensor]


_made = 0


def recordings() -> int:
    """Steps recorded so far in this process."""
    return _made


def wanted() -> bool:
    """Whether the environment asks for graphs."""
    return os.environ.get(SETTING, "0") not in ("", "0")


def captured(step: Step, steps: int, context: Context, optimizer: torch.optim.Optimizer, train: ImageSet) -> Step:
    """`step`, or where graphs are wanted and possible a `Recorded` one, for the `steps` steps of an epoch.

    step: tensors on the device to one tensor without gradient; all else that it reads stays where it is in memory, but
    for the learning rates of `optimizer`, and all that it draws comes from streams of `context`. It must not read the
    device. A schedule belongs outside.
    """
    if not wanted():
        return step
    reason = obstacle(steps, context, optimizer, train)
    if reason is None:
        return Recorded(step, context, optimizer)
    _say(reason)
    return step


def obstacle(steps: int, context: Context, optimizer: torch.optim.Optimizer, train: ImageSet) -> str | None:
    """Why a step cannot be recorded, or None."""
    if context.device.type != "cuda":
        return f"the device is {context.device}"
    if type(train.images) is not Tensor:
        return "the images lie in files"
    if not all(group.get("fused") for group in optimizer.param_groups):
        return f"{type(optimizer).__name__} is not fused"
    return f"an epoch has {steps} steps, fewer than {WORTH}" if steps < WORTH else None


class Recorded:
    """A step that is recorded after `WARM_UP` calls and launched as one from then on.

    Inputs of other shapes than those of the first call, such as a last, incomplete batch, run as ever. What it returns
    is valid until the next call.
    """

    def __init__(self, step: Step, context: Context, optimizer: torch.optim.Optimizer) -> None:
        self.step, self.context, self.optimizer = step, context, optimizer
        self.calls = 0
        self.shapes: list[torch.Size] = []
        self.inputs: list[Tensor] = []
        self.rates: list[Tensor] = []
        self.last: list[float] = []
        self.drawn: list[torch.Generator] = []
        self.launch: Callable[[], Tensor] | None = None
        self.side: Any = None  # the stream of warm-up and recording

    def __call__(self, *given: Tensor) -> Tensor:
        self.shapes = self.shapes or [item.shape for item in given]
        if [item.shape for item in given] != self.shapes or (self.calls > WARM_UP and self.launch is None):
            return self.step(*given)
        self.calls += 1
        if self.calls <= WARM_UP:
            return self.warm_up(given)
        if self.launch is None:
            self.launch = self.record(given)
            if self.launch is None:
                return self.step(*given)
        for kept, item in zip(self.inputs, given, strict=True):
            kept.copy_(item)
        self.follow_rates()
        return self.launch()

    def warm_up(self, given: Iterable[Tensor]) -> Tensor:
        """A step as ever, on the stream that is recorded later."""
        now = torch.cuda.current_stream(self.context.device)
        self.side = self.side or torch.cuda.Stream(self.context.device)
        before = {id(stream): stream.get_offset() for stream in self.context.streams()}  # type: ignore[attr-defined]
        self.side.wait_stream(now)
        with torch.cuda.stream(self.side):
            made = self.step(*given)
        now.wait_stream(self.side)
        made.record_stream(now)
        # A replay sets the place of every stream that it was told of: tell it of those from which the step draws.
        self.drawn = [
            stream
            for stream in self.context.streams()
            if stream.get_offset() != before.get(id(stream))  # type: ignore[attr-defined]
        ]
        return made

    def record(self, given: Iterable[Tensor]) -> Callable[[], Tensor] | None:
        """What launches the step; None, after a warning, where recording failed. Nothing is computed or drawn."""
        self.inputs = [item.clone() for item in given]
        graph = torch.cuda.CUDAGraph()
        now = torch.cuda.current_stream(self.context.device)
        before = [stream.clone_state() for stream in self.drawn]  # type: ignore[attr-defined]
        for stream in self.drawn:
            graph.register_generator_state(stream)
        try:
            # Other threads may use the device meanwhile: one of them runs the backward pass.
            with self.rates_as_tensors(), _recording(graph, self.side):
                output = self.step(*self.inputs)
        except RuntimeError as error:
            torch.cuda.set_stream(now)  # a recording that fails leaves its own
            for stream, state in zip(self.drawn, before, strict=True):
                stream.graphsafe_set_state(state)  # type: ignore[attr-defined]
            _say(" ".join(str(error).split())[:200])
            return None

        global _made
        _made += 1

        def launch() -> Tensor:
            graph.replay()
            return output

        return launch

    @contextmanager
    def rates_as_tensors(self) -> Any:
        """Inside, the optimizer reads its learning rates from tensors: what is recorded then follows them."""
        groups = self.optimizer.param_groups
        self.last = [float(group["lr"]) for group in groups]
        self.rates = [torch.tensor(rate, dtype=torch.float32, device=self.context.device) for rate in self.last]
        able = [group.get("capturable") for group in groups]
        try:
            for group, rate in zip(groups, self.rates, strict=True):
                group["lr"] = rate
                if "capturable" in group:  # Adam asks for it; its fused form keeps its state on the device anyway
                    group["capturable"] = True
            yield
        finally:
            for group, number, flag in zip(groups, self.last, able, strict=True):
                group["lr"] = number
                if flag is not None:
                    group["capturable"] = flag

    def follow_rates(self) -> None:
        """Bring what a schedule has set since to the device, without waiting for it."""
        now = [float(group["lr"]) for group in self.optimizer.param_groups]
        for kept, before, rate in zip(self.rates, self.last, now, strict=True):
            if rate != before:
                kept.fill_(rate)
        self.last = now


def _recording(graph: Any, stream: Any) -> Any:
    return torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")


def _say(reason: str) -> None:
    warnings.warn(f"eager: {SETTING} is set, but {reason}", stacklevel=3)
