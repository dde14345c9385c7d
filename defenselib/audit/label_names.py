"""Which file a cell of a table names: by its path from the table's folder, else by the end of its path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath, PureWindowsPath

from defenselib.data.sources.folder import EXTENSIONS

# In the order in which they are tried: the path from the table's folder; the end of the path of one image; the same
# without the image's ending.
WAYS = ("path", "end", "stem")


class Names:
    """The files below a folder, to be found by what a table in `place` (relative to it) calls them."""

    def __init__(self, files: Sequence[str], place: str) -> None:
        self.files = frozenset(files)
        self.place = PurePosixPath(place)
        self.images = [file for file in files if is_image(file)]
        self._ends: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        for file in self.images:
            path = PurePosixPath(file)
            self._ends[path.name].append(file)
            self._stems[path.stem].append(file)

    def found(self, cell: str, way: str) -> list[str]:
        """The files that a cell can mean, one of them if it is clear; none for a path that leaves the folder."""
        if way != "path" and leaves(cell):  # no path of ours does
            return []
        for path in _spelled(cell):
            if files := self._of(path, way):
                return files
        return []

    def _of(self, path: PurePosixPath, way: str) -> list[str]:
        here = (self.place / path).as_posix()
        if way == "path" or here in self.files:
            return [here] if here in self.files else []
        bare = (lambda file: PurePosixPath(file).with_suffix("").as_posix()) if way == "stem" else (lambda file: file)
        named = (self._stems if way == "stem" else self._ends).get(path.name, [])
        found = [file for file in named if f"/{bare(file)}".endswith(f"/{path.as_posix()}")]
        exact = [file for file in found if bare(file) in (here, path.as_posix())]
        return exact if len(exact) == 1 else found

    def alike(self, cell: str) -> list[str]:
        """Images of the same name, whatever stands before it, with its ending or without."""
        name = cell.strip().replace("\\", "/").rsplit("/", 1)[-1]
        return self._ends.get(name) or self._stems.get(name) or []

    def here(self, cell: str) -> list[str]:
        """The paths that a cell can stand for, there or not."""
        return [(self.place / path).as_posix() for path in _spelled(cell)]


def is_image(file: str) -> bool:
    """Whether a file is called like an image."""
    return file.lower().endswith(EXTENSIONS)


def leaves(cell: str) -> bool:
    """Whether a path leads out of the folder that it starts from, or starts from none."""
    text = cell.strip()
    path = PurePosixPath(text.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(PureWindowsPath(text).drive)


def _spelled(cell: str) -> Iterator[PurePosixPath]:
    """The path as it stands, without blanks around it, and with the separators of Windows turned."""
    text = cell.strip()
    for one in dict.fromkeys((cell, text, text.replace("\\", "/"))):
        path = PurePosixPath(one)
        if path.name:
            yield path
