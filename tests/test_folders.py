"""The variables that name folders: expanded, checked, and named in every error."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from defenselib import folders
from defenselib.data import search_path
from defenselib.errors import DataError, FolderError, printable
from defenselib.experiments import default_stores, results_folder

# How each variable is asked for, and what of it: the folder it names must be among the answer.
ASKED: dict[str, Callable[[], list[Path | None]]] = {
    folders.DATA: lambda: list(search_path()),
    folders.STORE: lambda: [default_stores().root],
    folders.RESULTS: lambda: [results_folder(), *default_stores().also],
    folders.CACHE: lambda: [folders.cache_root(), search_path()[-1].parent],
}


@pytest.mark.parametrize("variable", ASKED)
def test_a_tilde_is_the_home_folder(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text in ("~/some where", str(tmp_path / "some where")):
        monkeypatch.setenv(variable, text)
        assert tmp_path / "some where" in ASKED[variable]()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variable", ASKED)
@pytest.mark.parametrize("text", ["file", "pipe", "~nobody-of-that-name/x", "link to file", "n" * 5000])
def test_what_is_no_folder_is_refused_naming_the_variable(
    variable: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link to file").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    value = text if text.startswith("~") else str(tmp_path / text)
    monkeypatch.setenv(variable, value)
    with pytest.raises(FolderError, match=f"{variable} is .*set it to a folder") as error:
        ASKED[variable]()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("variable", [folders.STORE, folders.CACHE])
def test_without_a_home_the_variable_to_set_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ASKED:
        monkeypatch.setenv(name, "")
    with pytest.raises(FolderError, match=f"there is no home folder to write to; set {variable} to a folder"):
        folders.cache_root() if variable == folders.CACHE else default_stores()
    assert search_path() == [Path("data").absolute()]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_an_error_of_the_system_names_path_and_variable(code: int, tmp_path: Path) -> None:
    message = rf"cannot write {tmp_path}/x: .+; set DEFENSELIB_STORE to another folder"
    with pytest.raises(FolderError, match=message), folders.writing(tmp_path / "x", folders.STORE):
        raise OSError(code, os.strerror(code))


def test_set_aside_never_overwrites(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "x").write_text(str(number))
        folders.set_aside(tmp_path / "x")
    (tmp_path / "x").mkdir()
    folders.set_aside(tmp_path / "x")
    found = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert found == {"x.damaged": "0", "x.damaged-2": "1", "x.damaged-3": "2"} and (tmp_path / "x.damaged-4").is_dir()


@pytest.mark.parametrize("text", ["plain", "ä 猫", "\udcff\udcfe", "a\udc80b", "\ud800", "\udfff"])
def test_every_message_can_be_printed(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert str(DataError(text)) == shown and (shown == text) == text.isprintable()
