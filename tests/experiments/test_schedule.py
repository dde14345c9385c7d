"""What a profile makes of a paper's schedule, against numbers that the papers state or that follow from them."""

from __future__ import annotations

import pandas as pd
import pytest

from defenselib.defenses import DEFENSES
from defenselib.experiments import Experiment, profiles
from defenselib.experiments.schedule import RULES, derived, expected_poison, stages


@pytest.fixture(scope="module")
def paper() -> pd.DataFrame:
    return derived("paper").set_index(["defense", "stage"])


def test_every_defense_has_its_stages(paper: pd.DataFrame) -> None:
    unlike = set(RULES) ^ set(DEFENSES)
    assert not unlike, f"RULES of experiments/schedule.py needs the stages of every defense, and of no other: {unlike}"
    assert set(DEFENSES) == set(paper.index.get_level_values("defense"))
    assert (paper["steps_paper"] > 0).all() and (paper["passes_paper"] > 0).all()
    assert (paper["exposures_paper"] <= paper["passes_paper"] * 50_000 + 1e-6).all(), "poison is part of what is seen"


@pytest.mark.parametrize(
    ("defense", "stage", "steps", "exposures"),
    [
        ("none", "train", 200 * 391, 200 * 2250),
        ("asd", "class-aware", 60 * 1024, 0),
        ("asd", "meta-split", 30 * 1024, 0),
        ("asd", "one virtual model", 391, 2250),  # 5 % of the nine tenths that are not of the target class
        ("bsd", "until OSS", 20 * 1024, 0),
        ("bsd", "altruist, warm-up", 25 * 391, 25 * 2250),
        ("vab", "Victim, first epoch", 391, 5000),
        ("dst", "implant", 2 * 391, 2 * 4500),
        ("dbr", "unlearn", 20 * 20, 20 * 2500),  # 2,500 suspects in batches of 128
        ("dbr", "relearn", 20 * 79, 0),
        ("aabl", "naive", 20 * 391, 20 * 5000),
        ("abl", "unlearn", 5 * 4, 5 * 500),
        ("cbd", "backdoor", 5 * 782, 5 * 2250),
        ("dbd", "simclr", 1000 * 98, 0),
    ],
)
def test_the_papers_numbers(paper: pd.DataFrame, defense: str, stage: str, steps: int, exposures: int) -> None:
    row = paper.loc[(defense, stage)]
    assert (row["steps_paper"], row["exposures_paper"]) == (steps, exposures)


def test_batches_and_poison_follow_from_the_sizes() -> None:
    cell = {"dataset": "shapes", "attack": "badnets", "profile": "smoke"}
    resolved = Experiment(**cell).resolve()
    (train,) = stages(resolved)
    # 600 images in batches of 32, eight epochs; 27 poisoned samples to be expected, 5 % of 540.
    assert (train.steps, train.passes, train.exposures) == (8 * 19, 8.0, 8.0 * 27)
    assert expected_poison(Experiment(**cell, rate=0.5, count="exact-target").resolve()) == 30


@pytest.mark.parametrize("name", profiles.available())
def test_every_profile_stands_beside_the_paper(name: str) -> None:
    frame = derived(name)
    assert {f"steps_{name}", "steps_paper"} <= set(frame.columns) and len(frame) > 40
    # A method that the profile leaves as it is has the paper's schedule, on however many images.
    assert (frame[f"passes_{name}"] > 0).all()


def test_a_data_set_that_a_profile_leaves_out_has_no_rows() -> None:
    assert derived("laptop", dataset="tiny-imagenet").empty
