"""A scan's report on disk, so that a stopped run does not scan again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from defenselib.audit.signs import ScanReport, Sign
from defenselib.errors import DamagedFileError
from defenselib.learning import checkpoints

FILE = "scan.safetensors"


def scanned(folder: Path, make: Callable[[], ScanReport]) -> ScanReport:
    """The report that `folder` keeps, or the one that `make` gives, kept from now on."""
    path = folder / FILE
    if path.exists():
        try:
            return read(path)
        except (DamagedFileError, KeyError, TypeError):
            path.unlink()
    report = make()
    write(path, report)
    return report


def write(path: Path, report: ScanReport) -> None:
    """Errors: FolderError."""
    checkpoints.save(path, _shallow(report) | {"signs": [_shallow(sign) for sign in report.signs]})


def read(path: Path) -> ScanReport:
    """Errors: DamagedFileError."""
    content = checkpoints.load(path, torch.device("cpu"))
    return ScanReport(**content | {"signs": tuple(Sign(**sign) for sign in content["signs"])})


def _shallow(item: Any) -> dict[str, Any]:
    return {part.name: getattr(item, part.name) for part in dataclasses.fields(item)}
