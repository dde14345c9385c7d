"""A tree of class folders, walked so that every file below it is either listed or reported."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from defenselib.audit.names import visible
from defenselib.audit.pictures import Found, Skipped
from defenselib.data.sources.folder import CLASS_LIST, class_folders, listed_classes, splits, unwrapped
from defenselib.errors import DataError

_TABLE = "a table beside class folders is not read"
_OUT = "symbolic link out of the folder"


def within(root: Path) -> Callable[[Path], bool]:
    """Whether a path lies in `root` once links are followed, and can be listed if it is a folder."""
    real = os.path.realpath(root)

    def inside(path: Path) -> bool:
        target = Path(os.path.realpath(path))
        return target.is_relative_to(real) and (not os.path.isdir(target) or os.access(target, os.R_OK))

    return inside


def find_tree(root: Path, tables: Collection[Path] = ()) -> Found:
    """The pictures in the class folders of `root`, of its training folder where it has one, or of the one folder in it.

    Everything in a class folder counts for it, however deep, but for `tables` and Parquet files. Links are followed to
    files inside `root` alone. Errors: DataError where there is no class folder, where names of splits say something
    unclear, or where the training folder or its list of classes is a link out of `root`.
    """
    walk = _Walk(root)
    base = unwrapped(root)
    train, test = splits(base)
    for place in (base, train, base / CLASS_LIST):
        if not Path(os.path.realpath(place)).is_relative_to(walk.real):
            raise DataError(f"{place} is a {_OUT}, which is not followed; give its target, or copy that to its place")
    names = [name for name in class_folders(train) if not (train / name).is_symlink()]
    chosen = listed_classes(base, names)
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(chosen):
        told = len(walk.skipped)
        found = sorted(walk.files(train / name))
        if not found and len(walk.skipped) == told:
            walk.skip(train / name, "class folder without a file")
        beside = {file for file in found if file.endswith(".parquet") or root / file in tables}
        walk.skipped += [Skipped(file, _TABLE) for file in sorted(beside)]
        files += [file for file in found if file not in beside]
        labels += [label] * (len(found) - len(beside))
    passed = {train / name for name in chosen} | ({train} if train != base else set()) | ({base} - {root})
    for place in dict.fromkeys((root, base, train)):
        walk.rest(place, passed | {test}, "not in class_list.txt" if chosen != names and place == train else "")
    if not files:
        link = next((item for item in walk.skipped if item.reason.startswith("symbolic link")), None)
        more = f"; {visible(link.file)} is a symbolic link, which is not followed" if link else ""
        raise DataError(
            f"{root} has no images in class folders; expected CLASS/*.png or train/CLASS/*.png, or images beside a "
            f"table of their names and labels (labels.csv){more}"
        )
    notes = [] if test is None else [f"{visible(walk.relative(test))}/ holds test images, which are not looked at"]
    return Found(
        names=tuple(files),
        labels=tuple(labels),
        contents=lambda: (root / name for name in files),
        classes=tuple(chosen),
        skipped=tuple(walk.skipped),
        notes=tuple(notes + walk.notes()),
    )


def below(root: Path) -> list[str]:
    """Relative paths of all files below `root` that a tree could hold."""
    return walked(root)[0]


def walked(root: Path) -> tuple[list[str], dict[str, str]]:
    """`below`, and what is not followed or hidden: its relative path with the reason."""
    walk = _Walk(root)
    files = sorted(walk.files(root))
    return files, {item.file: item.reason for item in walk.skipped}


def note_of_links(count: int) -> list[str]:
    """What is said of so many links to files that are read; nothing of none."""
    if count == 1:
        return ["1 symbolic link is read as the file that it stands for"]
    return [f"{count} symbolic links are read as the files that they stand for"] if count else []


def others(root: Path, read: Collection[Path], reason: Callable[[Path], str]) -> tuple[Skipped, ...]:
    """What lies below `root` beside the files `read`, each with its reason."""
    walk = _Walk(root)
    known = {Path(os.path.realpath(path)) for path in read}
    for name in walk.files(root):
        walk.skip(root / name, reason(root / name))
    known |= {parent for path in known for parent in path.parents}  # a link to a folder that was read through
    return tuple(item for item in walk.skipped if Path(os.path.realpath(root / item.file)) not in known)


@dataclass
class _Walk:
    root: Path
    skipped: list[Skipped] = field(default_factory=list)
    links: int = 0

    def __post_init__(self) -> None:
        self.real = self.root.resolve()

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.append(Skipped(self.relative(path), reason))

    def notes(self) -> list[str]:
        return note_of_links(self.links)

    def files(self, folder: Path) -> Iterator[str]:
        """Relative paths of the regular files below `folder`, and of links to such files inside the root."""
        waiting = [folder]
        while waiting:
            for path in self._entries(waiting.pop()):
                if os.path.isdir(path) and not path.is_symlink():
                    if path.name.startswith("."):
                        self.skip(path, "hidden folder")
                    else:
                        waiting.append(path)
                elif self._taken(path):
                    yield self.relative(path)

    def rest(self, folder: Path, passed: Collection[Path | None], reason: str) -> None:
        """Report what lies in `folder` beside what was read or is told in a note."""
        for path in self._entries(folder):
            if path in passed:
                continue
            if path.is_symlink():
                where = "to a folder, not followed" if os.path.isdir(path) else "outside of the class folders"
                self.skip(path, f"symbolic link {where}")
            elif os.path.isdir(path):
                hidden = path.name.startswith((".", "__"))
                self.skip(path, "hidden folder" if hidden else reason or "folder beside the training images")
            elif path.name != CLASS_LIST:
                self.skip(path, _TABLE if path.suffix == ".parquet" else "file outside of the class folders")

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return sorted(Path(item.path) for item in os.scandir(folder))
        except OSError as error:
            self.skip(folder, f"folder cannot be read ({error.strerror})")
            return []

    def _taken(self, path: Path) -> bool:
        """Whether a path that is no folder is read; reported if not."""
        try:
            if path.is_symlink():
                real = path.resolve(strict=True)
                if not real.is_relative_to(self.real):
                    self.skip(path, _OUT)
                    return False
                if real.is_dir():
                    self.skip(path, "symbolic link to a folder")
                    return False
                self.links += 1
            if stat.S_ISREG(path.stat().st_mode):
                return True
            self.skip(path, "no regular file (a pipe, socket or device)")
        except (OSError, RuntimeError) as error:
            self.skip(path, _lost(error))
        return False


def _lost(error: OSError | RuntimeError) -> str:
    """Why a path cannot be followed; Python 3.11 and 3.12 have a RuntimeError for a circle of links."""
    if isinstance(error, FileNotFoundError):
        return "symbolic link to nothing"
    if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
        return "symbolic link that leads in a circle"
    return f"cannot be read ({error.strerror})"
