"""A tree of class folders, walked so that every file below it is either listed or reported."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from defenselib.audit.found import Found, Skipped
from defenselib.audit.names import visible
from defenselib.data.sources.folder import CLASS_LIST, class_folders, listed_classes, split_kind, splits, unwrapped
from defenselib.errors import DataError


def find_tree(root: Path) -> Found:
    """The pictures in the class folders of `root`, of its training folder where it has one, or of the one folder in it.

    Everything in a class folder counts for it, however deep. Links are followed to files inside `root` alone. Errors:
    DataError where there is no class folder, or where names of splits say something unclear.
    """
    walk = _Walk(root)
    base = unwrapped(root)
    train, test = splits(base)
    names = [name for name in class_folders(train) if not (train / name).is_symlink()]
    chosen = listed_classes(base, names)
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(chosen):
        found = sorted(walk.files(train / name))
        if not found:
            walk.skip(train / name, "class folder without a file")
        files += found
        labels += [label] * len(found)
    if not files:
        raise DataError(f"{root} has no images in class folders; expected CLASS/*.png or train/CLASS/*.png")
    passed = {train / name for name in chosen} | ({train} if train != base else set()) | ({base} - {root})
    for place in dict.fromkeys((root, base, train)):
        walk.rest(place, passed, "not in class_list.txt" if chosen != names and place == train else "", base != train)
    notes = [] if test is None else [f"{visible(walk.relative(test))}/ holds test images, which are not looked at"]
    return Found(
        names=tuple(files),
        labels=tuple(labels),
        contents=lambda: (root / name for name in files),
        classes=tuple(map(visible, chosen)),
        skipped=tuple(walk.skipped),
        notes=tuple(notes + walk.notes()),
    )


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
        return [f"{self.links} symbolic links are read as the files that they stand for"] if self.links else []

    def files(self, folder: Path) -> Iterator[str]:
        """Relative paths of the regular files below `folder`, and of links to such files inside the root."""
        waiting = [folder]
        while waiting:
            for path in self._entries(waiting.pop()):
                if path.is_dir() and not path.is_symlink():
                    if path.name.startswith("."):
                        self.skip(path, "hidden folder")
                    else:
                        waiting.append(path)
                elif self._taken(path):
                    yield self.relative(path)

    def rest(self, folder: Path, passed: set[Path], reason: str, has_splits: bool) -> None:
        """Report what lies in `folder` beside what was read."""
        for path in self._entries(folder):
            if path in passed:
                continue
            if path.is_symlink():
                where = "to a folder, not followed" if path.is_dir() else "outside of the class folders"
                self.skip(path, f"symbolic link {where}")
            elif path.is_dir():
                if has_splits and split_kind(path.name) in ("test", "val"):
                    continue  # told in a note, or no part of the training data
                hidden = path.name.startswith((".", "__"))
                self.skip(path, "hidden folder" if hidden else reason or "folder beside the training images")
            elif path.name != CLASS_LIST:
                self.skip(path, "file outside of the class folders")

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
                    self.skip(path, "symbolic link out of the folder")
                    return False
                if real.is_dir():
                    self.skip(path, "symbolic link to a folder")
                    return False
                self.links += 1
            if stat.S_ISREG(path.stat().st_mode):
                return True
            self.skip(path, "no regular file (a pipe, socket or device)")
        except (OSError, RuntimeError) as error:
            broken = isinstance(error, FileNotFoundError)
            self.skip(path, "symbolic link to nothing" if broken else f"cannot be read ({error})")
        return False
