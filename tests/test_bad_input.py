"""Bad input, on the command line and in Python: one clear line each, before any data are loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from defenselib import papers
from defenselib.attacks import create as make_attack
from defenselib.cli import app
from defenselib.defenses import create as make_defense
from defenselib.errors import DefenseLibError
from defenselib.experiments import Experiment, run
from defenselib.experiments import profile as profiles


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        pytest.fail("data were loaded")

    monkeypatch.setattr("defenselib.data.load_dataset", refuse)
    monkeypatch.setattr("defenselib.data.load.load_dataset", refuse)
    monkeypatch.setattr("defenselib.experiments.cell.Cell.compute", refuse)


def one_line(text: str, words: tuple[str, ...]) -> None:
    assert text.count("\n") == 0, text
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"


RUN = ("run", "--no-progress", "--device", "cpu")
ASD = ("reproduce", "--paper", "asd")
YOURS, VERDICTS = (
    ("reproduce", "--notebook", str(Path(__file__).parents[1] / "notebooks" / f"{name}.ipynb"))
    for name in ("your_data", "verdicts")
)
# The command, and what its one line must say: the value, what is allowed, the nearest match.
COMMANDS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    ((*RUN, "--attack", "badnet"), ("'badnet'", "did you mean 'badnets'", "available")),
    ((*RUN, "--attack", ""), ("unknown attack ''", "available")),
    ((*RUN, "--defense", "ASD"), ("'ASD'", "available")),
    ((*RUN, "--defense", "d-br"), ("'d-br'", "did you mean 'dbr'")),
    ((*RUN, "--profile", "labtop"), ("'labtop'", "did you mean 'laptop'")),
    ((*RUN, "--profile", "none.toml"), ("none.toml", "No such file")),
    ((*RUN, "--model", "resnet81"), ("'resnet81'", "did you mean 'resnet18'")),
    ((*RUN, "--paper", "ads"), ("--paper 'ads'", "did you mean 'asd'", "asd, bsd, vab, dst_dbr, aabl")),
    ((*RUN, "--attack", "wanet", "--paper", "dst_dbr"), ("--paper is 'dst_dbr'", "'wanet'", "asd, bsd, vab, aabl")),
    ((*RUN, "--dataset", ""), ("dataset is ''", "a name or a path")),
    ((*RUN, "--seed", "-1"), ("seed is -1", "[0, 9223372036854775807]")),
    ((*RUN, "--seed", "1" * 24), ("seed is 1111", "[0, 9223372036854775807]")),
    ((*RUN, "--seed", "one"), ("--seed", "'one'", "a whole number")),
    ((*RUN, "--seed", "1.5"), ("--seed", "'1.5'", "a whole number")),
    ((*RUN, "--rate", "2"), ("rate is 2.0", "[0.0, 1.0]")),
    ((*RUN, "--rate", "-0.1"), ("rate is -0.1", "[0.0, 1.0]")),
    ((*RUN, "--rate", "nan"), ("--rate", "'nan'", "a number")),
    ((*RUN, "--rate", ""), ("--rate", "''", "a number")),
    ((*RUN, "--target", ""), ("--target", "''", "a whole number")),
    ((*ASD, "-j", "two"), ("--jobs", "'two'", "a whole number")),
    ((*RUN, "--rate", "5%"), ("--rate", "'5%'", "a number")),
    ((*RUN, "--target", "10"), ("target is 10", "0 to 9")),
    ((*RUN, "--target", "-1"), ("target is -1", "at least 0")),
    ((*RUN, "--attack", "none", "--rate", "0.1"), ("'none'", "rate is 0.1")),
    ((*RUN, "--attack", "badnets-all2all", "--target", "3"), ("target is 3", "None")),
    ((*RUN, "--devise", "cpu"), ("--devise", "--device")),
    (("run", "extra"), ("extra",)),
    (("--foo",), ("--foo",)),
    (("run", "--seed"), ("--seed", "requires an argument")),
    (("rum",), ("'rum'", "run")),
    (("run", "--device", "gpu"), ("'gpu'", "cpu")),
    (("run", "--device", "cuda:99"), ("cuda:99",)),
    ((*RUN, "--defense-arg", "epochs"), ("--defense-arg", "'epochs'", "name=value")),
    ((*RUN, "--defense-arg", "=3"), ("'=3'", "name=value")),
    ((*RUN, "--defense-arg", "epoch=3"), ("'epoch'", "did you mean 'epochs'")),
    ((*RUN, "--defense-arg", "epochs=1", "--defense-arg", "epochs=2"), ("'epochs' twice",)),
    ((*RUN, "--defense-arg", "epochs="), ("''", "a whole number")),
    ((*RUN, "--defense-arg", "epochs=2.5"), ("'2.5'", "a whole number")),
    ((*RUN, "--defense-arg", "epochs=0"), ("epochs is 0", "[1, 1000000]")),
    ((*RUN, "--defense-arg", "epochs=100000000000"), ("epochs is 100000000000", "[1, 1000000]")),
    ((*RUN, "--defense-arg", "batch_size=1"), ("batch_size is 1", "[2, 1000000]")),
    ((*RUN, "--defense-arg", "batch_size=1000000000"), ("batch_size is 1000000000", "[2, 1000000]")),
    ((*RUN, "--defense-arg", f"batch_size={10**23}"), ("batch_size is 1000", "[2, 1000000]")),
    ((*RUN, "--defense-arg", "learning_rate=nan"), ("learning_rate", "'nan'", "a number")),
    ((*RUN, "--defense-arg", "learning_rate=0"), ("learning_rate is 0.0", "positive")),
    ((*RUN, "--defense-arg", "momentum=2"), ("momentum is 2.0", "[0.0, 1.0]")),
    ((*RUN, "--defense-arg", "momentum=-1"), ("momentum is -1.0", "[0.0, 1.0]")),
    ((*RUN, "--defense-arg", "weight_decay=-1"), ("weight_decay is -1.0", "[0.0, 1.0]")),
    ((*RUN, "--defense-arg", "milestones=150,100"), ("milestones is (150, 100)", "not fall")),
    ((*RUN, "--defense-arg", "milestones=-1,100"), ("milestones is (-1, 100)", "0 or above")),
    ((*RUN, "--defense-arg", "milestones=4..1"), ("'4..1'", "count upwards")),
    ((*RUN, "--defense-arg", "schedule=stepp"), ("'stepp'", "did you mean 'step'")),
    ((*RUN, "--defense-arg", "padding=-1"), ("padding is -1", "[0,")),
    ((*RUN, "--defense-arg", "padding=32"), ("padding is 32", "the images, 32")),
    ((*RUN, "--attack-arg", "patern=dbd2"), ("'patern'", "did you mean 'pattern'")),
    ((*RUN, "--attack-arg", "pattern=dbd9"), ("'dbd9'", "did you mean 'dbd")),
    ((*RUN, "--attack-arg", "preset=vap"), ("'vap'", "did you mean 'vab'")),
    ((*RUN, "--attack-arg", "seed=-4"), ("seed", "-4", "[0,")),
    ((*RUN, "--attack-arg", "image_size=64"), ("'image_size'", "available")),
    ((*RUN, "--attack", "blend", "--attack-arg", "alpha=2"), ("alpha is 2.0", "[0.0, 1.0]")),
    ((*RUN, "--attack", "blend", "--attack-arg", "picture=none.png"), ("'none.png'", "does not exist")),
    (("reproduce",), ("--paper", "--notebook")),
    (("reproduce", "--paper", "ads"), ("'ads'", "did you mean 'asd'")),
    ((*ASD, "--profile", "labtop"), ("'labtop'", "did you mean 'laptop'")),
    ((*ASD, "--profile", "gpu", "-p", "profile=smoke"), ("'gpu'", "'smoke'")),
    ((*ASD, "-j", "0"), ("jobs is 0", "[1, 64]")),
    ((*ASD, "-p", "seeds"), ("'seeds'", "name=value")),
    ((*ASD, "-p", "seeds="), ("'seeds'", "empty")),
    ((*ASD, "-p", "seeds=[]"), ("'seeds'", "empty")),
    ((*ASD, "-p", "seeds=0,one"), ("'one'", "a whole number")),
    ((*ASD, "-p", "seeds=9..0"), ("'9..0'", "count upwards")),
    ((*ASD, "-p", "seeds=0..99999999"), ("'0..99999999'", "10000")),
    ((*ASD, "-p", "run=perhaps"), ("'perhaps'", "true or false")),
    ((*ASD, "-p", "atacks=badnets"), ("'atacks'", "did you mean 'attacks'")),
    ((*ASD, "-p", "attacks=badnets,blond"), ("'blond'", "did you mean 'blend'")),
    ((*ASD, "-p", "datasets=cifar11"), ("'cifar11'", "did you mean 'cifar10'")),
    ((*ASD, "-p", "exhibits=table-99", "--dry-run"), ("'table-99'", "did you mean 'table-", "figure-7, text-1, all")),
    ((*YOURS, "-p", "defense=abll", "--dry-run"), ("'abll'", "did you mean 'abl'", "available")),
    ((*YOURS, "-p", "defense=ft", "--dry-run"), ("'ft'", "not offered", "abl")),
    ((*VERDICTS, "-p", "paper=ads", "--dry-run"), ("'ads'", "did you mean 'asd'")),
    ((*ASD, "--output", "page.html"), ("'page.html'", "NAME.ipynb")),
    ((*ASD, "--paper", "bsd", "--output", "page.ipynb"), ("'page.ipynb'", "folder")),
    (("reproduce", "--notebook", "none.ipynb"), ("none.ipynb", "there is no notebook")),
    (("reproduce", "--notebook", "."), ("is a folder",)),
    (("status", "--profile", "labtop"), ("'labtop'", "did you mean 'laptop'")),
    (("status", "--paper", "ads"), ("'ads'", "did you mean 'asd'")),
    (("keep",), ("hashes", "--profile")),
    (("keep", "../../evil"), ("'../../evil'", "16 hexadecimal digits")),
    (("keep", "0123456789abcdef"), ("no result 0123456789abcdef",)),
    (("keep", "--profile", "labtop"), ("'labtop'", "did you mean 'laptop'")),
    (("clean", "--pages", "nowhere"), ("--pages is 'nowhere'", "does not exist")),
    (("clean", "--dryrun"), ("--dryrun", "--dry-run")),
]


@pytest.mark.parametrize(("arguments", "words"), COMMANDS, ids=[" ".join(arguments)[-60:] for arguments, _ in COMMANDS])
def test_commands(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "reproduce" in arguments:
        pytest.importorskip("papermill")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and result.stderr.startswith("error: ")
    one_line(result.stderr.removesuffix("\n"), words)
    assert list(tmp_path.iterdir()) == []


def cell(**arguments: Any) -> Callable[[], Any]:
    return lambda: Experiment(**arguments).resolve()


def defense(name: str, **hyper: Any) -> Callable[[], Any]:
    return lambda: make_defense(name, **hyper)


def attack(name: str, **hyper: Any) -> Callable[[], Any]:
    return lambda: make_attack(name, **hyper)


def exhibit(**arguments: Any) -> Callable[[], Any]:
    return lambda: papers.get("asd").exhibit("table-1").reproduce(**arguments)


CALLS: list[tuple[Callable[[], Any], tuple[str, ...]]] = [
    (cell(dataset=None), ("dataset is None", "a text")),
    (cell(dataset=3), ("dataset is 3", "a text")),
    (cell(dataset=b"shapes"), ("dataset is b'shapes'", "a text")),
    (cell(attack=None), ("attack is None", "a text")),
    (cell(attack=["badnets"]), ("attack is ['badnets']", "a text")),
    (cell(profile=None), ("profile is None", "a text")),
    (cell(seed="0"), ("seed is '0'", "a whole number")),
    (cell(seed=True), ("seed is True", "a whole number")),
    (cell(seed=1.0), ("seed is 1.0", "a whole number")),
    (cell(seed=None), ("seed is None", "a whole number")),
    (cell(seed=2**63), ("seed is 9223372036854775808", "[0, 9223372036854775807]")),
    (cell(seed=10**5000), ("seed is", "too long to show")),
    (cell(rate="0.1"), ("rate is '0.1'", "a finite number")),
    (cell(rate=True), ("rate is True", "a finite number")),
    (cell(rate=float("inf")), ("rate is inf", "a finite number")),
    (cell(target=1.5), ("target is 1.5", "a whole number")),
    (cell(target=True), ("target is True", "a whole number")),
    (cell(target=np.array([1, 2])), ("target is array([1, 2])", "a whole number")),
    (cell(holdout=0.5), ("holdout is 0.5", "a whole number")),
    (cell(holdout=-1), ("holdout is -1", "at least 0")),
    (cell(holdout=10**9, profile="paper"), ("holdout 1000000000", "50000")),
    (cell(attack_args=None), ("attack_args", "None", "a dictionary")),
    (cell(defense_args=[("epochs", 3)]), ("defense_args", "[('epochs', 3)]", "a dictionary")),
    (cell(defense_args={"epochs": "3"}), ("epochs is '3'", "a whole number")),
    (cell(defense_args={3: 3}), ("unknown key", "3", "epochs")),
    (cell(defense_args={"milestones": 5}), ("milestones is 5", "a tuple")),
    (cell(measure="acc"), ("measure is 'acc'", "a tuple")),
    (cell(measure=3), ("measure is 3", "a tuple")),
    (cell(measure=("accuracy",)), ("'accuracy'", "acc")),
    (cell(stop_after="asd:0"), ("'asd:0'", "'stage:epochs'")),
    (cell(diagnostic="oracle-split"), ("'oracle-split'", "'asd'")),
    (cell(diagnostic="oracle"), ("'oracle'", "did you mean 'oracle-split'")),
    (cell(count="exact"), ("'exact'", "exact-all")),
    (defense("none", epochs="a"), ("epochs is 'a'", "a number")),
    (defense("none", epochs=True), ("epochs is True", "a number")),
    (defense("none", epochs=1.5), ("epochs is 1.5", "a whole number")),
    (defense("none", epochs=None), ("epochs is None", "a number")),
    (defense("none", momentum=-1), ("momentum is -1", "[0.0, 1.0]")),
    (defense("none", learning_rate=float("nan")), ("learning_rate is nan", "a number")),
    (defense("none", learning_rate=float("inf")), ("learning_rate is inf", "positive")),
    (defense("none", milestones=(5, 3)), ("milestones is (5, 3)", "not fall")),
    (defense("none", milestones="5"), ("milestones is '5'", "a sequence of whole numbers")),
    (defense("none", padding="4"), ("padding is '4'", "a number")),
    (defense("ft", batch_size=1), ("batch_size is 1", "[2, 1000000]")),
    (defense("ft", weight_decay=-1), ("weight_decay is -1", "[0.0, 1.0]")),
    (defense("asd", temperature=0), ("temperature is 0", "positive")),
    (defense("asd", mixup_alpha=-0.75), ("mixup_alpha is -0.75", "positive")),
    (defense("asd", lambda_u=-1), ("lambda_u is -1", "not be negative")),
    (defense("asd", rampup=-1), ("rampup is -1", "not be negative")),
    (defense("asd", growth_per_class=-1), ("growth_per_class is -1", "not be negative")),
    (defense("asd", virtual_epochs=-1), ("virtual_epochs is -1", "not be negative")),
    (defense("asd", virtual_learning_rate=0), ("virtual_learning_rate is 0", "positive")),
    (defense("asd", virtual_batch_size=1), ("virtual_batch_size is 1", "[2, 1000000]")),
    (defense("abl", weight_decay=2), ("weight_decay is 2", "[0.0, 1.0]")),
    (defense("abl", milestones=(9, 2)), ("milestones is (9, 2)", "not fall")),
    (defense("cbd", critic_milestones=(9, 2)), ("critic_milestones is (9, 2)", "not fall")),
    (defense("bsd", lga_gamma=-1), ("lga_gamma is -1", "not be negative")),
    (defense("vab", victim_learning_rate=-1), ("victim_learning_rate is -1", "positive")),
    (defense("vab", victim_weight_decay=3), ("victim_weight_decay is 3", "[0.0, 1.0]")),
    (defense("dst", momentum=1.5), ("momentum is 1.5", "[0.0, 1.0]")),
    (defense("dbr", sd_batch_size=1), ("sd_batch_size is 1", "[2, 1000000]")),
    (attack("badnets", seed=-4), ("seed", "-4", "[0,")),
    (attack("badnets", seed="4"), ("seed", "'4'", "int")),
    (attack("badnets", image_size=0), ("image_size", "0", "[1,")),
    (attack("badnets", image_size="32"), ("'32'", "a whole number")),
    (attack("badnets", image_size=3), ("'dbd2'", "3x3")),
    (attack("iab", milestones=(400, 200)), ("milestones is (400, 200)", "not fall")),
    (attack("iab", padding=32), ("padding is 32", "[0, 31]")),
    (attack("clb", surrogate_milestones=(9, 2)), ("surrogate_milestones is (9, 2)", "not fall")),
    (attack("clb", surrogate_batch_size=1), ("surrogate_batch_size is 1", "[2, 1000000]")),
    (attack("wanet", grid_size=True), ("grid_size", "True", "int")),
    (exhibit(seeds=3), ("seeds is 3", "a list of whole numbers")),
    (exhibit(seeds="0"), ("seeds is '0'", "a list of whole numbers")),
    (exhibit(seeds=[]), ("seeds is []", "None stands for")),
    (exhibit(seeds=[-1]), ("seed is -1", "[0, 9223372036854775807]")),
    (exhibit(seeds=[0.5]), ("seeds is [0.5]", "a list of whole numbers")),
    (exhibit(attacks=[]), ("attacks is empty", "None stands for")),
    (exhibit(attacks="badnets"), ("attacks is 'badnets'", "a list of names")),
    (exhibit(attacks=5), ("attacks is 5", "a list of names")),
    (exhibit(profile="best", run=True), ("'best'", "name a profile")),
    (lambda: run(Experiment(dataset="shapes"), device="gpu"), ("'gpu'", "cpu")),
    (
        lambda: run(Experiment(dataset="shapes"), device="cpu", checkpoint_every=-1),
        ("checkpoint_every", "-1", "least 0"),
    ),
    (lambda: run(Experiment(dataset="shapes"), device="cpu", checkpoint_every="a"), ("checkpoint_every", "'a'")),
]


@pytest.mark.parametrize(("call", "words"), CALLS, ids=[", ".join(words)[:60] for _, words in CALLS])
def test_calls(call: Callable[[], Any], words: tuple[str, ...]) -> None:
    with pytest.raises(DefenseLibError) as raised:
        call()
    one_line(str(raised.value), words)


@pytest.mark.parametrize("text", ["nan", "-1", "soon"])
def test_the_interval_of_checkpoints(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_CHECKPOINT_EVERY", text)
    with pytest.raises(DefenseLibError, match=f"DEFENSELIB_CHECKPOINT_EVERY is '{text}', it must be a number of sec"):
        run(Experiment(dataset="shapes"), device="cpu")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x81", ("mine.toml", "utf-8")),
        (b"name = 'mine'\nwidth = 3\n", ("'width'", "available")),
        (b"name = 'mine'\n[model]\nwidth = 1000000\n", ("width is 1000000", "[8, 1024]")),
        (b"name = 'mine'\n[defense.asd]\nepochs = '3'\n", ("epochs is '3'", "a whole number")),
    ],
)
def test_profiles(content: bytes, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(DefenseLibError) as raised:
        profiles.load(tmp_path / "mine.toml")
    one_line(str(raised.value), words)


def test_the_table_is_long_enough() -> None:
    assert len(COMMANDS) + len(CALLS) >= 100


def test_numbers_of_any_kind_and_paths_are_taken_as_plain_ones() -> None:
    given = Experiment(
        dataset=Path("shapes"),  # type: ignore[arg-type]
        seed=np.int64(3),  # type: ignore[arg-type]
        rate=np.float32(0.5),  # type: ignore[arg-type]
        target=np.uint8(1),  # type: ignore[arg-type]
        holdout=np.int32(10),  # type: ignore[arg-type]
        defense_args={"epochs": np.int16(2), "milestones": np.array([1, 2]), "learning_rate": np.float64(0.125)},
    )
    plain = Experiment(
        dataset="shapes",
        seed=3,
        rate=0.5,
        target=1,
        holdout=10,
        defense_args={"epochs": 2, "milestones": (1, 2), "learning_rate": 0.125},
    )
    assert given == plain and given.resolve().hash == plain.resolve().hash
    assert [type(getattr(given, name)) for name in ("dataset", "seed", "rate", "target")] == [str, int, float, int]
    assert make_attack("badnets", np.int64(64)) == make_attack("badnets", 64)  # type: ignore[arg-type]
    assert given.resolve().describe() == plain.resolve().describe()
