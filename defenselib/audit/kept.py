"""A scan's report on disk, so that a stopped run does not scan again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from defenselib.audit.signs import ScanReport, Sign
from defenselib.errors import DamagedFileError
from defenselib.learning import checkpoints

FILE = "scan.safetensors"


def scanned(folder: Path, make: Callable[..., ScanReport]) -> ScanReport:
    """The report that `folder` keeps, or the one that `make` gives, kept from now on. Errors: FolderError.

    make: is called with `save`, by which it keeps the report before it deletes what it has it from.
    """
    path = folder / FILE
    if path.exists():
        try:
            return read(folder)
        except (DamagedFileError, KeyError, TypeError):
            path.unlink()
    return make(save=partial(write, folder))


def write(folder: Path, report: ScanReport) -> None:
    """Keep a report. Errors: FolderError."""
    checkpoints.save(folder / FILE, vars(report) | {"signs": [vars(sign) for sign in report.signs]})


def read(folder: Path) -> ScanReport:
    """The report that is kept. Errors: DamagedFileError, KeyError, TypeError."""
    content = checkpoints.load(folder / FILE, torch.device("cpu"))
    return ScanReport(**content | {"signs": tuple(Sign(**sign) for sign in content["signs"])})
