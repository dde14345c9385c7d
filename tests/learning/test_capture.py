"""Training steps as CUDA graphs. What needs a GPU is marked so; the rest is tried with a graph that only pretends."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from defenselib.bench.loops import LOOPS, Bench, Size
from defenselib.data.augment.crop_flip import Augment
from defenselib.experiments import Experiment
from defenselib.learning import capture
from defenselib.learning.capture import Recorded, captured
from defenselib.learning.supervised import Schedule, make_optimizer, supervised_epoch

SIZE = Size("resnet10", 8, "fp32", 8, 8, 8)
CAPTURED = [name for name in LOOPS if name not in ("ranking (ASD, BSD, DBD)", "ASD: UDA", "ASD: ReMixMatch",
            "A-ABL: split", "D-ST: linear", "DBD: linear")]  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(capture.SETTING, "1")


class Pretended(Recorded):
    """Records by remembering, launches by doing the step on the kept inputs with the kept rates."""

    launches = 0

    def warm_up(self, given: Any) -> Tensor:
        return self.step(*given)

    def record(self, given: Any) -> Callable[[], Tensor]:
        self.inputs = [item.clone() for item in given]
        with self.rates_as_tensors():
            rates = [group["lr"] for group in self.optimizer.param_groups]
            assert all(isinstance(rate, Tensor) for rate in rates)

        def launch() -> Tensor:
            Pretended.launches += 1
            now = [group["lr"] for group in self.optimizer.param_groups]
            assert [rate.item() for rate in rates] == pytest.approx(now)
            return self.step(*self.inputs)

        return launch


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, asked: None) -> type[Pretended]:
    monkeypatch.setattr(capture, "obstacle", lambda *given: None)
    monkeypatch.setattr(capture, "Recorded", Pretended)
    monkeypatch.setattr(Pretended, "launches", 0)
    return Pretended


def epochs(schedule: str = "constant", samples: int = 8 * 8 + 3) -> tuple[list[float], dict[str, Tensor]]:
    """Two epochs with an incomplete batch at the end, at a rate that changes from step to step."""
    bench = Bench.of(SIZE, steps=12)
    model = bench.context.build_model()
    optimizer = make_optimizer(list(model.parameters()), "sgd", 0.0625)
    falling = Schedule(schedule).attach(optimizer, 2, -(-samples // 8))
    losses = [
        supervised_epoch(model, optimizer, bench.first(samples), bench.context, Augment(), 8, falling) for _ in range(2)
    ]
    return losses, dict(model.state_dict())


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_last_batch_and_rates_change_nothing(
    schedule: str, pretended: type[Pretended], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, state = epochs(schedule)
    assert pretended.launches == 2 * (8 - capture.WARM_UP)  # neither the first steps nor the incomplete batch
    monkeypatch.delenv(capture.SETTING)
    expected, weights = epochs(schedule)
    assert pretended.launches == 2 * (8 - capture.WARM_UP)
    assert losses == expected and all(torch.equal(state[name], weights[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURED)
def test_inputs_are_all_that_tells_one_step_from_the_next(
    name: str, pretended: type[Pretended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step reads what changes from its inputs, whose memory stays: kept and overwritten, they give the same."""
    recorded = LOOPS[name](Bench.of(SIZE, steps=6))(6)
    assert pretended.launches == 6 - capture.WARM_UP
    monkeypatch.delenv(capture.SETTING)
    plain = LOOPS[name](Bench.of(SIZE, steps=6))(6)
    if not isinstance(plain, torch.nn.Module):
        assert recorded == plain


def test_without_the_setting_a_step_stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench.of(SIZE, steps=2)
    optimizer = make_optimizer(list(bench.context.build_model().parameters()), "sgd", 0.1)
    for value in ("", "0", None):
        monkeypatch.delenv(capture.SETTING) if value is None else monkeypatch.setenv(capture.SETTING, value)
        assert captured(torch.relu, 100, bench.context, optimizer, bench.train) is torch.relu


def test_a_step_that_cannot_be_recorded_runs_as_ever_and_says_why(asked: None) -> None:
    bench = Bench.of(SIZE, steps=2)
    optimizer = make_optimizer(list(bench.context.build_model().parameters()), "sgd", 0.1)
    with pytest.warns(UserWarning, match=r"eager: DEFENSELIB_CUDA_GRAPHS is set, but the device is cpu"):
        assert captured(torch.relu, 100, bench.context, optimizer, bench.train) is torch.relu


def test_the_setting_is_no_part_of_an_experiment(asked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Experiment("shapes", attack="badnets", defense="asd", profile="smoke")
    key = one.resolve().hash
    monkeypatch.delenv(capture.SETTING)
    assert Experiment("shapes", attack="badnets", defense="asd", profile="smoke").resolve().hash == key


def test_rates_are_numbers_again_after_recording() -> None:
    bench = Bench.of(SIZE, steps=2)
    adam = make_optimizer(list(bench.context.build_model().parameters()), "adam", 0.1)
    recorded = Recorded(torch.relu, bench.context, adam)
    with recorded.rates_as_tensors():
        assert isinstance(adam.param_groups[0]["lr"], Tensor) and adam.param_groups[0]["capturable"]
    assert adam.param_groups[0]["lr"] == 0.1 and not adam.param_groups[0]["capturable"]
    adam.param_groups[0]["lr"] = 0.05
    recorded.follow_rates()
    assert recorded.rates[0].item() == pytest.approx(0.05)


@contextmanager
def same_kernels() -> Any:
    """Kernels that sum in a fixed order, chosen without measuring."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", CAPTURED)
def test_a_graph_computes_what_the_step_does_bit_for_bit(
    name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs, so that a second recording follows on a first."""
    size = Size("resnet18", 16, precision, 32, 32, 32)
    runs = []
    for graphs in ("0", "1"):
        monkeypatch.setenv(capture.SETTING, graphs)
        made = capture.recordings()
        with same_kernels(), warnings.catch_warnings():
            warnings.simplefilter("error")
            bench = Bench.of(size, "cuda", steps=24)
            steps = LOOPS[name](bench)
            results = [steps(20), steps(24)]
        assert capture.recordings() - made == (2 if graphs == "1" else 0)
        runs.append((results, [stream.get_state() for stream in bench.context.streams()]))
    (eager, drawn), (graph, drawn_too) = runs
    for one, other in zip(eager, graph, strict=True):
        if isinstance(one, torch.nn.Module):
            state = other.state_dict()
            assert all(torch.equal(value, state[key]) for key, value in one.state_dict().items())
        else:
            assert one == other
    assert all(torch.equal(one, other) for one, other in zip(drawn, drawn_too, strict=True))


@pytest.mark.gpu
def test_a_schedule_by_batch_is_followed_by_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """onecycle, as the profile `gpu` has it, in rates that float32 holds."""
    found = []
    for graphs in ("0", "1"):
        monkeypatch.setenv(capture.SETTING, graphs)
        with same_kernels():
            bench = Bench.of(Size("resnet18", 16, "bf16", 32, 32, 32), "cuda", steps=24)
            model = bench.context.build_model()
            optimizer = make_optimizer(list(model.parameters()), "sgd", 1.0)
            rates = [2.0**-exponent for exponent in range(4, 24)] * 3
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step, rates=rates: rates[step])
            losses = [
                supervised_epoch(model, optimizer, bench.first(650), bench.context, Augment(), 32, schedule)
                for _ in range(2)
            ]
        found.append((losses, dict(model.state_dict())))
    (eager, weights), (graph, others) = found
    assert eager == graph and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.gpu
def test_a_step_that_reads_the_device_falls_back_and_its_streams_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(capture.SETTING, "1")
    bench = Bench.of(Size("resnet10", 8, "fp32", 8, 8, 8), "cuda", steps=24)
    model = bench.context.build_model()
    optimizer = make_optimizer(list(model.parameters()), "sgd", 0.125)

    def reading(logits: Tensor, labels: Tensor) -> Tensor:
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return loss * (1.0 if loss.item() > 0 else 2.0)

    def epoch() -> float:
        return supervised_epoch(
            model, optimizer, bench.first(8 * 20), bench.context, Augment(), 8, loss_function=reading
        )

    with pytest.warns(UserWarning, match="eager: DEFENSELIB_CUDA_GRAPHS is set, but"):
        epoch()
    before = bench.context.generator("train/augment").get_state()
    assert epoch() > 0  # the device still works, and the streams draw
    assert not torch.equal(before, bench.context.generator("train/augment").get_state())
