"""Where a delivery goes: nothing is written over, an unfinished run goes on only where the same is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from defenselib.audit.outfolder import (
    UNFINISHED,
    check_apart,
    check_finished,
    check_free,
    check_scan,
    finished,
    working_in,
)
from defenselib.errors import InvalidValueError

REQUEST = {"defense": {"name": "bsd"}, "seed": 1}


def left_behind(out: Path) -> Path:
    with pytest.raises(KeyboardInterrupt), working_in(out, REQUEST) as work:
        (work / "state").write_text("half")
        raise KeyboardInterrupt
    return out


def test_a_stopped_run_keeps_its_state_and_a_finished_one_cleans_up(tmp_path: Path) -> None:
    out = left_behind(tmp_path / "out")
    with working_in(out, REQUEST) as work:
        assert (work / "state").read_text() == "half"
        (out / "model.json").write_text("{}")
    assert sorted(item.name for item in out.iterdir()) == ["model.json"]
    with pytest.raises(InvalidValueError, match=r"not empty .*model.json.*nothing in it is written over"):
        check_free(out)


@pytest.mark.parametrize("change", [{"seed": 2}, {"defense": {"name": "asd"}}])
def test_another_request_is_refused_by_name(tmp_path: Path, change: dict[str, object]) -> None:
    out = left_behind(tmp_path / "out")
    name = next(iter(change))
    said = "'asd'" if name == "defense" else "2"
    match = f"unfinished run with {name} .*, now it is {said}"
    with pytest.raises(InvalidValueError, match=match), working_in(out, REQUEST | change):
        pytest.fail("it was let in")
    assert (out / UNFINISHED / "state").exists()


def scanned(out: Path, *names: str) -> Path:
    """A folder in which a scan was stopped, and what it had written by then."""
    state = out / UNFINISHED / "0123456789abcdef"
    state.mkdir(parents=True)
    (state / "patterns.safetensors").write_text("half")
    for name in names:
        (out / name).write_text("")
    return out


def test_a_scan_writes_over_what_a_scan_has_written_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new" / "er", tmp_path / "empty", scanned(tmp_path / "stopped")):
        assert check_scan(out) == out
    assert check_scan(scanned(tmp_path / "writing", "report.html", "suspects.csv"))
    finished = tmp_path / "finished"
    finished.mkdir()
    for name in ("scan.json", "report.html", "suspects.csv", "skipped.csv", "my notes"):
        (finished / name).write_text("")
    assert check_scan(finished)
    (finished / "scan.json").unlink()
    for out in (finished, scanned(tmp_path / "and mine", "holiday.jpg"), left_behind(tmp_path / "run")):
        with pytest.raises(InvalidValueError, match=r"no scan.json of an earlier scan") as caught:
            check_scan(out)
        assert "\n" not in str(caught.value)


def test_the_finished_scan_of_another_folder_is_not_written_over(tmp_path: Path) -> None:
    out, mine, other = tmp_path / "out", tmp_path / "mine", tmp_path / "other"
    for folder in (out, mine, other):
        folder.mkdir()
    (out / "scan.json").write_text(json.dumps({"folder": str(mine)}))
    (tmp_path / "link").symlink_to(mine)
    for root in (mine, tmp_path / "link", tmp_path / "other" / ".." / "mine"):
        assert check_scan(out, root) == out
    with pytest.raises(InvalidValueError, match=rf"finished scan of {mine}, now {other} .*choose another --out"):
        check_scan(out, other)
    (out / "scan.json").write_text("damaged")
    assert check_scan(out, other) == out


def test_a_finished_run_is_known_by_what_was_asked_for(tmp_path: Path) -> None:
    assert finished(tmp_path) is None
    (tmp_path / "model.json").write_text(json.dumps({"request": REQUEST}))
    assert finished(tmp_path) is None, "the report is written last"
    (tmp_path / "report.html").write_text("")
    before = finished(tmp_path)
    assert before == REQUEST
    check_finished(tmp_path, before, REQUEST)
    with pytest.raises(InvalidValueError, match="finished run with seed 1, now it is 2; nothing in it is written over"):
        check_finished(tmp_path, before, REQUEST | {"seed": 2})
    (tmp_path / "model.json").write_text("[]")
    assert finished(tmp_path) is None


def test_a_scan_that_is_unfinished_is_no_place_for_a_delivery(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="holds an unfinished scan"):
        check_free(scanned(tmp_path / "out"))
    (tmp_path / "just made" / UNFINISHED).mkdir(parents=True)
    assert check_free(tmp_path / "just made")


@pytest.mark.parametrize("check", [check_free, check_scan])
def test_a_file_in_the_way_is_named_in_one_line_without_a_wrong_remedy(check: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidValueError, match="is a file; choose a folder") as caught:
            check(out)
        assert "DEFENSELIB" not in str(caught.value) and "\n" not in str(caught.value)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        working_in(out, REQUEST),
        pytest.raises(InvalidValueError, match="another process"),
        working_in(out, REQUEST),
    ):
        pytest.fail("it was let in")


def test_files_folders_with_content_and_folders_that_are_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").write_text("")
    with pytest.raises(InvalidValueError, match="is a file"):
        check_free(tmp_path / "file")
    with pytest.raises(InvalidValueError, match="holiday"):
        check_free(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    assert check_free(tmp_path / "empty") == tmp_path / "empty"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "full")
    for out in (tmp_path / "full" / "out", link / "out", tmp_path / "full"):
        with pytest.raises(InvalidValueError, match="lies in --clean"):
            check_apart(out, {"DIR": tmp_path / "empty", "--clean": tmp_path / "full", "--test": None})
    check_apart(tmp_path / "full-of-it", {"DIR": tmp_path / "full"})
