"""Labels that stand in a table are not read, and such a folder is not read by the names of its folders either."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from defenselib.audit.folder import read_folder
from defenselib.cli import app
from tests.audit.made import picture, plain, refused

ROWS = [(f"{part}/{i}.png", ("cat", "dog")[i % 2]) for part in ("a", "b") for i in range(3)]


def written(path: Path, rows: list[tuple[str, str]], mark: str = ",", head: str = "file_name,label") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([head.replace(",", mark), *(mark.join(row) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "rows", "mark"),
    [
        ("labels.csv", ROWS, ","),
        ("metadata.CSV", [(name.rsplit("/", 1)[1], said) for name, said in ROWS], ";"),
        ("train.tsv", [(name.rsplit("/", 1)[1][:-4], said) for name, said in ROWS], "\t"),
        ("train/labels.csv", [(f"/data/set/{name}", said) for name, said in ROWS], ","),
        ("labels.csv", [(said, name.replace("/", "\\")) for name, said in ROWS], ","),
    ],
)
def test_a_table_that_names_the_images_is_refused_and_told_how_to_go_on(
    name: str, rows: list[tuple[str, str]], mark: str, tmp_path: Path
) -> None:
    root = plain(tmp_path / "set")
    if name.startswith("train/"):
        plain(root / "train")
        (root / "a").rename(tmp_path / "a")
        (root / "b").rename(tmp_path / "b")
    written(root / name, rows, mark)
    said = refused(root)
    assert f"{name} names the images" in said and "labels in a CSV file are not read" in said
    assert "CLASS/*.png" in said and "move that file elsewhere" in said
    for command in (["scan", str(root), "--dry-run"], ["defend", str(root), "--out", str(tmp_path / "out")]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2 and name in result.stderr
    (root / name).unlink()
    assert read_folder(root).classes == ("a", "b"), "nothing else is needed"


def test_the_name_of_a_split_is_no_label(tmp_path: Path) -> None:
    root = plain(tmp_path / "train").parent
    written(root / "labels.csv", [(f"train/{name}", "train") for name, _ in ROWS], head="file,split")
    assert "labels.csv names the images (as train/a/0.png)" in refused(root)


def test_images_in_one_folder_beside_a_table_are_told_the_same(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(3):
        picture(i).save(tmp_path / "images" / f"{i}.png")
    written(tmp_path / "labels.csv", [(f"{i}.png", "cat") for i in range(3)])
    assert "labels in a CSV file are not read" in refused(tmp_path)


@pytest.mark.parametrize(
    ("rows", "head"),
    [
        ([(name, name[0]) for name, _ in ROWS], "path,class"),
        ([("a", "3"), ("b", "3")], "class,count"),
        ([(f"{i}.txt", "cat") for i in range(9)], "file,label"),
        ([], "file,label"),
    ],
)
def test_a_table_that_agrees_with_the_folders_or_names_no_image_is_no_obstacle(
    rows: list[tuple[str, str]], head: str, tmp_path: Path
) -> None:
    root = plain(tmp_path / "set")
    written(root / "notes.csv", rows, head=head)
    (root / "strange.csv").write_bytes(bytes(range(256)) * 9)
    (root / "gone.csv").symlink_to("/nowhere.csv")
    assert len(read_folder(root).files) == 6
