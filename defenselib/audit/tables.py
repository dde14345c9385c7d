"""What a scan leaves on disk: suspects.csv, skipped.csv, scan.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from defenselib import folders
from defenselib.audit.agree import top
from defenselib.audit.folder import UserData
from defenselib.audit.names import listed, write_table
from defenselib.audit.patterns import not_searched
from defenselib.audit.signs import COPIES, ScanReport, Sign
from defenselib.version import __version__


def write_scan(out: Path, data: UserData, report: ScanReport) -> None:
    """Write all three files into `out`. Errors: FolderError."""
    write_table(out / "suspects.csv", columns(report), rows(data, report))
    write_skipped(out / "skipped.csv", {"data": data})
    folders.write_text(out / "scan.json", json.dumps(summary(data, report), indent=1, ensure_ascii=False) + "\n")


def write_skipped(path: Path, parts: Mapping[str, UserData]) -> None:
    """Write skipped.csv: file, reason, and in which of the folders by name. Errors: FolderError."""
    found = ((item.file, item.reason, name) for name, part in parts.items() for item in part.skipped)
    write_table(path, ("file", "reason", "folder"), found)


def columns(report: ScanReport) -> tuple[str, ...]:
    """Names of the columns of suspects.csv."""
    return ("rank", "file", "label", "score", "flagged", "flagged_by", *(item.key for item in _scored(report)))


def _scored(report: ScanReport) -> list[Sign]:
    """The signs that speak of single images."""
    return [item for item in report.signs if not bool(item.scores.isnan().all())]


def rows(data: UserData, report: ScanReport) -> Iterator[tuple[object, ...]]:
    """A row an image, in the order of `report.rank`, the most suspicious first.

    flagged_by: the signs that hold a flagged file; empty for one that is not flagged.
    """
    scored = _scored(report)
    by = [(item.key, held) for item in scored if (held := _held(report, item)) is not None]
    for position, place in enumerate(report.rank.tolist()):
        names = " ".join(key for key, held in by if bool(held[place]))
        numbers = [_number(float(item.scores[place])) for item in scored]
        label = data.classes[int(data.images.labels[place])]
        shown = (round(float(report.score[place]), 4), "yes" if bool(report.flagged[place]) else "no", names)
        yield (position + 1, data.files[place], label, *shown, *numbers)


def _held(report: ScanReport, sign: Sign) -> Tensor | None:
    """Which of the flagged files a sign holds, bool (N,); None for one that flags nothing."""
    if sign.key == "pattern":  # it flags the files of told patterns, and votes where there is one
        return report.flagged if "pattern" in report.target_votes else None
    return None if sign.key in COPIES else report.flagged & top(sign.scores)


def _number(value: float) -> float | None:
    """Five digits; None for what a sign does not speak of."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def summary(data: UserData, report: ScanReport) -> dict[str, Any]:
    """The scan as plain values."""
    return {
        "format": 1,
        "version": __version__,
        "folder": listed(str(data.root)),
        "images": len(data.files),
        "image_size": data.images.image_size,
        "classes": list(data.classes),
        "skipped": len(data.skipped),
        "notes": list(data.notes),
        "alarm": report.alarm,
        "words": report.words,
        "target": None if report.target is None else data.classes[report.target],
        "target_votes": report.target_votes,
        "not_searched": not_searched(data.images.labels, data.classes),
        "flagged": int(report.flagged.sum()),
        "null": {key: _number(value) for key, value in report.null.items()},
        "signs": [
            {"key": item.key, "title": item.title, "words": item.words,
             "per_class": {name: _number(value) for name, value in item.per_class.items()}}
            for item in report.signs
        ],
        "seconds": {key: round(value, 2) for key, value in report.seconds.items()},
    }  # fmt: skip
