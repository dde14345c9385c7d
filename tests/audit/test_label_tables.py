"""Labels that stand in a table beside the images: read by one rule, or refused in one line."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from defenselib.audit.folder import UserData, read_folder
from defenselib.audit.inputs import matched, read_beside
from defenselib.audit.scan import scan
from defenselib.errors import DefenseLibError
from tests.audit.made import drawn, picture, plain, reasons, refused

LABELS = ("cat", "dog")
ROWS = [(f"{i}.png", LABELS[i % 2]) for i in range(6)]
TREE = [(f"{part}/{i}.png", LABELS[i % 2]) for part in ("a", "b") for i in range(3)]
HEAD = ("file_name", "label")


def flat(root: Path, folder: str = "", names: tuple[str, ...] = tuple(name for name, _ in ROWS)) -> Path:
    """Images of noise in one folder, no two alike."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        picture(seed).save(root / folder / name, format="PNG")
    return root


def table(path: Path, rows: list[Any], head: tuple[str, ...] | None = HEAD, code: str = "utf-8", **marks: Any) -> None:
    with path.open("w", newline="", encoding=code) as file:
        csv.writer(file, **({"lineterminator": "\n"} | marks)).writerows([head, *rows] if head else rows)


def objects(path: Path, rows: list[Any], head: tuple[str, ...] = HEAD, more: str = "") -> None:
    lines = (json.dumps(dict(zip(head, row, strict=True))) + "\n" for row in rows)
    path.write_text("".join(lines) + more, encoding="utf-8")


def read(data: UserData) -> dict[str, str]:
    """The label of every file that was read."""
    names = (data.classes[label] for label in data.images.labels.tolist())
    return dict(zip(data.files, names, strict=True))


def same(one: UserData, other: UserData) -> bool:
    labels = torch.equal(one.images.labels, other.images.labels)
    return labels and torch.equal(one.images.images, other.images.images) and one.classes == other.classes


WRITERS: dict[str, Callable[[Path], None]] = {
    "metadata.csv": lambda root: table(root / "metadata.csv", ROWS),
    "columns turned": lambda root: table(root / "labels.csv", [row[::-1] for row in ROWS], HEAD[::-1]),
    "Excel": lambda root: table(root / "x.CSV", ROWS, code="utf-8-sig", delimiter=";", lineterminator="\r\n"),
    "UTF-16": lambda root: table(root / "labels.tsv", ROWS, code="utf-16", delimiter="\t"),
    "no head": lambda root: table(root / "labels.csv", ROWS, None),
    "no ending": lambda root: table(root / "labels.csv", [(name[:-4], label) for name, label in ROWS], ("id", "breed")),
    "dots": lambda root: table(root / "labels.csv", [(f"./{name} ", f" {label}") for name, label in ROWS]),
    "Windows": lambda root: table(root / "labels.csv", [(f".\\{name}", label) for name, label in ROWS]),
    "jsonl": lambda root: objects(root / "metadata.jsonl", ROWS),
    "more": lambda root: table(root / "a.csv", [(*row, "7", i) for i, row in enumerate(ROWS)], (*HEAD, "size", "id")),
    "odd name": lambda root: table(root / "a.csv", [(*row, i) for i, row in enumerate(ROWS)], ("f", "species", "id")),
}


@pytest.mark.parametrize("folder", ["", "images"])
@pytest.mark.parametrize("kind", WRITERS)
def test_one_table_in_many_spellings_reads_as_class_folders(kind: str, folder: str, tmp_path: Path) -> None:
    root = flat(tmp_path / "flat", folder)
    WRITERS[kind](root)
    data = read_folder(root)
    prefix = f"{folder}/" if folder else ""
    assert read(data) == {f"{prefix}{name}": label for name, label in ROWS}
    assert not data.skipped and data.notes[0].startswith("labels are those of column ")
    for name, label in ROWS:
        (tmp_path / "tree" / label).mkdir(parents=True, exist_ok=True)
        os.link(root / folder / name, tmp_path / "tree" / label / name)
    assert same(data, read_folder(tmp_path / "tree"))


@pytest.mark.slow
def test_a_scan_says_the_same_of_class_folders_and_of_a_table(tmp_path: Path) -> None:
    example = drawn(tmp_path / "tree", 60)
    tree, root = read_folder(example.folder), tmp_path / "flat"
    root.mkdir()
    for row, file in enumerate(tree.files):
        os.link(tree.root / file, root / f"{row:03}.png")
    named = read(tree)
    table(root / "labels.csv", [(f"{row:03}.png", named[file]) for row, file in reversed([*enumerate(tree.files)])])
    data = read_folder(root)
    assert same(tree, data)
    one, other = (vars(scan(part, budget="quick")) for part in (tree, data))
    assert torch.equal(one["score"], other["score"]) and torch.equal(one["rank"], other["rank"])
    assert torch.equal(one["flagged"], other["flagged"]) and one["words"] == other["words"]


CHARACTERS = {"max_codepoint": 0x2FFF, "exclude_categories": ["C", "Z"], "exclude_characters": "/\\"}
LABEL = st.text(st.characters(**CHARACTERS, include_characters=" "), max_size=9).map("c{}d".format)
NAME = st.text(st.characters(**CHARACTERS, include_characters=" \n\r\t"), max_size=9).map("n{}e.png".format)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    names=st.lists(NAME, min_size=4, max_size=6, unique_by=str.casefold),
    labels=st.lists(LABEL, min_size=2, max_size=2, unique=True),
    mark=st.sampled_from(",;\t"),
    order=st.randoms(use_true_random=False),
)
def test_names_and_labels_of_any_kind_come_back(names: list[str], labels: list[str], mark: str, order: Any) -> None:
    given = {name: labels[i % 2] for i, name in enumerate(names)}
    with tempfile.TemporaryDirectory() as place:
        root = flat(Path(place), names=tuple(given))
        written = list(given.items())
        order.shuffle(written)
        table(root / "labels.csv", written, delimiter=mark, quoting=csv.QUOTE_ALL)
        assert read(read_folder(root)) == given
        (root / "labels.csv").unlink()
        objects(root / "metadata.jsonl", written)
        assert read(read_folder(root)) == given


def test_every_row_and_every_file_is_read_or_told(tmp_path: Path) -> None:
    root = flat(tmp_path / "set", names=(*(f"{i}.png" for i in range(10)), "new\nline.png"))
    (root / "link.png").symlink_to(flat(tmp_path / "outside") / "0.png")
    (root / "far").symlink_to(tmp_path / "outside")
    (root / "inside.png").symlink_to("0.png")
    (root / "broken.png").write_bytes(b"no image")
    (root / "notes.txt").write_text("mine")
    rows = [(f"{i}.png", LABELS[i % 2]) for i in range(6)] + [("new\nline.png", "cat"), ("inside.png", "dog")]
    rows += [("1.png", "dog"), ("./2.png", "dog"), ("6.png", ""), ("7.png", "cat", "", "more"), ("broken.png", "cat")]
    rows += [("gone.png", "cat"), ("../outside/0.png", "cat"), ("/etc/passwd", "cat"), ("C:\\0.png", "cat")]
    rows += [("link.png", "cat"), ("far/0.png", "cat"), ("", "cat"), ("8.png",), ("3.png", "")]
    table(root / "labels.csv", rows)
    data = read_folder(root)
    assert set(data.files) == {"0.png", "1.png", "4.png", "5.png", "new\nline.png", "inside.png"}
    assert reasons(data) | {"broken.png": "is not an image"} == {
        "2.png": "has two labels, cat and dog (lines 4 and 12 of labels.csv)",
        "3.png": "has two labels, dog and none (lines 5 and 24 of labels.csv)",
        "6.png": "has no label (line 13 of labels.csv)",
        "7.png": "has 4 cells on line 14 of labels.csv, which has 2 columns",
        "8.png": "has no label (line 23 of labels.csv)",
        "9.png": "has no row in labels.csv",
        "broken.png": "is not an image",
        "gone.png": "is not there (line 16 of labels.csv)",
        "../outside/0.png": "leads out of the folder (line 17 of labels.csv)",
        "/etc/passwd": "leads out of the folder (line 18 of labels.csv)",
        "C:\\0.png": "leads out of the folder (line 19 of labels.csv)",
        "link.png": "symbolic link out of the folder",
        "far": "symbolic link out of the folder",
        "labels.csv#22": "names no file",
        "notes.txt": "file outside of the training images that are read",
    }
    assert "1 row says again what another one says" in data.notes
    assert "1 symbolic link is read as the file that it stands for" in data.notes


SIX = [("0.png", "cat", "x"), ("1.png", "dog", "y")] + [(f"{i}.png", "cat", "y") for i in range(2, 6)]
REFUSED: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "two labels": (
        lambda root: table(root / "labels.csv", SIX, ("file", "species", "colour")),
        ("2 columns that could be the label: species, colour; choose by --label-column NAME",),
    ),
    "two usual": (
        lambda root: table(root / "labels.csv", SIX, ("file", "class", "label")),
        ("2 columns that could be the label: class, label",),
    ),
    "only hashes": (
        lambda root: table(root / "labels.csv", [(f"{i}.png", f"h{i}") for i in range(6)], ("file", "md5")),
        ("no other column could be their label", "md5", "--label-column NAME"),
    ),
    "only a split": (lambda root: table(root / "a.csv", [(n, "train") for n, _ in ROWS], ("f", "split")), ("split",)),
    "two tables": (
        lambda root: (table(root / "a.csv", ROWS), objects(root / "b.jsonl", ROWS)),
        ("several tables that name its images, a.csv and b.jsonl",),
    ),
    "one class": (lambda root: table(root / "a.csv", [(n, "cat") for n, _ in ROWS]), ("one class", "cat")),
    "Latin-1": (
        lambda root: table(root / "a.csv", [(n, "fenêtre") for n, _ in ROWS], code="latin-1"),
        ("a.csv is not UTF-8 text (line 2)",),
    ),
    "open quote": (
        lambda root: (root / "a.csv").write_text('file,label\n0.png,"cat\n1.png,dog\n2.png,cat\n'),
        ("a.csv cannot be read from line 2 on",),
    ),
    "no object": (
        lambda root: objects(root / "a.jsonl", ROWS, more="{"),
        ("a.jsonl has no JSON object on line 7",),
    ),
    "out": (
        lambda root: table(root / "a.csv", [(f"/data/{n}", label) for n, label in ROWS]),
        ("/data/0.png", "leads out of the folder"),
    ),
    "no image": (
        lambda root: table(root / "a.csv", [(f"img_{n}", label) for n, label in ROWS]),
        ("no images in class folders", "a.csv is no table that names images here"),
    ),
    "no label": (lambda root: table(root / "a.csv", [(n, "") for n, _ in ROWS]), ("gives an image a label", "0.png")),
    "a pipe": (lambda root: os.mkfifo(root / "labels.csv"), ("no images in class folders",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_clear_table_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    write, told = REFUSED[case]
    write(flat(tmp_path))
    said = refused(tmp_path)
    assert all(words in said for words in told), said


def test_the_column_that_is_asked_for_is_taken_or_its_nearest_name_told(tmp_path: Path) -> None:
    table(flat(tmp_path / "set") / "labels.csv", SIX, ("file", "species", "label"))
    assert read(read_folder(tmp_path / "set"))["2.png"] == "y", "the one that is called so goes first"
    assert read(read_folder(tmp_path / "set", label_column="species"))["2.png"] == "cat"
    with pytest.raises(DefenseLibError, match="'specis'; did you mean 'species'"):
        read_folder(tmp_path / "set", label_column="specis")
    tree = plain(tmp_path / "tree", LABELS)
    with pytest.raises(DefenseLibError, match="no table of labels, and so no column 'species'"):
        read_folder(tree, label_column="species")
    data = read_folder(tmp_path / "set", label_column="species")
    assert len(matched(read_beside(tree, 32, "species"), data, "--test")) == 6, "class folders have no column"


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_table_with_other_labels_than_the_folders_goes_before_them(name: str, tmp_path: Path) -> None:
    root = plain(tmp_path)
    (objects if name.endswith("jsonl") else table)(root / name, TREE)
    data = read_folder(root)
    assert read(data) == dict(TREE) and "the names of folders are no classes then" in data.notes[0]
    (root / name).unlink()
    table(root / "labels.csv", [(file[2:], label) for file, label in TREE])
    assert "a/0.png and b/0.png" in refused(root)


@pytest.mark.parametrize(
    ("rows", "head"),
    [
        ([(name, name[0]) for name, _ in TREE], ("path", "class")),
        ([("a", "3"), ("b", "3")], ("class", "count")),
        ([(f"{i}.txt", "cat") for i in range(9)], ("file", "label")),
        ([], ("file", "label")),
    ],
)
def test_a_table_that_agrees_with_the_folders_or_names_no_image_is_no_obstacle(
    rows: list[tuple[str, str]], head: tuple[str, ...], tmp_path: Path
) -> None:
    root = plain(tmp_path / "set")
    table(root / "notes.csv", rows, head)
    (root / "strange.csv").write_bytes(bytes(range(256)) * 9)
    (root / "gone.csv").symlink_to("/nowhere.csv")
    data = read_folder(root)
    assert len(data.files) == 6 and data.classes == ("a", "b")


def test_test_images_are_not_looked_at(tmp_path: Path) -> None:
    for part in ("train", "test"):
        table(flat(tmp_path / "hub", part) / part / "metadata.csv", ROWS)
    data = read_folder(tmp_path / "hub")
    assert read(data) == {f"train/{name}": label for name, label in ROWS} and not data.skipped
    assert "test/ holds test images, which are not looked at" in data.notes
    rows = [(*row, "valid" if i < 2 else "train") for i, row in enumerate(ROWS)]
    table(flat(tmp_path / "set") / "labels.csv", rows, ("file", "label", "data set"))
    data = read_folder(tmp_path / "set")
    assert set(data.files) == {f"{i}.png" for i in range(2, 6)}
    assert reasons(data)["0.png"] == "is a val image by labels.csv, and is not looked at"
    table(flat(plain(tmp_path / "signs" / "Train").parent, "Test") / "Test.csv", [(f"Test/{n}", c) for n, c in ROWS])
    assert read_folder(tmp_path / "signs").classes == ("a", "b")
