"""Pictures of images: what an attack does to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from defenselib import attacks
from defenselib.data import load_dataset
from defenselib.plots import style
from defenselib.plots.canvas import empty, grid, leave_empty

MAGNIFY = 4  # changes are shown so many times as strong, around grey
COLUMNS = ("clean", "as trained on", f"change × {MAGNIFY}", "spectrum", "test image", "with trigger")


def gallery(pictures: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """Rows of pictures: name of the row, uint8 (n, H, W, 3)."""
    count = max(len(row) for row in pictures.values())
    with style.look():
        figure, axes = grid(0.85 * count + 1.2, 0.9 * len(pictures), len(pictures), count)
        _rows(axes, pictures)
        if title:
            figure.suptitle(title)
        return figure


def rows(looks: Mapping[str, Mapping[str, np.ndarray]], example: int = 0, title: str = "") -> Figure:
    """What attacks do to images, a row each: a clean training image, the same as it is trained on, the change around
    grey, the spectrum of the change (see `spectrum`), a test image, and the same with the trigger.

    looks: by name the arrays look/clean, look/stored, look/test, look/triggered, uint8 (n, 3, H, W).
    """
    if not looks:
        return empty(title or "Attacks")
    with style.look():
        figure, axes = grid(7.6, 1.12 * len(looks) + 0.4, len(looks), len(COLUMNS))
        _rows(axes, {name.replace(" (", "\n("): _row(arrays, example) for name, arrays in looks.items()})
        for axis, head in zip(axes[0], COLUMNS, strict=True):
            axis.set_title(head, fontsize=9)
        if title:
            figure.suptitle(title)
        return figure


def _rows(axes: np.ndarray, pictures: Mapping[str, Iterable[np.ndarray]]) -> None:
    """Pictures in rows without frames, beside each the name of the row."""
    for line, (name, row) in zip(axes, pictures.items(), strict=True):
        for axis, picture in zip(line, row, strict=False):
            axis.imshow(picture, interpolation="nearest", cmap="magma" if picture.ndim == 2 else None)
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")


def _row(arrays: Mapping[str, np.ndarray], example: int) -> list[np.ndarray]:
    clean, stored = (arrays[f"look/{name}"].astype(int) for name in ("clean", "stored"))
    change = np.clip(128 + MAGNIFY * (stored - clean), 0, 255)
    images = [clean, stored, change, arrays["look/test"], arrays["look/triggered"]]
    shown = [np.moveaxis(image[example], 0, -1).astype(np.uint8) for image in images]
    return [*shown[:3], spectrum(stored - clean), *shown[3:]]


def spectrum(change: np.ndarray) -> np.ndarray:
    """log10(1 + |FFT|) of changes (N, 3, H, W), mean over images and channels, (H, W), zero frequency in the middle."""
    magnitude = np.abs(np.fft.fft2(change.astype(np.float64))).mean(axis=(0, 1))
    return np.asarray(np.log10(1 + np.fft.fftshift(magnitude)))


def captioned(pictures: Mapping[str, np.ndarray], title: str = "", columns: int = 4) -> Figure:
    """A picture (H, W, 3) under each caption, `columns` side by side."""
    if not pictures:
        return empty(title)
    lines = -(-len(pictures) // columns)
    with style.look():
        figure, axes = grid(1.7 * columns, 1.95 * lines, lines, columns)
        leave_empty(axes, 0)
        for axis, (caption, picture) in zip(axes.flat, pictures.items(), strict=False):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(caption, fontsize=9)
        if title:
            figure.suptitle(title)
        return figure


def triggers(names: Sequence[str], dataset: str = "shapes", count: int = 7, paper: str | None = None) -> Figure:
    """What attacks do to test images: the images, each attack's triggered version, and the change, four times as
    strong around grey."""
    images = load_dataset(dataset, limit=100).test.images[:count]
    rows = {"clean": _pixels(images)}
    for name in names:
        changed = attacks.create(name, image_size=images.shape[-1], preset=paper).trigger(images)
        change = 128 + MAGNIFY * (changed.int() - images.int())
        rows[style.label(name, "attack")] = _pixels(changed)
        rows[f"{style.label(name, 'attack')}:\nchange x {MAGNIFY}"] = _pixels(change.clamp(0, 255))
    return gallery(rows)


def _pixels(images: Tensor) -> np.ndarray:
    """(N, 3, H, W) of 0..255 as uint8 (N, H, W, 3)."""
    return images.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8)
