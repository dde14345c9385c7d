"""What holds for every registered attack under every preset; a new registry line is covered unasked."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from defenselib import attacks
from defenselib.attacks.base import COUNTS, Attack
from defenselib.data.types import Dataset
from defenselib.errors import InvalidValueError, UnknownNameError
from defenselib.learning.context import Context
from defenselib.models import Classifier, build_model

from .conftest import random_dataset

# Hyper-parameters that keep the preparation of attacks short which train something first.
QUICK: dict[str, dict[str, Any]] = {
    "iab": {"mask_epochs": 1, "epochs": 1, "batch_size": 50},
    "dynamic": {"mask_epochs": 1, "epochs": 1, "batch_size": 50},
    "refool": {"reflections": "synthetic", "candidates": 200},
    "clb": {"iterations": 2, "surrogate_epochs": 1, "surrogate_images": 60, "surrogate_steps": 1},
    "ssba": {"epochs": 1},
    "narcissus": {"pood": "shapes", "pood_images": 40, "rounds": 2, "warmup_rounds": 1, "surrogate_epochs": 1},
    "adaptive": {"images": 20, "iterations": 3, "surrogate_epochs": 1, "surrogate_images": 60},
}
EVERY = [(name, preset) for name in attacks.available() for preset in attacks.presets(name) or (None,)]
# A generator or an encoder takes seconds to train even so. Their presets differ in amounts: one of each is enough.
TRAINED = ("iab", "dynamic", "ssba")
CASES = [case for place, case in enumerate(EVERY) if case[0] not in TRAINED or case[0] != EVERY[place - 1][0]]
TARGET = 3


def tiny_model() -> Classifier:
    return build_model("resnet10", 10, 32, width=8)


def target_of(attack: Attack) -> int | None:
    return None if attack.all_to_all else TARGET


def random_images(count: int, size: int, seed: int = 5) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=stream).to(torch.uint8)


@pytest.fixture
def dataset() -> Dataset:
    return random_dataset()


def case_of(name: str, preset: str | None) -> Any:
    marks = pytest.mark.slow if name in TRAINED else ()
    return pytest.param((name, preset), marks=marks, id=f"{name}-{preset}")


@pytest.fixture(params=[case_of(*case) for case in CASES])
def attack(request: pytest.FixtureRequest, dataset: Dataset) -> Attack:
    return prepared(*request.param)


@functools.cache
def prepared(name: str, preset: str | None) -> Attack:
    """The attack ready to use, trained at most once."""
    made = attacks.create(name, preset=preset, **QUICK.get(name, {}))
    stream = torch.get_rng_state()
    ready = made.prepare(random_dataset().train, target_of(made), Context(model_factory=tiny_model))
    assert torch.equal(stream, torch.get_rng_state()), "draws from the global stream"
    return ready


def counts_for(attack: Attack) -> tuple[str, ...]:
    if attack.clean_label:
        return ("exact-target",)
    return tuple(count for count in COUNTS if not (attack.all_to_all and count == "exact-target"))


def poisoned_by(attack: Attack, dataset: Dataset, rate: float = 0.25, **how: Any) -> Any:
    how.setdefault("target", target_of(attack))
    return attacks.poison(dataset, attack, rate=rate if attack.poisons else 0.0, **how)


def test_shape_dtype_device_and_nothing_in_place(attack: Attack) -> None:
    images = random_images(5, attack.image_size)
    before = images.clone()
    for out in (attack(images, torch.arange(5)), attack.trigger(images)):
        assert (out.shape, out.dtype, out.device) == (images.shape, torch.uint8, images.device)
        assert out.data_ptr() != images.data_ptr()
    assert torch.equal(images, before)
    assert attack(images[:0], torch.arange(0)).shape == images[:0].shape


def test_batch_equals_singles(attack: Attack) -> None:
    images, index = random_images(5, attack.image_size), torch.tensor([9, 2, 4, 0, 7])
    singles = [attack(images[i : i + 1], index[i : i + 1]) for i in range(5)]
    assert torch.equal(attack(images, index), torch.cat(singles))
    triggered = [attack.trigger(images[i : i + 1], index[i : i + 1]) for i in range(5)]
    assert torch.equal(attack.trigger(images, index), torch.cat(triggered))


def test_memory_layout_does_not_matter(attack: Attack) -> None:
    images, index = random_images(4, attack.image_size), torch.arange(4)
    strided = images.to(memory_format=torch.channels_last)
    assert torch.equal(attack(images, index), attack(strided, index))
    assert torch.equal(attack(images, index), attack(images.flip(3).flip(3), index))


def test_deterministic_by_seed(attack: Attack) -> None:
    images, index = random_images(4, attack.image_size), torch.arange(4)
    first = attack(images, index)
    torch.manual_seed(1234)
    assert torch.equal(first, attack(images, index))
    assert torch.equal(first, dataclasses.replace(attack)(images, index))


def test_draws_nothing_from_the_global_stream(attack: Attack, dataset: Dataset) -> None:
    state = torch.get_rng_state()
    poisoned_by(attack, dataset)
    assert torch.equal(state, torch.get_rng_state())


def test_an_attack_is_a_value(attack: Attack) -> None:
    assert dataclasses.replace(attack) == attack
    assert hash(dataclasses.replace(attack)) == hash(attack)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.seed = 1  # type: ignore[misc]


def test_changes_the_test_images(attack: Attack) -> None:
    images = random_images(4, attack.image_size)
    assert (attack.trigger(images) != images).flatten(1).any(1).all()


def test_other_image_sizes_are_refused(attack: Attack) -> None:
    with pytest.raises(InvalidValueError, match="create it with their image_size"):
        attack(random_images(2, attack.image_size + 1), torch.arange(2))
    with pytest.raises(InvalidValueError, match=r"torch\.float32"):
        attack(torch.rand(2, 3, attack.image_size, attack.image_size), torch.arange(2))


@pytest.mark.parametrize("count", COUNTS)
def test_counts_and_classes_by_rule(attack: Attack, dataset: Dataset, count: str) -> None:
    if count not in counts_for(attack) or not attack.poisons:
        with pytest.raises(InvalidValueError):
            attacks.poison(dataset, attack, rate=0.25, target=target_of(attack), count=count)
        return
    labels = dataset.train.labels
    of_target = torch.zeros_like(labels, dtype=torch.bool) if attack.all_to_all else labels == TARGET
    made = poisoned_by(attack, dataset, count=count)
    pools = {"exact-nontarget": ~of_target, "exact-all": torch.ones_like(of_target), "exact-target": of_target}
    if count == "bernoulli-nontarget":
        assert 0 < int(made.is_poisoned.sum()) < int((~of_target).sum())
        assert not (made.is_poisoned & of_target).any()
    else:
        assert int(made.is_poisoned.sum()) == math.floor(int(pools[count].sum()) / 4)
        assert not (made.is_poisoned & ~pools[count]).any()


def test_poisoned_samples_and_no_others_change(attack: Attack, dataset: Dataset) -> None:
    before = dataset.train.images.clone(), dataset.train.labels.clone(), dataset.test.images.clone()
    made = poisoned_by(attack, dataset, count=counts_for(attack)[-1])
    assert torch.equal(dataset.train.images, before[0])
    assert torch.equal(dataset.train.labels, before[1])
    assert torch.equal(dataset.test.images, before[2])
    touched = made.is_poisoned | made.is_cross
    assert not (made.is_poisoned & made.is_cross).any()
    assert torch.equal(made.train.images[~touched], before[0][~touched])
    assert torch.equal(made.train.labels[~made.is_poisoned], before[1][~made.is_poisoned])
    assert torch.equal(made.clean_labels, before[1])
    assert torch.equal(made.test.images, before[2])
    index = made.is_poisoned.nonzero().flatten()
    assert bool(len(index)) == attack.poisons
    if len(index):
        assert torch.equal(made.train.images[index], attack(before[0][index], index))
    given, clean = made.train.labels[index], before[1][index]
    wanted = clean if attack.clean_label else (clean + 1) % 10 if attack.all_to_all else torch.full_like(clean, TARGET)
    assert torch.equal(given, wanted)


def test_what_the_success_rate_is_measured_on(attack: Attack, dataset: Dataset) -> None:
    made = poisoned_by(attack, dataset, rate=0.0)
    labels = dataset.test.labels
    keep = torch.ones_like(labels, dtype=torch.bool) if attack.all_to_all else labels != TARGET
    index = keep.nonzero().flatten()
    assert torch.equal(made.triggered_test.images, attack.trigger(dataset.test.images[index], index))
    wanted = (labels[keep] + 1) % 10 if attack.all_to_all else torch.full_like(labels[keep], TARGET)
    assert torch.equal(made.triggered_test.labels, wanted)
    assert made.target == target_of(attack)
    assert not made.is_poisoned.any()
    assert torch.equal(made.train.images, dataset.train.images)


def test_same_seed_same_samples_other_seed_others(attack: Attack, dataset: Dataset) -> None:
    if not attack.poisons:
        pytest.skip("poisons nothing")
    one, two, other = (poisoned_by(attack, dataset, seed=seed, count=counts_for(attack)[0]) for seed in (1, 1, 2))
    assert torch.equal(one.train.images, two.train.images)
    assert torch.equal(one.is_poisoned, two.is_poisoned)
    assert not torch.equal(one.is_poisoned, other.is_poisoned)


@pytest.mark.parametrize(("name", "preset"), EVERY)
def test_fields_are_checked(name: str, preset: str | None) -> None:
    for field in dataclasses.fields(attacks.ATTACKS[name]):
        bad = object()
        if isinstance(field.default, (bool, int, float, str)):
            with pytest.raises(InvalidValueError, match=field.name):
                attacks.create(name, preset=preset, **{field.name: bad})


@pytest.mark.parametrize("name", attacks.available())
def test_class_says_its_name_and_presets_its_fields(name: str) -> None:
    cls = attacks.ATTACKS[name]
    assert cls.name == name
    assert cls.version >= 1
    fields = {field.name for field in dataclasses.fields(cls)}
    for preset in cls.presets.values():
        assert {*preset.hyper, *(key for hyper in preset.sizes.values() for key in hyper)} <= fields
        assert (preset.plan.target is None) == cls.all_to_all
    with pytest.raises(UnknownNameError, match="hyper-parameter of attack"):
        attacks.create(name, no_such_field=1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_changes_nothing(attack: Attack, dataset: Dataset) -> None:
    here = poisoned_by(attack, dataset, count=counts_for(attack)[0])
    there = poisoned_by(attack, dataset.to("cuda"), count=counts_for(attack)[0])
    assert there.train.images.is_cuda and there.triggered_test.images.is_cuda and there.is_poisoned.is_cuda
    assert torch.equal(there.is_poisoned.cpu(), here.is_poisoned)
    difference = (there.train.images.cpu().int() - here.train.images.int()).abs().max()
    assert int(difference) <= 1
