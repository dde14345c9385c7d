"""`defenselib scan`: a dry run as JSON, and an --out with the scan of another folder."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from defenselib.cli import app
from tests.audit.made import plain


def test_a_dry_run_is_json_where_json_is_asked_for(tmp_path: Path) -> None:
    root = plain(tmp_path / "set")
    (root / "a" / "note.txt").write_text("no image")
    result = CliRunner().invoke(app, ["scan", str(root), "--json", "--dry-run", "--budget", "quick", "--no-progress"])
    found = json.loads(result.stdout)
    assert result.exit_code == 0 and result.stderr == ""
    assert (found["images"], found["classes"], found["skipped"], found["dry_run"]) == (6, ["a", "b"], 1, True)
    assert found["expected_seconds"] >= 0 and found["folder"] == str(root)


def test_an_out_with_the_scan_of_another_folder_is_refused(tmp_path: Path) -> None:
    out, quick = tmp_path / "out", ("--budget", "quick", "--no-progress")
    one, two = plain(tmp_path / "one"), plain(tmp_path / "two")
    for _ in range(2):
        result = CliRunner().invoke(app, ["scan", str(one), "--out", str(out), *quick])
        assert result.exit_code == 0, result.output
    before = (out / "scan.json").read_bytes()
    result = CliRunner().invoke(app, ["scan", str(two), "--out", str(out), *quick])
    assert result.exit_code == 2 and str(one) in result.stderr and str(two) in result.stderr
    assert "choose another --out" in result.stderr and (out / "scan.json").read_bytes() == before
