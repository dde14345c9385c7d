"""V&B's Figure 2, drawn anew: (a) three stages and two networks, (b) AttentionMix, (c) suppression."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from defenselib.data import load_dataset
from defenselib.data.tensors import to_float
from defenselib.defenses.vab_victim import suppress
from defenselib.learning.mixing import attention, attention_mix
from defenselib.plots import style
from defenselib.plots.canvas import Picture

STAGES = ("1 Warm-up", "2 Clean training", "3 Semi-supervised\nsuppression training")
WIDTH = 0.26  # of every box
BOXES = {  # text, left, bottom, height, colour
    "victim-1": ("Victim learns all,\nthen what it is\nsure about", 0.02, 0.55, 0.24, style.ORANGE),
    "split": ("entropy below $t_f$: suspicious\nabove: credible", 0.02, 0.12, 0.2, style.GREY),
    "victim-2": ("Victim learns the\nsuspicious samples", 0.37, 0.55, 0.24, style.ORANGE),
    "beneficiary-2": ("Beneficiary learns the\ncredible samples with\nAttentionMix", 0.37, 0.1, 0.24, style.BLUE),
    "victim-3": ("Victim goes on, and\nits predictions are\ntaken from all labels", 0.72, 0.55, 0.24, style.ORANGE),
    "beneficiary-3": (
        "Beneficiary learns credible\nand relabelled suspicious\nsamples", 0.72, 0.1, 0.24, style.BLUE
    ),
}  # fmt: skip
ARROWS = (
    ("victim-1", "split"),
    ("split", "beneficiary-2"),
    ("victim-1", "victim-2"),
    ("victim-2", "beneficiary-2"),
    ("victim-2", "victim-3"),
    ("beneficiary-2", "beneficiary-3"),
    ("victim-3", "beneficiary-3"),
)


def pipeline(frame: pd.DataFrame, title: str = "") -> Figure:
    """The idea; no result takes part in it. (b) and (c) are computed by the functions that the defense uses."""
    with style.look():
        figure = Picture(figsize=(7.6, 7.4))
        parts = np.asarray(figure.subfigures(3, 1, height_ratios=(1.15, 0.9, 1.0)))
        _stages(parts[0].subplots())
        _mixing(parts[1].subplots(1, 5))
        _suppression(parts[2].subplots(1, 2))
        figure.suptitle(title)
        return figure


def _stages(axis: Axes) -> None:
    axis.axis("off")
    axis.set(xlim=(0, 1), ylim=(0, 1), title="(a) three stages, two networks")
    for place, words in zip((0.15, 0.5, 0.85), STAGES, strict=True):
        axis.text(place, 0.97, words, ha="center", va="top", weight="bold", fontsize=10)
    for words, left, below, height, colour in BOXES.values():
        shape = FancyBboxPatch((left, below), WIDTH, height, boxstyle="round,pad=0.01", fc=style.BACKGROUND, ec=colour)
        axis.add_patch(shape)
        axis.text(left + WIDTH / 2, below + height / 2, words, ha="center", va="center", fontsize=8.5)
    for start, end in ARROWS:
        _arrow(axis, start, end)


def _arrow(axis: Axes, start: str, end: str) -> None:
    _, left, below, height, _ = BOXES[start]
    _, to_left, to_below, to_height, _ = BOXES[end]
    if left == to_left:
        ends = ((left + WIDTH / 2, below - 0.01), (to_left + WIDTH / 2, to_below + to_height + 0.01))
    else:
        ends = ((left + WIDTH + 0.01, below + height / 2), (to_left - 0.01, to_below + to_height / 2))
    axis.annotate("", xy=ends[1], xytext=ends[0], arrowprops={"arrowstyle": "->", "color": style.INK})


def example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two drawn shapes mixed: images (2, 3, H, W), attention (2, H, W), the mixed first image, its label (2,).

    In the place of a network's feature maps stand the differences from the mean colour, on a grid of 4 x 4.
    """
    shown = load_dataset("shapes", limit=100).test
    second = int((shown.labels != shown.labels[0]).nonzero()[0, 0])
    images = to_float(shown.images[torch.tensor([0, second])])
    size = (images.shape[2], images.shape[3])
    difference = images - images.mean((2, 3), keepdim=True)
    maps = torch.nn.functional.adaptive_avg_pool2d(difference.abs(), 4)
    found = attention(maps, size, "nearest")
    mixed, labels = attention_mix(images, torch.eye(2), found, torch.tensor([1, 0]))
    return images, found, mixed[0], labels[0]


def _mixing(axes: np.ndarray) -> None:
    images, found, mixed, label = example()
    region = found[0] >= 0.1
    grey = torch.full_like(images[0], 0.75)
    shown = {
        "$x_1$, label (1, 0)": images[0],
        "attention of $x_1$": found[0],
        "region, in $x_1$": torch.where(region, images[0], grey),
        "region, in $x_2$": torch.where(region, images[1], grey),
        f"mixed, label\n({label[0]:.2f}, {label[1]:.2f})": mixed,
    }
    for axis, (words, picture) in zip(axes, shown.items(), strict=True):
        array = picture.permute(1, 2, 0).numpy() if picture.ndim == 3 else picture.numpy()
        axis.imshow(array, interpolation="nearest", cmap="magma")
        axis.set(xticks=[], yticks=[])
        axis.set_title(words, fontsize=9)
        axis.grid(False)
    axes[0].set_ylabel("(b) AttentionMix")


def _suppression(axes: np.ndarray) -> None:
    """Label vectors before and after Eq. 10; the target is the first class."""
    sure = torch.tensor([0.85, 0.05, 0.05, 0.05])
    cases = {
        "(c) poisoned: label 1, Victim sure of 1": torch.tensor([1.0, 0.0, 0.0, 0.0]),
        "(c) benign: label 3, Victim wrong": torch.tensor([0.0, 0.0, 1.0, 0.0]),
    }
    for axis, (words, label) in zip(axes, cases.items(), strict=True):
        place = np.arange(len(label))
        after = suppress(label, sure)
        for shift, values, colour, name in (
            (-0.27, label, style.BLUE, "label"),
            (0.0, sure, style.ORANGE, "Victim"),
            (0.27, after, style.GREEN, "suppressed"),
        ):
            axis.bar(place + shift, values.numpy(), 0.25, color=colour, label=name)
        axis.set_title(words, fontsize=10)
        axis.set(xticks=place, xticklabels=[str(k + 1) for k in place], xlabel="class", ylim=(0, 1.1))
    axes[0].legend()
