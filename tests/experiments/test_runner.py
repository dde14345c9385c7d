"""`run` on real cells at `smoke`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from defenselib import attacks, data, defenses, models
from defenselib.attacks.badnets import BadNets
from defenselib.attacks.base import Attack
from defenselib.defenses.base import BuildModel, CleanRequest, Defense, Fitted
from defenselib.errors import DataError, InvalidValueError, TrainingDivergedError
from defenselib.experiments import Experiment, Result, Store, attacked, run
from defenselib.experiments import cell as cells
from defenselib.learning.context import Context

# ASD in all its stages, as short as it can be.
SHORT = {"iterations": 2, "stage1_end": 1, "stage2_end": 2, "epochs": 4}
KNOWN = "cifar10-jpeg"  # a copy whose digest is committed


def numbers(result: Result) -> tuple[Any, ...]:
    """All that must not change from run to run."""
    return result.acc, result.asr, result.per_class, result.history, result.metrics, result.poisoned_count


@pytest.mark.slow
def test_a_result_says_what_it_is(run_once: Callable[..., Result], shared_store: Store) -> None:
    result = run_once(dataset="cifar10", defense="asd")
    described = result.experiment
    assert described["dataset"] == "shapes" and described["asked"] == "cifar10" and described["defense"] == "asd"
    assert result.spec["limit"] == 600
    assert 0 <= result.acc <= 100 and 0 <= result.asr <= 100 and len(result.per_class) == 10
    assert [row["epoch"] for row in result.history] == list(range(described["defense_args"]["epochs"]))
    assert {"stage", "acc", "asr", "clean_size", "clean_poisoned", "clean_purity", "hard_clean"} <= set(
        result.history[0]
    )
    assert result.clean_given == 10 * described["defense_args"]["seeds_per_class"]
    assert 0 < result.poisoned_count < 60 and result.cross_count == 0
    assert result.suspects_count and result.metrics["suspects_poisoned"] <= result.suspects_count
    assert result.seconds == pytest.approx(sum(result.stages.values()), abs=0.01) and result.seconds > 0
    assert {"python", "torch", "torchvision", "numpy", "defenselib"} == set(result.versions)
    assert result.machine["threads"] == torch.get_num_threads() and result.machine["cpu"]
    assert result.peak_memory_mb > 10 and len(result.data_digest) == 64 and result.made_by_current_code()
    assert len(result.arrays["is_poisoned"]) == 600 // 8
    assert np.unpackbits(result.arrays["is_poisoned"], count=600).sum() == result.poisoned_count
    assert result.path is not None and result.path.parent == shared_store.root / "smoke"
    assert not shared_store.checkpoints(result.hash).exists()


@pytest.mark.slow
def test_the_second_time_it_is_read(run_once: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_once()

    def never(*_: Any) -> Result:
        raise AssertionError("computed again")

    monkeypatch.setattr(cells.Cell, "compute", never)
    second = run_once()
    assert numbers(first) == numbers(second) and first.created == second.created


@pytest.mark.slow
def test_same_seed_same_numbers(run_once: Callable[..., Result], tmp_path: Path) -> None:
    first = run_once()
    torch.rand(3)  # what others drew from torch's global stream does not matter
    again = run(Experiment(), Store(tmp_path), device="cpu", progress=False)
    assert numbers(again) == numbers(first)
    other = run(Experiment(seed=1, defense_args={"epochs": 1}), Store(tmp_path), device="cpu", progress=False)
    assert numbers(other) != numbers(first)


VICTIM = """
import json, sys, torch
torch.set_num_threads(int(sys.argv[2]))
from defenselib.experiments import Experiment, Store, run
arguments = json.loads(sys.argv[3])
run(Experiment(defense="asd", defense_args=arguments), Store(sys.argv[1]), "cpu", progress=False, checkpoint_every=0)
"""


@pytest.mark.slow
def test_killed_and_started_again_it_gives_the_same_numbers(
    run_once: Callable[..., Result], shared_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, store = Experiment(defense="asd", defense_args=SHORT), Store(tmp_path)
    folder = store.checkpoints(experiment.resolve().hash)
    command = [sys.executable, "-c", VICTIM, str(tmp_path), str(torch.get_num_threads()), json.dumps(SHORT)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while not list(folder.rglob("*.safetensors")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert store.get(experiment.resolve()) is None

    trained: list[int] = []
    original = Context.epochs

    def watched(context: Context, stage: str, n: int, **state: Any) -> Iterator[int]:
        for epoch in original(context, stage, n, **state):
            trained.append(epoch)
            yield epoch

    monkeypatch.setattr(Context, "epochs", watched)
    resumed = run(experiment, store, device="cpu", progress=False)
    monkeypatch.undo()
    assert trained and 0 not in trained
    whole = run_once(defense="asd", defense_args=SHORT)
    assert numbers(resumed) == numbers(whole)
    assert all(np.array_equal(resumed.arrays[name], whole.arrays[name]) for name in whole.arrays)
    weights, expected = store.load_model(resumed.hash), shared_store.load_model(whole.hash)
    assert weights is not None and expected is not None
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert not folder.exists()


@pytest.mark.slow
def test_killed_after_the_last_epoch_it_only_finishes(
    run_once: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    experiment = Experiment(defense="asd", defense_args=SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(cells.Cell, "_evaluate", dies)
        with pytest.raises(KeyboardInterrupt):
            run(experiment, Store(tmp_path), device="cpu", progress=False)
    result = run(experiment, Store(tmp_path), device="cpu", progress=False)
    whole = run_once(defense="asd", defense_args=SHORT)
    assert numbers(result) == numbers(whole)
    assert np.array_equal(result.arrays["suspects"], whole.arrays["suspects"])
    assert result.seconds > result.stages["asd"] > 0


@pytest.mark.slow
def test_stop_after_ends_early_even_if_killed_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(stop_after="train:1")
    with monkeypatch.context() as patch:
        patch.setattr(cells.Cell, "_evaluate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(experiment, Store(tmp_path), device="cpu", progress=False)
    result = run(experiment, Store(tmp_path), device="cpu", progress=False)
    assert [row["epoch"] for row in result.history] == [0]


def test_another_copy_of_the_data_is_an_error_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells.Cell, "poison", lambda *_: pytest.fail("went on"))
    for source, told in (
        ("another", "'another', of which data/digests.json has no digest; get"),
        (KNOWN, f"'{KNOWN}'; get"),
    ):
        with pytest.raises(DataError, match=f"{told} that copy, .* source='shapes' \\(--source shapes;"):
            run(Experiment(dataset="shapes", source=source), Store(tmp_path), device="cpu", progress=False)


def test_holdout_replaces_the_test_set(tmp_path: Path) -> None:
    result = run(Experiment(holdout=100, defense_args={"epochs": 1}), Store(tmp_path), device="cpu", progress=False)
    assert result.experiment["holdout"] == 100 and result.experiment["train_size"] == 600


def test_robust_accuracy_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = data.load_dataset("shapes", limit=100)
    small = replace(small, test=small.test.select(torch.arange(40)))
    monkeypatch.setattr(cells.Cell, "load", lambda _: small)
    experiment = Experiment(measure=("acc", "asr", "ra"), defense_args={"epochs": 1}, rate=0.2)
    result = run(experiment, Store(tmp_path), device="cpu", progress=False)
    assert result.ra is not None and 0 <= result.ra <= result.acc


@pytest.mark.slow
def test_the_oracle_keeps_poison_out_of_the_pools(tmp_path: Path) -> None:
    experiment = Experiment(defense="asd", defense_args=SHORT, diagnostic="oracle-split")
    result = run(experiment, Store(tmp_path), device="cpu", progress=False)
    assert "-asd+oracle-s0-" in result.stem
    assert sum(row["clean_poisoned"] for row in result.history) == 0


def test_a_diverged_run_leaves_no_result(tmp_path: Path) -> None:
    experiment = Experiment(defense_args={"epochs": 2, "learning_rate": 1e30})
    with pytest.raises(TrainingDivergedError):
        run(experiment, Store(tmp_path), device="cpu", progress=False)
    assert list(Store(tmp_path).results()) == []


@dataclass(frozen=True, kw_only=True)
class Repair(Defense):
    """A post-training defense that gives back what it got, and reports it."""

    name = "repair"
    post_training = True
    seen: Any = None

    def clean_request(self) -> CleanRequest:
        return CleanRequest(share=0.05)

    def fit(self, train: data.ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        assert context.upstream is not None and context.clean is not None and context.clean_index is None
        shared = context.cached("shared", lambda: {"x": torch.rand(2, generator=context.generator("g"))})
        draw = float(torch.rand((), generator=context.generator("g")))
        context.observe("target", guess=4)
        return Fitted(context.upstream.model, metrics={"draw": draw}, arrays=shared)


@pytest.mark.slow
def test_a_post_training_defense_gets_model_and_clean_data(
    run_once: Callable[..., Result], shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(defenses.DEFENSES, "repair", Repair)
    undefended = run_once()
    repaired = run_once(defense="repair")
    assert (repaired.acc, repaired.asr) == (undefended.acc, undefended.asr)
    assert repaired.clean_given == 30 and repaired.experiment["upstream"] == undefended.hash
    assert repaired.metrics["target_guess"] == 4 and len(repaired.arrays["fitted/x"]) == 2
    # With the shared stage in the store, later draws are the same, and what the stage cost its maker is counted.
    assert repaired.path is not None and not any("shared" in name for name in repaired.stages)
    repaired.path.unlink()
    again = run_once(defense="repair")
    assert again.metrics == repaired.metrics
    assert (
        again.cpu_seconds is not None
        and again.cpu_seconds > 0
        and again.stages["shared (shared)"] >= 0
        and again.seconds == pytest.approx(sum(again.stages.values()))
    )


@pytest.mark.slow
def test_an_upstream_result_without_its_model_is_made_again(
    run_once: Callable[..., Result], shared_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(defenses.DEFENSES, "repair", Repair)
    committed = Store(tmp_path / "committed")
    shared_store_result = run_once()
    shared_store.keep(shared_store_result.hash, committed)
    store = Store(tmp_path / "working", also=[committed.root])
    repaired = run(Experiment(defense="repair"), store, device="cpu", progress=False)
    assert repaired.acc == shared_store_result.acc


@dataclass(frozen=True, kw_only=True)
class Surrogate(BadNets):
    """An attack that must be prepared."""

    name = "surrogate"
    ready: bool = False

    def prepare(self, train: data.ImageSet, target: int | None, context: Context) -> Attack:
        context.cached("surrogate", lambda: context.build_model("surrogate").state_dict())
        return replace(self, ready=True)

    def __call__(self, images: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
        assert self.ready
        return super().__call__(images, index)


@pytest.mark.slow
def test_an_attack_is_prepared_and_its_surrogate_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attacks.ATTACKS, "surrogate", Surrogate)
    store = Store(tmp_path)
    for rate in (0.05, 0.1):
        run(Experiment(attack="surrogate", rate=rate, defense_args={"epochs": 1}), store, "cpu", progress=False)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_environment_sets_the_checkpoint_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_CHECKPOINT_EVERY", "often")
    with pytest.raises(InvalidValueError, match="DEFENSELIB_CHECKPOINT_EVERY"):
        run(Experiment(), Store(tmp_path), device="cpu", progress=False)


def test_an_image_folder_is_run_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path / "cache"))
    shapes = data.load_dataset("shapes", limit=60)
    folder = tmp_path / "my pictures"
    for number, (image, label) in enumerate(zip(shapes.train.images, shapes.train.labels.tolist(), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / str(label) / f"{number}.png")
    experiment = Experiment(dataset=str(folder), defense_args={"epochs": 1}, rate=0.3)
    result = run(experiment, Store(tmp_path / "store"), device="cpu", progress=False)
    assert result.experiment["dataset"] == "my pictures" and result.stem.startswith("my_pictures-badnets-none")
    assert result.experiment["source"].startswith("my pictures:")
    assert str(tmp_path) not in str(result.spec)


def test_models_get_the_data_sets_normalisation() -> None:
    resolved = Experiment(dataset="gtsrb", profile="laptop").resolve()
    model = cells.model_factory(resolved, 43, 32)()
    assert isinstance(model, models.Classifier)
    assert torch.allclose(model.mean.flatten(), torch.tensor(data.info("gtsrb").mean))


@pytest.mark.slow
def test_a_trigger_is_tried_on_the_clean_model_without_training_it_again(
    run_once: Callable[..., Result], shared_store: Store
) -> None:
    clean = run_once(attack="none")
    tried = run_once(attack="blend", rate=0.0)
    assert tried.acc == clean.acc and tried.poisoned_count == 0
    assert tried.experiment["upstream"] == clean.hash and "train" in clean.stages and "train" not in tried.stages
    same = run_once(attack="badnets", rate=0.0)
    assert same.asr == clean.asr  # the trigger of `none` is that of BadNets
    assert same.metrics["triggered_linf"] > tried.metrics["triggered_linf"] > 0
    assert tried.arrays["look/triggered"].shape == tried.arrays["look/test"].shape == (4, 3, 32, 32)
    # What so short a model says to another trigger may be the same; the pictures that it is asked about are not.
    assert (tried.arrays["look/triggered"] != same.arrays["look/triggered"]).any()


def test_what_an_experiment_trains_on_can_be_looked_at(
    shared_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(attacks.ATTACKS, "surrogate", Surrogate)
    experiment = Experiment(attack="surrogate", rate=0.1, defense_args={"epochs": 1})
    dataset, attack, poisoned = attacked(experiment, Store(tmp_path), progress=False)
    assert isinstance(attack, Surrogate) and attack.ready
    index = poisoned.is_poisoned.nonzero().flatten()
    assert torch.equal(poisoned.train.images[index], attack(dataset.train.images[index], index))
    result = run(experiment, Store(tmp_path), "cpu", progress=False)
    assert result.poisoned_count == len(index) and len(list((tmp_path / "cache").iterdir())) == 1
