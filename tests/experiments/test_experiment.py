"""What an experiment comes down to, and the hash that names its result."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import pytest

from defenselib import defenses
from defenselib.defenses.base import CleanRequest, Defense
from defenselib.errors import DefenseLibError, InvalidValueError, UnknownNameError
from defenselib.experiments import Experiment, LeftOutError
from defenselib.experiments.profile import PAPER_MODEL
from defenselib.experiments.spec import hash_of


def test_a_known_hash_stays() -> None:
    """If this fails, results in everybody's store are orphaned: raise a method's `version` instead."""
    resolved = Experiment(dataset="cifar10", attack="badnets", defense="none", profile="paper", paper="asd").resolve()
    expected = {
        "attack": {"args": {}, "name": "badnets", "version": 1},
        "count": "bernoulli-nontarget",
        "dataset": "cifar10",
        "defense": {"args": {}, "name": "none", "version": 1},
        "model": "resnet18",
        "rate": 0.05,
        "seed": 0,
        "source": "cifar10-jpeg",
        "target": 3,
    }
    assert resolved.spec() == expected
    assert resolved.hash == "c8cdfe92c546734e"


def test_the_order_of_arguments_does_not_matter() -> None:
    one = Experiment(defense="asd", defense_args={"epochs": 5, "stage2_end": 3, "alpha": 0.4})
    other = Experiment(defense_args={"alpha": 0.4, "stage2_end": 3, "epochs": 5}, defense="asd")
    assert one.resolve().hash == other.resolve().hash
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})


def test_arguments_equal_to_what_holds_anyway_do_not_matter() -> None:
    plain = Experiment(defense="asd", profile="paper").resolve()
    explicit = Experiment(
        defense="asd", profile="paper", defense_args={"epochs": 120, "alpha": 0.5}, rate=0.05, target=3
    ).resolve()
    whole_number = Experiment(defense="asd", profile="paper", defense_args={"lambda_u": 15}).resolve()
    assert plain.spec()["defense"]["args"] == {}
    assert plain.hash == explicit.hash == whole_number.hash


def test_neither_profile_name_nor_paper_is_hashed(tmp_path: Any) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_text('name = "mine"\nverdict = "none"\nhistory_test = 7\nprecision = "fp32"\n')
    paper = Experiment(profile="paper", paper="asd").resolve()
    mine = Experiment(profile=str(copy)).resolve()
    assert mine.profile == "mine" and mine.history_test == 7
    assert mine.hash == paper.hash


def test_every_part_of_the_specification_is_hashed() -> None:
    base = {"dataset": "cifar10", "defense": "asd", "profile": "laptop"}
    changes: list[dict[str, Any]] = [
        {},
        {"dataset": "gtsrb"},
        {"source": "another-copy"},
        {"model": "resnet34"},
        {"attack": "blend"},
        {"attack": "none"},
        {"attack_args": {"seed": 5}},
        {"rate": 0.1},
        {"target": 0},
        {"count": "exact-all"},
        {"defense": "none"},
        {"defense_args": {"alpha": 0.25}},
        {"profile": "gpu"},
        {"seed": 1},
        {"stop_after": "asd:2"},
        {"measure": ("acc", "asr", "ra")},
        {"holdout": 5000},
        {"diagnostic": "oracle-split"},
    ]
    hashes = [Experiment(**(base | change)).resolve().hash for change in changes]
    assert len(set(hashes)) == len(changes)


def test_a_new_option_with_a_default_keeps_old_hashes_and_a_new_version_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Toy(Defense):
        name = "toy"
        strength: float = 1.0

    @dataclass(frozen=True, kw_only=True)
    class ToyWithMore(Toy):
        option: bool = False

    class NewerToy(Toy):
        version = 2

    hashes = []
    for cls in (Toy, ToyWithMore, NewerToy):
        monkeypatch.setitem(defenses.DEFENSES, "toy", cls)
        hashes.append(Experiment(defense="toy", defense_args={"strength": 2}).resolve().hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_counts_per_class_scale_with_the_subset() -> None:
    full = Experiment(defense="asd", profile="paper").resolve().defense
    laptop = Experiment(dataset="cifar10", defense="asd", profile="laptop").resolve()
    share = laptop.train_size / 50000
    assert laptop.defense.seeds_per_class == max(1, round(full.seeds_per_class * share))  # type: ignore[attr-defined]
    given = Experiment(defense="asd", profile="laptop", defense_args={"seeds_per_class": 10}).resolve().defense
    assert given.seeds_per_class == 10  # type: ignore[attr-defined]


def test_holdout_leaves_fewer_to_train_on() -> None:
    assert Experiment(profile="paper", holdout=5000).resolve().train_size == 45000
    assert Experiment(profile="laptop", holdout=5000).resolve().train_size == 20000
    with pytest.raises(InvalidValueError, match="leaves none"):
        Experiment(profile="paper", holdout=50000).resolve()


def test_gtsrb_has_its_own_schedule_at_paper() -> None:
    settings = Experiment(dataset="gtsrb", defense="asd", profile="paper").resolve().defense
    assert (settings.epochs, settings.rampup) == (100, 100)  # type: ignore[attr-defined]


def test_a_profile_replaces_the_papers_model_and_no_other() -> None:
    assert Experiment(profile="smoke").resolve().model != PAPER_MODEL
    assert Experiment(profile="smoke", model=PAPER_MODEL).resolve().model != PAPER_MODEL
    assert Experiment(profile="smoke", model="resnet34").resolve().model == "resnet34"
    assert Experiment(profile="smoke", model="resnet34").resolve().width == Experiment().resolve().width


def test_a_profile_can_replace_another_network_of_the_papers() -> None:
    assert Experiment(profile="laptop", model="mobilenet_v2").resolve().model == "mobilenet_v2_pooled"
    same = Experiment(profile="laptop", model="mobilenet_v2_pooled").resolve()
    assert same.hash == Experiment(profile="laptop", model="mobilenet_v2").resolve().hash
    assert Experiment(profile="gpu", model="mobilenet_v2").resolve().model == "mobilenet_v2"


def test_smoke_runs_shapes_in_place_of_the_others() -> None:
    one, other = (Experiment(dataset=name, defense="asd").resolve() for name in ("cifar10", "gtsrb"))
    assert one.dataset == "shapes" and one.asked == "cifar10"
    assert one.hash == other.hash


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attack": "badnet"}, "did you mean 'badnets'"),
        ({"defense": "asdd"}, "did you mean 'asd'"),
        ({"profile": "laptob"}, "did you mean 'laptop'"),
        ({"model": "resnet81"}, "did you mean 'resnet"),
        ({"defense": "asd", "defense_args": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"attack_args": {"patern": "dbd2"}}, "did you mean 'pattern'"),
        ({"paper": "ads"}, "did you mean 'asd'"),
        ({"count": "exact"}, "unknown count 'exact'"),
        ({"measure": ("accuracy",)}, "unknown measure"),
        ({"dataset": "cifar-10"}, "did you mean 'cifar10'"),
    ],
)
def test_unknown_names_raise_and_name_the_nearest(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        Experiment(**arguments).resolve()


@pytest.mark.parametrize(
    "arguments",
    [
        {"rate": 1.5},
        {"rate": float("nan")},
        {"target": 10},
        {"seed": -1},
        {"seed": 1.0},
        {"holdout": -1},
        {"stop_after": "asd:0"},
        {"stop_after": ""},
        {"defense_args": {"epochs": "3"}},
        {"defense_args": {"epochs": True}},
        {"defense_args": {"learning_rate": float("nan")}},
        {"defense_args": {"milestones": [1, "2"]}},
        {"defense": "asd", "defense_args": {"alpha": 2.0}},
        {"attack": "none", "rate": 0.1},
        {"attack": "badnets-all2all", "target": 3},
        {"diagnostic": "oracle-split"},
        {"measure": "acc"},
    ],
)
def test_bad_values_raise_before_any_work(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        Experiment(**arguments).resolve()


def test_left_out_says_why() -> None:
    with pytest.raises(LeftOutError, match="ImageNet"):
        Experiment(dataset="imagenet-30", profile="laptop").resolve()


def test_an_experiment_is_frozen_hashable_and_keeps_its_own_arguments() -> None:
    arguments = {"epochs": 2}
    experiment = Experiment(defense_args=arguments)
    arguments["epochs"] = 3
    assert experiment.defense_args == {"epochs": 2}
    assert experiment in {experiment} and experiment != experiment.replace(seed=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.seed = 1  # type: ignore[misc]


def test_describe_is_json_with_all_numbers() -> None:
    described = Experiment(defense="asd", profile="paper").resolve().describe()
    assert json.loads(json.dumps(described)) == described
    assert described["defense_args"]["epochs"] == 120 and described["width"] == 64


def test_post_training_defenses_have_an_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Repair(Defense):
        name = "repair"
        post_training = True

        def clean_request(self) -> CleanRequest:
            return CleanRequest(share=0.05)

    monkeypatch.setitem(defenses.DEFENSES, "repair", Repair)
    experiment = Experiment(defense="repair")
    upstream = experiment.resolve().upstream
    assert upstream is not None and upstream.hash == Experiment(defense="none").resolve().hash
    assert experiment.resolve().spec()["upstream"] == upstream.hash


def test_errors_are_of_one_family() -> None:
    assert issubclass(LeftOutError, DefenseLibError)
