"""Profiles are parsed strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from defenselib import attacks, data, defenses
from defenselib.errors import DefenseLibError, InvalidValueError, UnknownNameError
from defenselib.experiments import Experiment, LeftOutError, profiles
from defenselib.experiments.fields import MISSING, convert
from defenselib.experiments.store import Store, results_folder
from defenselib.papers.kit.claims import RANK


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text('name = "mine"\n' + text)
    return path


def test_there_are_five_and_the_first_laptop() -> None:
    assert profiles.available() == ("smoke", "demo", "laptop", "gpu", "paper", "laptop-1")


@pytest.mark.parametrize("name", profiles.available())
@pytest.mark.parametrize("dataset", data.available())
def test_each_resolves_every_method(name: str, dataset: str) -> None:
    # Every defense under one attack and every attack under one defense: they are resolved independently.
    pairs = [("badnets", defense) for defense in defenses.available()]
    pairs += [(attack, "none") for attack in attacks.available()]
    for attack, defense in pairs:
        try:
            resolved = Experiment(dataset=dataset, attack=attack, defense=defense, profile=name, source="x").resolve()
        except LeftOutError:
            continue
        assert resolved.train_size > 0


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("laptop", "built-in profile"),
        ("smoke", "built-in profile"),
        ("models", "folder of the store's own"),
        ("cache", "folder of the store's own"),
        ("locks", "folder of the store's own"),
        ("..", "profile name is"),
        ("a:b", "profile name is"),
        ("-x", "profile name is"),
        ("n" * 80, "profile name is"),
    ],
)
def test_names_that_a_profile_of_ones_own_may_not_have(stem: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.toml"
    path.write_text(f'name = "{stem}"\n')
    with pytest.raises(InvalidValueError, match=message):
        profiles.load(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a = " + b"[" * 100_000, b"\x00" * 99])
def test_a_file_that_is_no_profile_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(DefenseLibError, match=r"mine\.toml"):
        profiles.load(tmp_path / "mine.toml")


def test_paper_overrides_nothing() -> None:
    paper = profiles.load("paper")
    assert paper.precision == "fp32" and paper.model is None and paper.width is None
    assert not (paper.every or paper.defense or paper.attack)
    assert all(rule.limit is None for rule in paper.data.values())


def test_only_gpu_and_paper_compare_numbers_and_drawn_data_nothing() -> None:
    verdicts = {name: profiles.load(name).verdict for name in profiles.available()}
    small = {"smoke": "none", "demo": "none", "laptop": "order", "laptop-1": "order"}
    assert verdicts == {**small, "gpu": "numbers", "paper": "numbers"}


def test_a_rate_of_the_profile_yields_to_the_callers_only(tmp_path: Path) -> None:
    name = str(write(tmp_path, "[attack.badnets]\nrate = 0.2\n[attack.badnets.gtsrb]\nrate = 0.3"))
    cell = Experiment(attack="badnets", paper="vab", profile=name)
    assert cell.resolve().rate == 0.2 and cell.replace(dataset="gtsrb").resolve().rate == 0.3
    assert cell.replace(rate=0.01).resolve().rate == 0.01 and cell.replace(attack="blend").resolve().rate == 0.1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("histroy_test = 5", ("mine.toml", "histroy_test", "did you mean 'history_test'")),
        ("[modle]\nwidth = 3", ("mine.toml", "modle", "did you mean 'model'")),
        ("[model.instead]\nvgg20 = 'vgg16'", ("mine.toml [model.instead]", "vgg20", "vgg16, vgg19")),
        ("[model.instead]\nvgg16 = 'vgg20'", ("mine.toml [model.instead]", "vgg20", "vgg16, vgg19")),
        ("[model]\nwith = 3", ("mine.toml [model]", "with", "did you mean 'width'")),
        ("[data.cifar10]\nlimt = 3", ("mine.toml [data.cifar10]", "limt", "did you mean 'limit'")),
        ("[data.cifar11]\nlimit = 3", ("mine.toml", "cifar11", "did you mean 'cifar10")),
        ("[defense.asdd]\nepochs = 3", ("mine.toml", "asdd", "did you mean 'asd'")),
        ("[defense.asd]\nepoch = 3", ("mine.toml [defense.asd]", "epoch", "did you mean 'epochs'")),
        ("[defense.asd.gtsrv]\nepochs = 3", ("mine.toml [defense.asd]", "gtsrv", "did you mean 'gtsrb'")),
        ("[defense.asd.gtsrb]\nepoch = 3", ("mine.toml [defense.asd.gtsrb]", "epoch", "did you mean 'epochs'")),
        ("[attack.badnet]\nseed = 3", ("mine.toml", "badnet", "did you mean 'badnets'")),
        ("[attack.badnets]\npatern = 'a'", ("mine.toml [attack.badnets]", "patern", "did you mean 'pattern'")),
        ("[every]\nepoch = 3", ("mine.toml [every]", "epoch", "did you mean 'epochs'")),
        ("precision = 'fp16'", ("precision", "mine.toml", "fp16")),
        ("verdict = 'orders'", ("verdict", "mine.toml", "did you mean 'order'")),
        ("[data.cifar10]\nas = 'shape'", ("mine.toml [data.cifar10]", "did you mean 'shapes'")),
    ],
)
def test_unknown_keys_and_names(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UnknownNameError) as error:
        profiles.load(write(tmp_path, text))
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("history_test = '5'", ("mine.toml", "history_test", "int")),
        ("history_test = -5", ("mine.toml", "history_test")),
        ("[model]\nwidth = 4", ("mine.toml [model]: width", "4", "8")),
        ("model = 3", ("mine.toml", "model", "table")),
        ("[model]\ninstead = 3", ("mine.toml [model.instead]", "table")),
        ("[data]\ncifar10 = 3", ("mine.toml [data.cifar10]", "table")),
        ("[data.cifar10]\nlimit = 2.5", ("mine.toml [data.cifar10]", "limit", "int")),
        ("[data.cifar10]\nlimit = 0", ("mine.toml [data.cifar10]", "limit")),
        ("[data.cifar10]\nas = 'shapes'\nlimit = 3", ("mine.toml [data.cifar10]", "as")),
        ("[data.cifar10]\nas = 'gtsrb'\n[data.gtsrb]\nas = 'shapes'", ("mine.toml [data.cifar10]", "gtsrb")),
        ("[every]\nepochs = 'three'", ("mine.toml [every]", "epochs", "int")),
        ("[defense.asd]\nepochs = 3.5", ("mine.toml [defense.asd]", "epochs", "int")),
        ("[defense.none]\nmilestones = [1, 'x']", ("mine.toml [defense.none]", "milestones", "tuple")),
        ("[model]\nwidth = true", ("mine.toml [model]", "width", "int")),
        ("[attack.badnets]\nrate = 2.0", ("mine.toml [attack.badnets]", "rate", "2.0")),
    ],
)
def test_ill_typed_values(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValueError) as error:
        profiles.load(write(tmp_path, text))
    for part in parts:
        assert part in str(error.value)


def test_unreadable_files_and_wrong_names(tmp_path: Path) -> None:
    with pytest.raises(DefenseLibError, match=r"absent\.toml"):
        profiles.load(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(DefenseLibError, match=r"broken\.toml"):
        profiles.load(broken)
    broken.write_text('name = "other"\n')
    with pytest.raises(InvalidValueError, match="'broken'"):
        profiles.load(broken)


def test_order_of_precedence(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[data.shapes]\nlimit = 100\n[every]\nepochs = 70\nbatch_size = 8\n"
        "[defense.asd]\nepochs = 99\nstage1_end = 10\nstage2_end = 20\n"
        "[defense.asd.gtsrb]\nepochs = 98\n[attack.badnets]\npattern = 'white3'\n",
    )

    def epochs(defense: str = "asd", dataset: str = "cifar10", **given: int) -> int:
        resolved = Experiment(dataset=dataset, defense=defense, profile=str(path), defense_args=given).resolve()
        assert resolved.attack.pattern == "white3"  # type: ignore[attr-defined]
        return int(resolved.defense.epochs)  # type: ignore[attr-defined]

    assert epochs("none") == 70  # every
    assert epochs() == 99  # the section wins over every
    assert epochs(dataset="gtsrb") == 98  # a data set's own over the section
    assert epochs(dataset="gtsrb", epochs=97) == 97  # the caller over all
    resolved = Experiment(defense="asd", profile=str(path)).resolve()
    assert resolved.defense.batch_size == 8  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, int, 3),
        (True, int, MISSING),
        (3.0, int, MISSING),
        (3, float, 3.0),
        ("3", float, MISSING),
        (float("inf"), float, MISSING),
        (None, int | None, None),
        (4, int | None, 4),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, 2], tuple[int, int, int], MISSING),
        ((1, 2.5), tuple[float, float], (1.0, 2.5)),
        ("a", str, "a"),
        (1, bool, MISSING),
    ],
)
def test_convert(value: object, kind: object, expected: object) -> None:
    converted = convert(value, kind)
    assert converted is expected if expected is MISSING or expected is None else converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize("defense", ["none", "asd"])
def test_results_of_the_first_laptop_enter_no_table_beside_new_ones(
    defense: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEFENSELIB_RESULTS")
    committed = results_folder()
    assert committed is not None and "laptop-1" not in RANK
    asked = Experiment(dataset="gtsrb", attack="badnets", defense=defense, profile="laptop-1", paper="asd")
    found = Store(committed).get(asked.resolve())
    assert found is not None and found.profile == "laptop-1"
    assert asked.replace(profile="laptop").resolve().hash != found.hash
