"""Results on disk: one JSON and one array file a cell, written atomically, found by hash."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
from numpy.typing import NDArray

from defenselib import folders
from defenselib.errors import BusyError, DamagedFileError, DataError, DefenseLibError
from defenselib.experiments import index
from defenselib.experiments.result import Result
from defenselib.experiments.schema import check_hash, check_key, check_profile_name, check_stem
from defenselib.experiments.spec import Resolved, file_name
from defenselib.folders import atomic

if TYPE_CHECKING:
    from defenselib.tensor_files import TensorDict


class Store:
    """A folder of results, `ROOT/PROFILE/DATASET-ATTACK-DEFENSE-sSEED-HASH.json` and `.npz`.

    also: further stores that are looked into first and never written (the committed results). Models lie in
    `ROOT/models`, shared stages in `ROOT/cache`, checkpoints of unfinished cells in `ROOT/checkpoints`.

    A damaged result is named where it is asked for, and by `damaged`; a damaged model or shared stage is set aside with
    a warning, as if it were not there. Errors: FolderError where the folder cannot be written; InvalidValueError for a
    key that is neither a hash nor the name of a shared stage.
    """

    def __init__(self, root: str | Path, also: Iterable[str | Path] = ()) -> None:
        self.root = folders.expanded(root)
        self.also = tuple(map(folders.expanded, also))

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def get(self, key: Resolved | str) -> Result | None:
        """The result of a resolved experiment or a hash; None where there is none. Errors: DataError, damaged."""
        wanted = check_hash(key if isinstance(key, str) else key.hash)
        for path in self.files(wanted):
            result = _read(path)
            if result is None:
                continue
            if result.hash != wanted:
                raise DataError(f"{path} holds the result {result.hash}; its name was changed, give it back its own")
            return result
        return None

    def files(self, key: str) -> Iterator[Path]:
        """The JSON files of the result with a hash, unread: none, one, or one in each store."""
        for root in (*self.also, self.root):
            yield from index.find(root, key)

    def starts(self, profile: str = "") -> frozenset[str]:
        """What the names of all results' files, or of one profile's, say before the hash (`spec.start_of`). An
        experiment whose name is not among them has no result here, which is known without resolving it."""
        return frozenset().union(*(index.starts(root, profile) for root in (*self.also, self.root)))

    def state(self) -> tuple[tuple[str, int, int], ...]:
        """What changes whenever a file of a result is added, rewritten or removed."""
        return sum((index.state(root) for root in (*self.also, self.root)), ())

    def results(self, dataset: str = "") -> Iterator[Result]:
        """All results, or those on one data set, each hash once, in order of folder and file name.

        Damaged files are passed over: `damaged` names them.
        """
        seen = set()
        for result in self._all(f"{file_name(dataset)}-" if dataset else ""):
            if isinstance(result, Result) and result.hash not in seen:
                seen.add(result.hash)
                yield result

    def damaged(self) -> list[str]:
        """One line for each result file that cannot be read, with its path and what is wrong."""
        return [str(item) for item in self._all() if isinstance(item, DataError)]

    def put(self, result: Result, arrays: Mapping[str, NDArray[Any]] | None = None) -> Result:
        """Write a result; the same with its path. The JSON comes last: where it is, all is."""
        path = self._place(result.profile, result.stem)
        if arrays:
            placed = atomic(path.with_suffix(".npz"))
            with folders.writing(path, folders.STORE), placed as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **dict(arrays))
        folders.write_text(path, result.to_json(), folders.STORE)
        return replace(result, path=path)

    def reserve(self, resolved: Resolved) -> None:
        """Raise FolderError now, before any work, where the result could not be written."""
        path = self._place(resolved.profile, resolved.stem)
        with folders.writing(path, folders.STORE):
            with suppress(FileNotFoundError):
                path.stat()  # raises for a name that is too long
            with atomic(path.with_name(f".{resolved.hash}.try")) as temporary:
                temporary.write_bytes(b"\0" * 4096)
            path.with_name(f".{resolved.hash}.try").unlink(missing_ok=True)

    def lock(self, key: str, wait: bool = True) -> AbstractContextManager[Any]:
        """Held by one process at a time; freed by the system when its holder dies. Says so where it has to wait.

        Errors: BusyError where another process holds it and it is not to be waited for.
        """
        return _lock(self.root / "locks" / f"{check_key(key)}.lock", wait)

    def save_model(self, key: str, state: TensorDict) -> Path:
        """Keep a model's `state_dict` under a result's hash."""
        path = self.root / "models" / f"{check_hash(key)}.safetensors"
        _save_tensors(path, state)
        return path

    def load_model(self, key: str) -> TensorDict | None:
        """The `state_dict` kept under a hash, on the CPU; None where there is none."""
        for root in (self.root, *self.also):
            found = _load_tensors(root / "models" / f"{check_hash(key)}.safetensors", own=root == self.root)
            if found is not None:
                return found
        return None

    def has_model(self, key: str) -> bool:
        """Whether a model is kept under a hash; whether its file is whole shows when it is loaded."""
        return any((root / "models" / f"{check_hash(key)}.safetensors").is_file() for root in (self.root, *self.also))

    def cached(self, key: str, make: Callable[[], TensorDict]) -> TensorDict:
        """Tensors of a shared stage, computed once over all processes. `key` must name all that decides them."""
        from defenselib import tensor_files

        path = self.root / "cache" / f"{check_key(key)}.safetensors"
        with self.lock(key):
            found = _load_tensors(path, own=True)
            if found is None:
                _save_tensors(path, make())
                found = tensor_files.load(path)[0]
            return found

    def checkpoints(self, key: str) -> Path:
        """Folder for the checkpoints of an unfinished cell."""
        return self.root / "checkpoints" / check_hash(key)

    def keep(self, key: Resolved | str, to: Store) -> Result:
        """Copy a result into another store (promotion to the committed ones), without its model."""
        result = self.require(key)
        return to.put(result, result.arrays)

    def require(self, key: Resolved | str) -> Result:
        """As `get`. Errors: also DefenseLibError where there is none."""
        result = self.get(key)
        if result is None:
            raise DefenseLibError(f"{self} has no result {key if isinstance(key, str) else key.hash}")
        return result

    def _place(self, profile: str, stem: str) -> Path:
        """The path of a result's JSON, its folder made."""
        folder = folders.make(self.root / check_profile_name(profile), folders.STORE)
        return folder / f"{check_stem(stem)}.json"

    def _all(self, start: str = "") -> Iterator[Result | DataError]:
        for root in (*self.also, self.root):
            for path in index.files(root, start):
                try:
                    result = _read(path)
                except DataError as error:
                    yield error
                else:
                    if result is not None:
                        yield result


def default_stores() -> Store:
    """The store used when none is named: reads the committed results, then the working store, writes the latter.

    Committed: DEFENSELIB_RESULTS, else `book/results` of the repository that the package lies in. Working:
    DEFENSELIB_STORE, else `~/.cache/defenselib/results`. An empty variable is as good as none. Errors: FolderError for
    a variable that names a file, and where there is no home.
    """
    committed = results_folder()
    return Store(folders.working_root(), () if committed is None else (committed,))


def reader(store: Store | str | Path | None) -> Store:
    """A store as it was named: itself, the one in a folder, the default one for None."""
    return store if isinstance(store, Store) else default_stores() if store is None else Store(store)


def results_folder() -> Path | None:
    """Folder of the committed results; None for a package outside its repository."""
    beside = Path(__file__).resolve().parents[2] / "book" / "results"
    return folders.named(folders.RESULTS) or (beside if beside.is_dir() else None)


def committed_file(name: str) -> Path | None:
    """A file below the folder of the committed results ("trials/demo.csv"); None where it is not at hand."""
    folder = results_folder()
    path = None if folder is None else folder / name
    return path if path is not None and path.is_file() else None


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
    chosen = []
    for item in results:
        key = item if isinstance(item, str) else item.hash
        there = target.get(key)
        if replace or there is None or not there.made_by_current_code():
            chosen.append(own.require(key))  # all of them before the first is written
    return [own.keep(result.hash, target) for result in chosen]


@contextmanager
def _lock(path: Path, wait: bool) -> Iterator[None]:
    folders.make(path.parent, folders.STORE)
    lock = filelock.FileLock(path)
    with folders.writing(path, folders.STORE):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if not wait:
                raise BusyError(f"another process is at work at {path.stem} ({path})") from None
            print(f"waiting for another process at {path.stem} ({path})", file=sys.stderr, flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _read(path: Path) -> Result | None:
    """The result in a file; None where it was removed since its folder was listed. Errors: DataError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if not path.is_symlink():
            return None
        raise DataError(f"{path} is a link to nothing; delete it and run the cell again") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it and run the cell again") from error
    return Result.from_json(text, path)


def _save_tensors(path: Path, tensors: TensorDict) -> None:
    from defenselib import tensor_files

    folders.make(path.parent, folders.STORE)
    with folders.writing(path, folders.STORE):
        tensor_files.save(path, tensors)


def _load_tensors(path: Path, own: bool) -> TensorDict | None:
    """What a file holds; None, with a warning, where it is damaged. `own`: it may be moved aside."""
    from defenselib import tensor_files

    if not path.exists():
        return None
    try:
        return tensor_files.load(path)[0]
    except DamagedFileError as error:
        told = f"set aside as {folders.set_aside(path, folders.STORE).name}" if own else "passed over"
        warnings.warn(f"{error}; {told}, it is made anew where it is needed", stacklevel=3)
        return None
