"""Data sets as torchvision stores them: CIFAR's batches and the tables of MNIST and its kin.

CIFAR's batches are pickles, which can run any code when they are read. Here nothing but arrays, texts and plain
containers is made of them, so that changed batches can be looked at as well.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defenselib.audit.pictures import Found
from defenselib.data.sources.folder import subfolders
from defenselib.errors import DataError

_CIFAR = {
    "cifar-10-batches-py": (tuple(f"data_batch_{i}" for i in range(1, 6)), "batches.meta", "label_names", "labels"),
    "cifar-100-python": (("train",), "meta", "fine_label_names", "fine_labels"),
}
_IDX = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx2-int"),
)
_KINDS = {8: "u1", 12: ">i4"}  # of an IDX file's values
_DEFLATE = 1032  # bytes that one byte of a .gz file can become, at most
_CHUNK = 1 << 20
_MOST_LABEL = 255
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class Stored:
    """A data set that lies in a user's folder: its training files, and what reads them."""

    files: tuple[Path, ...]
    read: Callable[[], Found]


def find_stored(root: Path, wanted: Callable[[Path], bool]) -> Stored | None:
    """The training images of CIFAR-10, CIFAR-100, MNIST, FashionMNIST, KMNIST or QMNIST stored in `root`; else None.

    wanted: which files count as being there. `read` raises DataError, naming the file, for one that is damaged or holds
    anything else.
    """

    def there(path: Path) -> bool:
        return os.path.isfile(path) and wanted(path)

    for name, (batches, meta, *keys) in _CIFAR.items():
        for base in (root, root / name):
            if base.name == name and there(base / meta):
                parts = [base / batch for batch in batches if there(base / batch)]
                missing = [f"{name}/{batch} is missing" for batch in batches if base / batch not in parts]
                return Stored((base / meta, *parts), partial(_cifar, root, base / meta, parts, missing, *keys))
    for base in (root, root / "raw", *(root / name / "raw" for name in subfolders(root) if name.endswith("MNIST"))):
        for pair in _IDX:
            images, labels = (next(filter(there, (base / name, base / f"{name}.gz")), None) for name in pair)
            if images is not None and labels is not None:
                return Stored((images, labels), partial(_mnist, root, images, labels))
    return None


def _cifar(root: Path, meta: Path, parts: list[Path], missing: list[str], names: str, labels: str) -> Found:
    classes = _pickled(meta, names)
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"{meta} is damaged: its {names!r} must be a list of texts; download the data set again")
    if not parts:
        raise DataError(f"{meta} has none of its batches beside it; download the data set again")
    given = [_cifar_labels(path, labels, len(classes)) for path in parts]
    rows = [f"{path.relative_to(root).as_posix()}#{row}" for path, part in zip(parts, given, strict=True)
            for row in range(len(part))]  # fmt: skip

    def contents() -> Iterator[NDArray[np.uint8]]:
        for path, part in zip(parts, given, strict=True):
            yield from _cifar_pixels(path, len(part))

    return Found(tuple(rows), tuple(x for part in given for x in part), contents, tuple(classes), (), tuple(missing))


def _cifar_labels(path: Path, key: str, classes: int) -> list[int]:
    labels = _pickled(path, key)
    if not isinstance(labels, list) or not all(type(x) is int and 0 <= x < classes for x in labels):
        raise DataError(f"{path} is damaged: its {key!r} must be whole numbers from 0 to {classes - 1}")
    return labels


def _cifar_pixels(path: Path, count: int) -> NDArray[np.uint8]:
    data = _pickled(path, "data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (count, 3072):
        raise DataError(f"{path} is damaged: its 'data' must be uint8 ({count}, 3072)")
    return data.reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")


def _pickled(path: Path, key: str) -> Any:
    try:
        content = _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        return content[key]
    except Exception as error:  # damaged pickles raise anything
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DataError(f"{path} is damaged or no batch of CIFAR ({why})") from error


def _mnist(root: Path, images: Path, labels: Path) -> Found:
    given = _idx(labels)
    given = given[:, 0] if given.ndim == 2 else given  # QMNIST's other columns: who wrote it, and where
    if given.ndim != 1 or given.min() < 0 or given.max() > _MOST_LABEL:
        raise DataError(f"{labels} is damaged: its labels must be numbers from 0 to {_MOST_LABEL}, one an image")
    pixels = _idx(images)
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise DataError(f"{images} is damaged: it must hold images of bytes")
    if len(given) != len(pixels):
        raise DataError(f"{images} and {labels} hold different numbers of images; download the data set again")
    row = images.relative_to(root).as_posix()

    def contents() -> Iterator[NDArray[np.uint8]]:
        return (np.repeat(image[:, :, None], 3, axis=2) for image in _idx(images))

    classes = tuple(map(str, range(int(given.max()) + 1)))
    return Found(tuple(f"{row}#{i}" for i in range(len(given))), tuple(given.tolist()), contents, classes)


def _idx(path: Path) -> NDArray[Any]:
    """The array of an IDX file: two zeros, kind of value, number of axes; sizes (big-endian); values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _KINDS or not 1 <= head[3] <= 3:
                raise DataError(f"{path} is damaged or no table of MNIST; download the data set again")
            sizes = file.read(4 * head[3])
            if len(sizes) < 4 * head[3]:
                raise DataError(f"{path} is damaged: it ends within its header; download the data set again")
            shape = struct.unpack(f">{head[3]}I", sizes)
            kind = np.dtype(_KINDS[head[2]])
            promised = math.prod(shape) * kind.itemsize
            held = path.stat().st_size * (_DEFLATE if path.suffix == ".gz" else 1)
            content = _at_most(file, promised + 1) if promised <= held else b""
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); download the data set again") from error
    if len(content) != promised or not promised:
        size = "x".join(map(str, shape))
        raise DataError(f"{path} is damaged: its header tells of {size} values, and it holds others; download it again")
    return np.frombuffer(content, kind).reshape(shape)


def _at_most(file: io.BufferedIOBase, most: int) -> bytes:
    """The next bytes of a file, so that no more than `most` are ever unpacked."""
    parts = []
    while most > 0 and (part := file.read(min(most, _CHUNK))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)
