"""Data sets as torchvision stores them: CIFAR's batches and the tables of MNIST and its kin.

CIFAR's batches are pickles, which can run any code when they are read. Here nothing but arrays, texts and plain
containers is made of them, so that changed batches can be looked at as well.
"""

from __future__ import annotations

import gzip
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defenselib.audit.found import Found
from defenselib.errors import DataError

_CIFAR = {
    "cifar-10-batches-py": (tuple(f"data_batch_{i}" for i in range(1, 6)), "batches.meta", "label_names", "labels"),
    "cifar-100-python": (("train",), "meta", "fine_label_names", "fine_labels"),
}
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def find_stored(root: Path) -> Found | None:
    """The training images of CIFAR-10, CIFAR-100, MNIST, FashionMNIST, KMNIST or QMNIST stored in `root`; else None.

    Errors: DataError, naming the file, for one that is damaged or holds anything else.
    """
    for name, layout in _CIFAR.items():
        for base in (root, root / name):
            if base.name == name and base.is_dir() and (base / layout[1]).is_file():
                return _cifar(root, base, *layout)
    for base in (root, root / "raw", *sorted(root.glob("*MNIST/raw"))):
        found = [next((base / f"{name}{end}" for end in ("", ".gz") if (base / f"{name}{end}").is_file()), None)
                 for name in _IDX]  # fmt: skip
        if found[0] is not None and found[1] is not None:
            return _mnist(root, found[0], found[1])
    return None


def _cifar(root: Path, base: Path, batches: tuple[str, ...], meta: str, names: str, labels: str) -> Found:
    classes = tuple(map(str, _pickled(base / meta, names)))
    parts = [base / batch for batch in batches if (base / batch).is_file()]
    given = [_cifar_labels(path, labels, len(classes)) for path in parts]
    rows = [f"{path.relative_to(root).as_posix()}#{row}" for path, part in zip(parts, given, strict=True)
            for row in range(len(part))]  # fmt: skip

    def contents() -> Iterator[NDArray[np.uint8]]:
        for path, part in zip(parts, given, strict=True):
            yield from _cifar_pixels(path, len(part))

    missing = [f"{base.name}/{name} is missing" for name in batches if not (base / name).is_file()]
    return Found(tuple(rows), tuple(x for part in given for x in part), contents, classes, (), tuple(missing))


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
        raise DataError(f"{path} is damaged or no batch of CIFAR ({type(error).__name__}: {error})") from error


def _mnist(root: Path, images: Path, labels: Path) -> Found:
    given = _idx(labels, 1)
    if len(given) != len(_idx(images, 3)):
        raise DataError(f"{images} and {labels} hold different numbers of images; download the data set again")
    row = images.relative_to(root).as_posix()

    def contents() -> Iterator[NDArray[np.uint8]]:
        return (np.repeat(image[:, :, None], 3, axis=2) for image in _idx(images, 3))

    classes = tuple(map(str, range(int(given.max(initial=0)) + 1)))
    return Found(tuple(f"{row}#{i}" for i in range(len(given))), tuple(given.tolist()), contents, classes)


def _idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """The array of an IDX file: magic number, sizes (big-endian), bytes."""
    content = _bytes(path)
    head = 4 + 4 * axes
    shape = tuple(np.frombuffer(content[4:head], ">u4").tolist())
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) - head != int(np.prod(shape)):
        raise DataError(f"{path} is damaged or no table of MNIST; download the data set again")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _bytes(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); download the data set again") from error
