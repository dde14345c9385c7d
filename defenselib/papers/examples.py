"""Pictures of poisoned images, from the results that hold them: the papers' figures of example images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from defenselib.experiments.result import Result
from defenselib.papers.kit import printed
from defenselib.papers.undefended import Case, looks_of
from defenselib.plots import style
from defenselib.plots.pictures import captioned

PAPERS = {  # the figures of poisoned samples: exhibit, attacks in their order
    "bsd": ("figure-4", ("badnets", "blend", "wanet", "clb", "refool", "sig", "narcissus")),
    "vab": ("figure-5", ("badnets", "blend", "wanet", "dynamic", "clb", "sig")),
    "dst_dbr": ("figure-9", ("badnets", "trojan", "blend-strip", "blend-kitty", "sig", "clb", "ssba")),
}


def pictures(
    cases: Sequence[Case], dataset: str = "cifar10", profile: str = "best", run: bool = False, store: Any = None
) -> dict[str, Result]:
    """The results that hold pictures, by name of the attack; cases without one are left out."""
    found = {name_of(case): looks_of(case, dataset, profile, run, store) for case in cases}
    return {name: result for name, result in found.items() if result is not None}


def of_one_image(found: Mapping[str, Result], example: int = 0) -> dict[str, Result]:
    """Those that poison the same image as the first one; others, as attacks that keep labels, take one of another
    class."""
    images = {name: result.arrays["look/clean"][example] for name, result in found.items()}
    return {name: found[name] for name, image in images.items() if np.array_equal(image, next(iter(images.values())))}


def name_of(case: Case) -> str:
    """The attack as readers see it; a variant that is an attack of its own by its own name."""
    return style.label(case.printed_name, "attack")


def one_image(found: Mapping[str, Result], example: int = 0, title: str = "", columns: int = 4) -> Figure:
    """The papers' figure of poisoned samples: the first attack's clean image, then one poisoned image an attack."""
    shown = {"clean": next(iter(found.values())).arrays["look/clean"][example]} if found else {}
    shown |= {name: result.arrays["look/stored"][example] for name, result in found.items()}
    return captioned({name: np.moveaxis(image, 0, -1) for name, image in shown.items()}, title, columns)


def paper_figure(paper: str, dataset: str = "cifar10", profile: str = "best", store: Any = None) -> Figure:
    """A paper's figure of poisoned samples (`PAPERS`): attacks as this paper runs them, where they are in the store."""
    key, names = PAPERS[paper]
    cases = [Case(name, paper) for name in names]
    found = pictures(cases, dataset, profile, store=store)
    missing = [style.label(name, "attack") for name in names if style.label(name, "attack") not in found]
    words = f"{printed.exhibits(paper).loc[key]['title']}" + (
        f"\nno picture stored: {', '.join(missing)}" if missing else ""
    )
    return one_image(found, title=words)
