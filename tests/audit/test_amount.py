"""Schedules for any number of images: what must survive the scaling survives it."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from defenselib import data as datasets
from defenselib.audit.amount import FEWEST, MOST, PROFILES, Work, costs, spoken, work_for
from defenselib.audit.methods import METHODS, needs_clean, offered
from defenselib.audit.training import BAR, Watched
from defenselib.defenses import DEFENSES
from defenselib.experiments import profile as profiles
from defenselib.experiments.resolve import facts_of, make_defense, subset_size

PLAIN = ("none", "abl", "cbd", "aabl")  # every stage passes over the data


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", METHODS)
def test_on_as_many_images_as_the_profile_is_made_for_it_is_the_profile_itself(name: str, profile: str) -> None:
    chosen = profiles.load(profile)
    dataset, rule = chosen.dataset("cifar10")
    facts = facts_of(dataset, None)
    count = subset_size(rule, facts, 0) or facts.train_size
    share = count / datasets.info("cifar10").train_size
    expected = make_defense(name, {}, None, chosen, dataclasses.replace(facts, name="folder"), share)
    assert work_for(name, profile, count, 10, 32).defense == expected


@settings(max_examples=60)
@given(images=st.integers(20, 200_000), name=st.sampled_from(sorted(METHODS)), classes=st.integers(2, 20))
def test_passes_stay_in_their_bounds_and_any_size_makes_a_method(images: int, name: str, classes: int) -> None:
    work, at_home = work_for(name, "laptop", images, classes, 64), work_for(name, "laptop", 20_000, 10, 64)
    for field in METHODS[name].passes:
        now, then = getattr(work.defense, field), getattr(at_home.defense, field)
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (now, then)), strict=True):
            assert min(b, FEWEST) <= a <= MOST * b
    assert all(stage.steps >= 0 for stage in work.stages())


@settings(max_examples=40)
@given(images=st.integers(1_100, 60_000), name=st.sampled_from(PLAIN))
def test_the_optimiser_sees_as_many_images(images: int, name: str) -> None:
    def seen(work: Work) -> float:
        return sum(stage.passes for stage in work.stages() if stage.name != "unlearn") * work.images

    ratio = seen(work_for(name, "laptop", images, 10, 32)) / seen(work_for(name, "laptop", 20_000, 10, 32))
    assert 0.8 < ratio < 1.35  # whole passes: half of one of the fewest is left or right of the number


def test_padding_follows_the_side_and_counts_a_class_its_size() -> None:
    assert [work_for("none", "laptop", 5000, 10, side).defense.padding for side in (16, 32, 224)] == [2, 4, 28]
    small, large = (work_for("asd", "laptop", n, 10, 32).defense.growth_per_class for n in (5_000, 40_000))
    assert (small, large) == (1, 8)


def test_only_what_asks_for_clean_images_is_kept_back_without_them() -> None:
    assert set(offered(True)) - set(offered(False)) == {name for name in METHODS if needs_clean(name)} == {"asd"}
    assert set(METHODS) <= set(DEFENSES)


@pytest.mark.parametrize("name", METHODS)
def test_every_stage_of_the_forecast_costs_something(name: str) -> None:
    found = costs(work_for(name, "laptop", 3_000, 10, 32))
    assert [stage for stage, units in found.items() if units <= 0] == (["split"] if name == "aabl" else [])
    planned = {item.name for item in work_for(name, "laptop", 3_000, 10, 32).stages()}
    assert planned == {part for parts in METHODS[name].stages.values() for part in parts}


def test_the_bar_counts_earlier_stages_as_done_and_takes_its_pace_from_what_is_done_here() -> None:
    with tqdm(total=400.0, file=io.StringIO(), bar_format=BAR, smoothing=0) as bar:
        context = Watched(model_factory=torch.nn.Identity, stages={"a": 100.0, "before: b": 300.0}, bar=bar,
                          prefix="before: ")  # fmt: skip
        context.reach("b", 1 / 3, restored=True)  # a and a third of b were done before
        assert (bar.n, bar.initial) == (200.0, 200.0)
        context.reach("b", 2 / 3)
        context.reach("b", 0.1)
        context.reach("c", 1.0)
        assert (bar.n, bar.initial) == (300.0, 200.0)  # never backwards
        told = bar.format_dict | {"elapsed": 50.0}
        assert "00:50 left, before: b: 10%" in bar.format_meter(**told)


def test_lengths_of_time_as_they_are_said() -> None:
    assert [spoken(x) for x in (0.2, 89, 90, 3600, 9000)] == ["1 s", "89 s", "2 min", "60 min", "2.5 h"]
