"""`defenselib defend`: what it says before and after, how it refuses, and that a stopped run goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from defenselib.cli import app
from defenselib.learning.context import Context
from tests.audit.made import drawn, plain, scanner

SMOKE = ("--defense", "none", "--profile", "smoke", "--device", "cpu", "--no-progress")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("own") / "data", 100).folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("defenselib.audit.defend.scan", scanner)
    monkeypatch.setattr("defenselib.audit.export.write_onnx", lambda *_: "left out")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["defend", *map(str, arguments)])


@pytest.mark.slow
def test_a_dry_run_says_what_and_how_long_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    result = call(folder, "--out", tmp_path / "out", *SMOKE, "--dry-run")
    assert result.exit_code == 0, result.output
    assert re.search(r"training of about \d+ (s|min)", result.stdout) and "train " in result.stdout
    assert "90 images" in result.stdout and "held out: 10%" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:

        def stopped(self: Context, stage: str, n: int, **state: Any) -> Any:
            yield 0
            raise KeyboardInterrupt

        patch.setattr(Context, "epochs", stopped)
        result = call(folder, "--out", out, *SMOKE)
    assert result.exit_code == 130 and "the same command goes on" in result.stderr
    assert [item.name for item in out.iterdir()] == [".unfinished"]
    result = call(folder, "--out", out, *SMOKE, "--seed", "1")
    assert result.exit_code == 2 and "unfinished run with seed 0, now it is 1" in result.stderr
    result = call(folder, "--out", out, *SMOKE)
    assert result.exit_code == 0, result.output
    about = json.loads((out / "model.json").read_text())
    said = re.search(r"accuracy on the held-out part \(10 images\): ([\d.]+) %", result.stdout)
    assert said is not None and float(said[1]) == pytest.approx(about["accuracy"]["percent"], abs=0.01)
    assert "as suspect as the rest" in result.stdout and str(out / "report.html") in result.stdout
    report = (out / "report.html").read_bytes()
    for more in ((), ("--dry-run",)):
        result = call(folder, "--out", out, *SMOKE, *more)
        assert result.exit_code == 0 and f"this run is finished: report at {out / 'report.html'}" in result.stdout
    result = call(folder, "--out", out, *SMOKE, "--seed", "1")
    assert result.exit_code == 2 and "finished run with seed 0, now it is 1; nothing in it is" in result.stderr
    assert (out / "report.html").read_bytes() == report


def test_too_few_images_for_a_batch_are_refused_before_any_work(tmp_path: Path) -> None:
    for count, said in ((1, "has 2 images, of which 2 are"), (8, "has 16 images, of which 14 are")):
        root = plain(tmp_path / str(count), count=count)
        for more in ((), ("--dry-run",)):
            result = call(root, "--out", tmp_path / "out", *SMOKE[2:], *more)
            assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
            assert said in result.stderr and "16 are needed for a batch" in result.stderr
    assert not (tmp_path / "out").exists()


BAD = [
    (("--defense", "bsdd"), ("unknown defense 'bsdd'", "did you mean 'bsd'", "available")),
    (("--defense", "asd"), ("defense 'asd' needs images that you vouch for", "--clean DIR")),
    (("--defense", "fp"), ("defense 'fp' is not offered", "choose one of bsd, asd, vab")),
    (("--profile", "labtop"), ("unknown profile 'labtop'", "did you mean 'laptop'")),
    (("--seed", "one"), ("--seed", "'one'", "a whole number")),
    (("--seed", "-1"), ("seed is -1",)),
    (("--holdout", "2"), ("holdout is 2.0", "[0.0, 0.5]")),
    (("--holdout", "a tenth"), ("--holdout", "'a tenth'", "a number")),
    (("--image-size", "5"), ("image_size is 5", "[16, 512]")),
    (("--image-size", "large"), ("--image-size", "'large'", "a whole number")),
    (("--device", "cuda:9"), ("device 'cuda:9' is not there", "available: cpu")),
    (("--clean", "nowhere", "--defense", "asd"), ("nowhere does not exist",)),
    (("--test", "nowhere"), ("nowhere does not exist",)),
]


@pytest.mark.parametrize(("given", "said"), BAD, ids=lambda value: " ".join(value))
def test_bad_input_is_one_line_before_any_work(
    given: tuple[str, ...], said: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    result = call(folder, "--out", tmp_path / "out", "--no-progress", *given)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    for words in said:
        assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_folders_that_are_wrong_are_named(folder: Path, tmp_path: Path) -> None:
    for given, words in [
        ((tmp_path / "none", "--out", tmp_path / "out"), "does not exist"),
        ((folder, "--out", folder / "out"), "lies in DIR"),
        ((folder, "--out", tmp_path / "file"), "is a file"),
        ((folder,), "--out"),
    ]:
        (tmp_path / "file").write_text("")
        result = call(*given)
        assert result.exit_code == 2 and words in result.stderr, result.output
