"""Results on disk: one JSON and one array file a cell, written atomically, found by hash."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from defenselib.errors import DataError, DefenseLibError
from defenselib.experiments.experiment import Resolved, file_name
from defenselib.experiments.result import Result

TensorDict = dict[str, Tensor]
# Kept beside the results of a store that is worked in; never committed.
WORKING_FOLDERS = ("models", "cache", "checkpoints", "locks")


class Store:
    """A folder of results, `ROOT/PROFILE/DATASET-ATTACK-DEFENSE-sSEED-HASH.json` and `.npz`.

    also: further stores that are looked into first and never written (the committed results). Models lie in
    `ROOT/models`, shared stages in `ROOT/cache`, checkpoints of unfinished cells in `ROOT/checkpoints`.
    """

    def __init__(self, root: str | Path, also: Iterable[str | Path] = ()) -> None:
        self.root = Path(root)
        self.also = tuple(Path(item) for item in also)

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def get(self, key: Resolved | str) -> Result | None:
        """The result of a resolved experiment or a hash; None where there is none."""
        wanted = key if isinstance(key, str) else key.hash
        for path in self._files(end=f"-{wanted}.json"):
            result = _read(path)
            if result.hash != wanted:
                raise DataError(f"{path} holds the result {result.hash}; its name was changed, give it back its own")
            return result
        return None

    def results(self, dataset: str = "") -> Iterator[Result]:
        """All results, or those on one data set, each hash once, in order of folder and file name."""
        seen = set()
        for path in self._files(start=f"{file_name(dataset)}-" if dataset else ""):
            result = _read(path)
            if result.hash not in seen:
                seen.add(result.hash)
                yield result

    def put(self, result: Result, arrays: Mapping[str, NDArray[Any]] | None = None) -> Result:
        """Write a result; the same with its path. The JSON comes last: where it is, all is."""
        path = self.root / result.profile / f"{result.stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrays:
            with atomic(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **dict(arrays))
        with atomic(path) as temporary:
            temporary.write_text(result.to_json(), encoding="utf-8")
        return replace(result, path=path)

    def lock(self, key: str) -> AbstractContextManager[Any]:
        """Held by one process at a time; freed by the system when its holder dies."""
        return _lock(self.root / "locks" / f"{key}.lock")

    def save_model(self, key: str, state: TensorDict) -> Path:
        """Keep a model's `state_dict` under a result's hash."""
        path = self.root / "models" / f"{key}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        _save_tensors(path, state)
        return path

    def load_model(self, key: str) -> TensorDict | None:
        """The `state_dict` kept under a hash, on the CPU; None where there is none."""
        for root in (self.root, *self.also):
            path = root / "models" / f"{key}.safetensors"
            if path.exists():
                return load_file(path)
        return None

    def cached(self, key: str, make: Callable[[], TensorDict]) -> TensorDict:
        """Tensors of a shared stage, computed once over all processes. `key` must name all that decides them."""
        path = self.root / "cache" / f"{key}.safetensors"
        with _lock(self.root / "locks" / f"{key}.lock"):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _save_tensors(path, make())
            return load_file(path)

    def checkpoints(self, key: str) -> Path:
        """Folder for the checkpoints of an unfinished cell."""
        return self.root / "checkpoints" / key

    def keep(self, key: Resolved | str, to: Store) -> Result:
        """Copy a result into another store (promotion to the committed ones), without its model."""
        result = self.get(key)
        if result is None:
            raise DefenseLibError(f"{self} has no result {key if isinstance(key, str) else key.hash}")
        return to.put(result, result.arrays)

    def _files(self, start: str = "", end: str = ".json") -> Iterator[Path]:
        # Not glob: a page of the book looks up thousands of results, and this is ten times as fast.
        for root in (*self.also, self.root):
            for folder in sorted(_folders(root)):
                for name in sorted(os.listdir(folder)):
                    if name.startswith(start) and name.endswith(end):
                        yield Path(folder, name)


def default_stores() -> Store:
    """The store used when none is named: reads the committed results, then the working store, writes the latter.

    Committed: DEFENSELIB_RESULTS, else `book/results` of the repository that the package lies in. Working:
    DEFENSELIB_STORE, else `~/.cache/defenselib/results`. An empty variable is as good as none.
    """
    committed = results_folder()
    working = os.environ.get("DEFENSELIB_STORE") or Path.home() / ".cache" / "defenselib" / "results"
    return Store(working, () if committed is None else (committed,))


def results_folder() -> Path | None:
    """Folder of the committed results; None for a package outside its repository."""
    named = os.environ.get("DEFENSELIB_RESULTS")
    if named:
        return Path(named)
    beside = Path(__file__).resolve().parents[2] / "book" / "results"
    return beside if beside.is_dir() else None


def keep(
    results: Iterable[Result | str],
    store: Store | None = None,
    to: str | Path | None = None,
    replace: bool = False,
) -> list[Result]:
    """Promote results (or hashes) of the working store to the committed ones, or to the folder `to`.

    Returns those that were written. A committed result of the same hash stays where today's code made it, for pages
    and texts rely on its numbers; `replace` takes the new run in its place.
    """
    folder = results_folder() if to is None else Path(to)
    if folder is None:
        raise DefenseLibError("no folder for committed results: set DEFENSELIB_RESULTS or name one")
    source = store or default_stores()
    own, target = Store(source.root), Store(folder)
    kept = []
    for item in results:
        key = item if isinstance(item, str) else item.hash
        there = target.get(key)
        if replace or there is None or not there.made_by_current_code():
            kept.append(own.keep(key, target))
    return kept


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when not."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _lock(path: Path) -> filelock.BaseFileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(path)


def _folders(root: Path) -> list[str]:
    """The folders of results, one a profile."""
    if not root.is_dir():
        return []
    with os.scandir(root) as entries:
        return [entry.path for entry in entries if entry.is_dir() and entry.name not in WORKING_FOLDERS]


def _read(path: Path) -> Result:
    return Result.from_json(path.read_text(encoding="utf-8"), path)


def _save_tensors(path: Path, tensors: TensorDict) -> None:
    with atomic(path) as temporary:
        # Copies: safetensors refuses tensors that share memory, and writes no channels-last order.
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, temporary)
