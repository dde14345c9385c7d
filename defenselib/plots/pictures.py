"""Pictures of images: what an attack does to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from defenselib import attacks
from defenselib.data import load_dataset
from defenselib.plots import style
from defenselib.plots.canvas import empty, grid, leave_empty


def gallery(pictures: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """Rows of pictures: name of the row, uint8 (n, H, W, 3)."""
    count = max(len(row) for row in pictures.values())
    with style.look():
        figure, axes = grid(0.85 * count + 1.2, 0.9 * len(pictures), len(pictures), count)
        for line, (name, row) in zip(axes, pictures.items(), strict=True):
            for axis, picture in zip(line, row, strict=False):
                axis.imshow(picture, interpolation="nearest")
            for axis in line:
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
                axis.spines[:].set_visible(False)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        if title:
            figure.suptitle(title)
        return figure


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
        change = 128 + 4 * (changed.int() - images.int())
        rows[style.label(name, "attack")] = _pixels(changed)
        rows[f"{style.label(name, 'attack')}:\nchange x 4"] = _pixels(change.clamp(0, 255))
    return gallery(rows)


def _pixels(images: Tensor) -> np.ndarray:
    """(N, 3, H, W) of 0..255 as uint8 (N, H, W, 3)."""
    return images.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8)
