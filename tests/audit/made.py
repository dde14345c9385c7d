"""Small folders and a stand-in for a scan, for tests that are not about the scan itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from defenselib.audit.examples import Example, drawn_folder
from defenselib.audit.folder import UserData, read_folder
from defenselib.audit.results import ScanReport, Sign
from defenselib.errors import DataError


def picture(seed: int = 0, side: int = 32, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def plain(root: Path, classes: tuple[str, ...] = ("a", "b"), count: int = 3) -> Path:
    """Class folders of a few pictures of noise, no two alike."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            picture(10 * label + i).save(root / name / f"{i}.png")
    return root


def drawn(folder: Path, images: int = 200) -> Example:
    """A folder of drawn shapes, a tenth of them with a patch."""
    return drawn_folder(folder, images)


def reported(data: UserData, flagged: Tensor | None = None, **changes: Any) -> ScanReport:
    """A report with two signs of random numbers, in which the files `flagged` (bool (N,)) come first."""
    count = len(data.files)
    draw = torch.Generator().manual_seed(0)
    noise = torch.rand(count, generator=draw)
    if flagged is None:
        flagged = torch.zeros(count, dtype=torch.bool)
    score = 0.5 * noise + 0.5 * flagged.float()
    signs = tuple(
        Sign(key=key, title=title, scores=torch.rand(count, generator=draw), per_class={}, words=f"what {title} says")
        for key, title in (("lga", "Learned at once"), ("fct", "Moved features"))
    )
    values: dict[str, Any] = {
        "signs": signs,
        "rank": score.argsort(descending=True, stable=True),
        "score": score,
        "flagged": flagged,
        "target": 0 if bool(flagged.any()) else None,
        "target_votes": {"lga": data.classes[0]} if bool(flagged.any()) else {},
        "alarm": "alarm" if bool(flagged.any()) else "calm",
        "words": "a sentence",
        "pattern": None,
        "mask": None,
        "null": {},
        "seconds": {"lga": 1.5},
    }
    return ScanReport(**values | changes)


def scanner(data: UserData, *, save: Callable[[ScanReport], object], **_: Any) -> ScanReport:
    """Stands for `scan`: flags nothing."""
    save(report := reported(data))
    return report


def refused(root: Path) -> str:
    """The one line with which a folder is not read."""
    with pytest.raises(DataError) as raised:
        read_folder(root)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def reasons(data: UserData) -> dict[str, str]:
    """Why each file was skipped, every one told once."""
    assert len({item.file for item in data.skipped}) == len(data.skipped)
    return {item.file: item.reason for item in data.skipped}
