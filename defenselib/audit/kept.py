"""A scan's report on disk, so that a stopped run does not scan again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from defenselib.audit.signs import ScanReport, Sign
from defenselib.errors import DamagedFileError
from defenselib.learning import checkpoints

FILE = "scan.safetensors"


def scanned(folder: Path, make: Callable[[], ScanReport]) -> ScanReport:
    """The report that `folder` keeps, or the one that `make` gives, kept from now on. Errors: FolderError."""
    path = folder / FILE
    if path.exists():
        try:
            content = checkpoints.load(path, torch.device("cpu"))
            return ScanReport(**content | {"signs": tuple(Sign(**sign) for sign in content["signs"])})
        except (DamagedFileError, KeyError, TypeError):
            path.unlink()
    report = make()
    checkpoints.save(path, vars(report) | {"signs": [vars(sign) for sign in report.signs]})
    return report
