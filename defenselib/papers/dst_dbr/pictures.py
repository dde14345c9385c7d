"""The pictures of D-ST and D-BR: the diagram, feature spaces and example images (Figures 1, 2, 7, 9, 10)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from defenselib.data import load_dataset
from defenselib.data.augment.transforms import TRANSFORMS, draw, named
from defenselib.papers.dst_dbr.figures import said
from defenselib.plots import pictures, style
from defenselib.plots.canvas import empty, grid, leave_empty, smoke_words
from defenselib.report import gallery
from defenselib.seeds import generator

CLASSES = (style.BLUE, style.GREEN, style.PURPLE, style.SKY, style.OCHRE, style.GREY)
MARKS = "osDv^<>phX"


def framework(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 2, redrawn: one distinguishment, two ways to a model."""
    boxes = {
        (0.2, 2.0): "poisoned\ntraining set",
        (2.4, 2.0): "brief training,\nintra-class\nfine-tuning",
        (4.6, 2.0): "FCT of every\nsample,\nranked",
        (6.8, 3.1): "clean part\n$D_c$",
        (6.8, 2.0): "uncertain\n$D_u$",
        (6.8, 0.9): "poisoned part\n$D_p$",
        (9.2, 3.1): "D-ST: semi-supervised\ncontrast, then classifier\nby mixed cross-entropy",
        (9.2, 0.9): "D-BR: ordinary model,\nunlearn $D_p$ and relearn\n$D_c$ in turn",
    }
    arrows = [((1.9, 2.4), (2.4, 2.4)), ((4.1, 2.4), (4.6, 2.4))]
    arrows += [((6.3, 2.4), (6.8, y)) for y in (3.5, 2.4, 1.3)]
    arrows += [((8.5, y), (9.2, 3.5)) for y in (3.5, 2.4, 1.3)] + [((8.5, y), (9.2, 1.2)) for y in (3.4, 1.3)]
    with style.look():
        figure, axes = grid(7.6, 2.9, 1, 1)
        axis = axes.flat[0]
        axis.set(xlim=(0, 12.2), ylim=(0.6, 4.2))
        axis.axis("off")
        for (x, y), words in boxes.items():
            width = 2.9 if x > 9 else 1.7
            colour = style.GREEN if "D-ST" in words else style.OCHRE if "D-BR" in words else style.INK
            axis.add_patch(FancyBboxPatch((x, y), width, 0.8, "round,pad=0.05", fc="none", ec=colour))
            axis.text(x + width / 2, y + 0.4, words, ha="center", va="center", fontsize=7.5)
        for start, end in arrows:
            axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": style.GREY, "lw": 1})
        return figure


def attacks(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 9: a poisoned image of each attack, where it is in the store."""
    return gallery.paper_figure("dst_dbr")


def transforms(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 10: the six transformations on drawn images, and the pair that the paper uses."""
    images = load_dataset("shapes", limit=100).test.images[:7]
    rows = {"original": images}
    for name in [*TRANSFORMS, "rotate+affine"]:
        tau = named(tuple(name.split("+")))
        rows[name.replace("+", ",\nthen ")] = tau(images, draw(tau, len(images), generator(0, "figure-10", name)))
    return pictures.gallery({name: part.permute(0, 2, 3, 1).numpy() for name, part in rows.items()})


def clusters(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 7: the backdoored models' features; poisoned samples black, clean ones coloured and marked by label."""
    rows = said(frame)
    with style.look():
        if rows.empty:
            return empty(title)
        names = list(dict.fromkeys(rows["attack"]))
        figure, axes = grid(7.2, 3.4 * -(-len(names) // 2), -(-len(names) // 2), 2)
        for axis, name in zip(axes.flat, names, strict=False):
            _scatter(axis, _places(rows[rows["attack"] == name]))
            axis.set_title(style.label(name, "attack"))
        leave_empty(axes, len(names))
        figure.suptitle(smoke_words(rows).strip())
        return figure


def movement(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 1: features of original (filled) and transformed (crosses) samples, apart and together."""
    rows = said(frame)
    with style.look():
        if rows.empty:
            return empty(title)
        places = _places(rows[rows["metric"].isin(["x", "y"])])
        figure, axes = grid(7.4, 2.9, 1, 3)
        for axis, chosen in zip(axes.flat, (["original"], ["transformed"], ["original", "transformed"]), strict=True):
            _scatter(axis, places[places["version"].isin(chosen)])
            axis.set_title(" and ".join(chosen), fontsize=9.5)
        figure.suptitle(smoke_words(rows).strip())
        return figure


def _places(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a point: sample, version, label, group, x, y."""
    index = ["sample", "version", "label", "group"]
    return rows.pivot(index=index, columns="metric", values="reproduced").reset_index()


def _scatter(axis: Axes, places: pd.DataFrame) -> None:
    labels = sorted(places["label"].unique(), key=int)
    for number, label in enumerate(labels):
        for group in ("clean", "poisoned"):
            for version in ("original", "transformed"):
                mine = places[(places["label"] == label) & (places["group"] == group) & (places["version"] == version)]
                colour = style.BLACK if group == "poisoned" else CLASSES[number % len(CLASSES)]
                mark = "+" if version == "transformed" else "*" if group == "poisoned" else MARKS[number % len(MARKS)]
                axis.scatter(mine["x"], mine["y"], s=14, c=colour, marker=mark, linewidths=0.7, alpha=0.8)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
