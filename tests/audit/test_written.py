"""What scan and defend leave on disk: the verdict everywhere, every folder's skipped files, nothing lost on the way."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bs4 import BeautifulSoup
from typer.testing import CliRunner

from defenselib.audit.defend import Plan, Settings, defend
from defenselib.audit.page import report
from defenselib.audit.pictures import Skipped
from defenselib.audit.scan import scan
from defenselib.audit.suspects import unjudged, write_scan
from defenselib.cli import app
from defenselib.errors import FolderError
from defenselib.learning import checkpoints
from tests.audit.made import reported
from tests.audit.test_measured import data_of
from tests.audit.test_scan import planted, smooth, user_data, written

QUICK = ("--image-size", "16", "--budget", "quick", "--no-progress", "--device", "cpu")
SMOKE = ("--defense", "none", "--profile", "smoke", "--device", "cpu", "--no-progress", "--image-size", "16")


def scanner(data: Any, *, save: Any, **_: Any) -> Any:
    """Stands for `scan`: an alarm on the second class."""
    save(report := reported(data, torch.arange(len(data.files)) < 3, target=1, words="Very likely poisoned."))
    return report


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Without the graph, at a home of its own, in an empty folder."""
    monkeypatch.setattr("defenselib.audit.export.write_onnx", lambda *_: "left out")
    monkeypatch.setattr("defenselib.audit.defend.scan", scanner)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path


@pytest.mark.slow
def test_a_delivery_carries_the_verdict_and_the_skipped_files_of_all_folders(quick: Path) -> None:
    written(quick / "data", smooth(0, 40), torch.arange(40) % 2)
    test = written(quick / "test", smooth(1, 8), torch.arange(8) % 2)
    (test / "c0" / "broken.png").write_bytes(b"xx")
    result = CliRunner().invoke(
        app, ["defend", str(quick / "data"), "--out=~/x", "--test", str(test), *SMOKE], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "ALARM Very likely poisoned." in result.stdout and "test: 1 file is not read" in result.stdout
    out = quick / "home" / "x"
    assert not list((quick / "here").iterdir()), "~ is the home for every file"
    about = json.loads((out / "model.json").read_text())
    assert about["scan"]["alarm"] == "alarm" and about["scan"]["target"] == "c1" and about["scan"]["words"]
    assert about["method"] == {"name": "none", "target_guess": None} and "target_guess" not in about
    assert [(row["file"], row["folder"]) for row in rows_of(out / "skipped.csv")] == [("c0/broken.png", "test")]
    text = BeautifulSoup((out / "report.html").read_text(), "html.parser")
    assert "c0/broken.png" in text.select_one("#skipped").get_text()
    assert "test: 8 images" in text.select_one("#checked").get_text()


@pytest.mark.slow
def test_what_a_method_guesses_stands_apart_from_what_the_scan_says(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from defenselib.audit import defend as module

    judged = module.judged
    monkeypatch.setattr(module, "judged", lambda *given: replace(judged(*given), target=2))
    delivery = defend(Plan(data_of(), Settings("none", "smoke"), device="cpu"), "~/x", scanner=scanner)
    about = json.loads((quick / "home" / "x" / "model.json").read_text())
    assert about["scan"]["target"] == "b" and about["method"]["target_guess"] == "c"
    # Held-out files are kept without having been judged by the defense, and the report says how many.
    said = BeautifulSoup(report(data_of(), delivery.scan, delivery), "html.parser").select_one("#checked").get_text()
    held = delivery.held_out
    assert f"{int(held.sum())} held-out files were not trained on" in said and "judged by the defense" not in said
    said = unjudged(replace(delivery, defense="bsd"))
    assert f"{int(held.sum())} held-out files were not judged by the defense" in said
    assert f"{int((held & ~delivery.removed).sum())} of them are kept" in said


def test_a_scan_goes_to_the_home_that_is_meant(quick: Path) -> None:
    written(quick / "data", smooth(0, 40), torch.arange(40) % 2)
    for _ in range(2):  # what a scan has written it may write over
        result = CliRunner().invoke(app, ["scan", str(quick / "data"), "--out=~/x", *QUICK])
        assert result.exit_code == 0, result.output
    assert sorted(item.name for item in (quick / "home" / "x").iterdir()) == [
        "report.html", "scan.json", "skipped.csv", "suspects.csv"
    ]  # fmt: skip
    scan(user_data(*planted("patch")[:2]), budget="quick", out="~/y")
    assert not list((quick / "here").iterdir()) and (quick / "home" / "y").is_dir()


@pytest.mark.parametrize("place", ["file", "file/below", "full"])
def test_a_scan_writes_over_nothing_of_anybody_else(place: str, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(quick / "data", smooth(0, 8), torch.arange(8) % 2)
    (quick / "file").write_text("")
    (quick / "full").mkdir()
    (quick / "full" / "report.html").write_text("mine")
    monkeypatch.setattr("defenselib.audit.folder.read_folder", lambda *_, **__: pytest.fail("it was read before"))
    result = CliRunner().invoke(app, ["scan", str(quick / "data"), "--out", str(quick / place), *QUICK])
    assert result.exit_code == 2 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert "DEFENSELIB_STORE" not in result.stderr and (quick / "full" / "report.html").read_text() == "mine"


def test_a_scan_whose_results_cannot_be_written_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = user_data(*planted("patch")[:2])

    def full(_: object) -> None:
        raise FolderError("no space is left")

    with pytest.raises(FolderError):
        scan(data, budget="quick", out=tmp_path / "out", save=full)
    assert list((tmp_path / "out").rglob("patterns.safetensors"))
    monkeypatch.setattr("defenselib.audit.scan.find_patterns", lambda *_: pytest.fail("it was searched again"))
    seen = []
    found = scan(data, budget="quick", out=tmp_path / "out", save=seen.append)
    assert seen == [found] and not list((tmp_path / "out").iterdir())
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("defenselib.audit.scan.class_sizes", lambda *_: pytest.fail("work before it can be written"))
    monkeypatch.setattr(checkpoints, "save", lambda *_: None)
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FolderError, match="cannot write") as caught:
            scan(data, budget="quick", out=place)
        assert "DEFENSELIB_STORE" not in str(caught.value)


def test_every_cell_is_in_quotes_and_none_begins_as_a_formula(tmp_path: Path) -> None:
    data = user_data(smooth(0, 4), torch.arange(4) % 2)
    names = ("x;=cmd()", "=1+1", "a,b\n;@c", 'say "=1"')
    data = replace(data, files=names, skipped=(Skipped("y;=cmd()", "no; =image"),))
    write_scan(tmp_path, data, scan(data, budget="quick"))
    for file in ("suspects.csv", "skipped.csv"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        # A program that separates at semicolons too sees the same cells, and none begins as a formula does.
        cells = re.findall(r'"((?:[^"]|"")*)"(?:[,;\n])', text)
        assert "".join(f'"{cell}",' for cell in cells) == re.sub(r'"\n"', '","', text).rstrip("\n") + ","
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert {row["file"] for row in rows_of(tmp_path / "suspects.csv")} == {*names} - {"=1+1"} | {"./=1+1"}
    assert rows_of(tmp_path / "skipped.csv") == [{"file": "y;=cmd()", "reason": "no; =image", "folder": "data"}]
