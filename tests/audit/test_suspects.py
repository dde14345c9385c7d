"""suspects.csv and the cleaned list: every file once, names exactly as they are."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from defenselib.audit.folder import UserData
from defenselib.audit.results import Delivery
from defenselib.audit.suspects import KEPT, KEPT_EXACT, REMOVED, quoted, removed_by_rule, write_cleaned, write_suspects
from defenselib.data.types import ImageSet
from defenselib.models import build_model
from tests.audit.made import reported

NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1)


def data_of(files: tuple[str, ...]) -> UserData:
    labels = torch.arange(len(files)) % 2
    images = ImageSet(torch.zeros(len(files), 3, 16, 16, dtype=torch.uint8), labels)
    return UserData(Path("/data"), images, files, ("cat", "=dog"), (), ())


def delivered(count: int, **changes: object) -> Delivery:
    nothing = torch.zeros(count, dtype=torch.bool)
    values = dict(
        defense="bsd",
        scan=None,
        model=build_model("resnet10", 2, 16, width=4), suspects=nothing, score=torch.arange(count) / 7,
        target=None, predicted=torch.arange(count) % 2, held_out=nothing, removed=nothing, accuracy=None, settings={},
    )  # fmt: skip
    return Delivery(**values | changes)  # type: ignore[arg-type]


def unquoted(line: str) -> str:
    """What Git reads in such a line."""
    if not line.startswith('"'):
        return line
    return line[1:-1].encode().decode("unicode_escape").encode("latin1").decode()


@given(names=st.lists(NAMES, min_size=1, max_size=8, unique=True), data=st.data())
@settings(max_examples=60)
def test_the_lists_hold_every_name_once_and_exactly(
    tmp_path_factory: object, names: list[str], data: st.DataObject
) -> None:
    gone = torch.tensor([data.draw(st.booleans()) for _ in names])
    folder = tmp_path_factory.mktemp("cleaned")  # type: ignore[attr-defined]
    write_cleaned(folder, names, gone)
    kept = [name for name, out in zip(names, gone.tolist(), strict=True) if not out]
    exact = (folder / KEPT_EXACT).read_bytes()
    assert [os.fsdecode(item) for item in exact.split(b"\0")[:-1]] == kept
    lines = (folder / KEPT).read_bytes().decode().split("\n")[:-1]
    assert [unquoted(line) for line in lines] == kept, "a line a file, whatever is in its name"
    assert len((folder / REMOVED).read_bytes().decode().split("\n")[:-1]) == len(names) - len(kept)


def test_plain_names_are_not_touched_and_bytes_that_are_no_text_survive() -> None:
    assert quoted("cat/a b ü.png") == "cat/a b ü.png"
    assert quoted("cat/a\nb.png") == '"cat/a\\nb.png"'
    assert quoted('say "cat"') == '"say \\"cat\\""'
    odd = os.fsdecode(b"cat/\xff.png")
    assert quoted(odd) == '"cat/\\377.png"'


def test_the_table_has_every_file_by_rank_with_every_score(tmp_path: Path) -> None:
    files = (*(f"x/{i}.png" for i in range(6)), "=cmd()/\n.png", "-rf.png")
    data = data_of(files)
    flagged = torch.arange(8) == 3
    scan = reported(data, flagged)
    held = torch.arange(8) == 5
    delivery = delivered(
        8,
        scan=scan,
        held_out=held,
        suspects=torch.arange(8) == 1,
        predicted=torch.zeros(8, dtype=torch.int64),
        removed=flagged,
        score=torch.where(held, float("nan"), torch.arange(8.0)),
    )
    write_suspects(tmp_path / "suspects.csv", data, delivery)
    with (tmp_path / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == [str(i) for i in range(1, 9)]
    by_file = {row["file"]: row for row in rows}
    assert set(by_file) == {*files[:6], "./=cmd()/\n.png", "./-rf.png"}, "no formula, the same paths"
    assert rows[0]["file"] == "x/3.png" and rows[0]["flagged"] == "yes" and rows[0]["kept"] == "no"
    # What the method suspects has a column of its own; flagged is what the scan flags, and nobody else flags it.
    assert {name for name, row in by_file.items() if row["flagged_by"]} <= {"x/3.png"}
    assert by_file["x/1.png"]["bsd_suspect"] == by_file["x/1.png"]["kept"] == "yes"
    apart = by_file["x/5.png"]
    assert apart["bsd_score"] == apart["bsd_suspect"] == "" and apart["held_out"] == "yes"
    for i, name in enumerate(files[:5]):
        assert float(by_file[name]["bsd_score"]) == i
        for sign in scan.signs:
            assert float(by_file[name][sign.key]) == pytest.approx(float(sign.scores[i]), rel=1e-4)


def test_two_witnesses_remove_a_file_and_a_calm_scan_removes_none() -> None:
    data = data_of(tuple(map(str, range(8))))
    labels, none = data.images.labels, torch.zeros(8, dtype=torch.bool)
    suspects, predicted = torch.arange(8) < 4, torch.tensor([0, 0, 1, 1, 1, 0, 0, 0])
    flagged = torch.arange(8) == 7
    alarmed = reported(data, flagged, target=1)
    # Label 1 (odd), suspected and taken for 0: only 1; 7 is flagged by the scan.
    assert removed_by_rule(alarmed, labels, suspects, predicted).nonzero().flatten().tolist() == [1, 7]
    assert not removed_by_rule(reported(data, none, target=1), labels, suspects, predicted).any()
