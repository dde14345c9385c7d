"""What is left on disk of a scan and of a defense: which files are suspected, by whom (suspects.csv), not read
(skipped.csv) or kept (the lists in cleaned/), and the scan as plain values (scan.json)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from defenselib import folders
from defenselib.audit.agree import top
from defenselib.audit.folder import UserData
from defenselib.audit.names import listed, write_table
from defenselib.audit.patterns import not_searched
from defenselib.audit.results import COPIES, Delivery, ScanReport, Sign
from defenselib.errors import printable
from defenselib.plots.words import plural
from defenselib.version import __version__

SUSPECTS, CLEANED = "suspects.csv", "cleaned"
KEPT, KEPT_EXACT, REMOVED = "kept.txt", "kept.nul", "removed.txt"
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def write_scan(out: Path, data: UserData, report: ScanReport) -> None:
    """Write suspects.csv, skipped.csv and scan.json into `out`. Errors: FolderError."""
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
        **_read(data),
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


def planned(data: UserData, seconds: float) -> dict[str, Any]:
    """What was read, and how long a scan of it would take, as plain values with the names that `summary` has."""
    return {**_read(data), "dry_run": True, "expected_seconds": round(seconds, 2)}


def _read(data: UserData) -> dict[str, Any]:
    return {
        "format": 1,
        "version": __version__,
        "folder": listed(str(data.root)),
        "images": len(data.files),
        "image_size": data.images.image_size,
        "classes": list(data.classes),
        "skipped": len(data.skipped),
        "notes": list(data.notes),
    }


def removed_by_rule(scan: ScanReport, labels: Tensor, suspects: Tensor, predicted: Tensor) -> Tensor:
    """Which files the cleaned list leaves out, bool (N,).

    Those that the scan flags. Where the scan is not quiet and names a target, also files of that label that the defense
    suspects and that the delivered model takes for another class: two witnesses that do not know each other. What a
    method alone suspects stays, for some suspect half of the data by design.
    """
    removed = scan.flagged.clone()
    if not scan.quiet and scan.target is not None:
        removed |= suspects & (predicted != labels) & (labels == scan.target)
    return removed


def write_suspects(path: Path, data: UserData, delivery: Delivery) -> None:
    """Write the table of the scan with what the defense and its model say of every file. Errors: FolderError."""
    name = delivery.defense
    more = [f"{name}_score"] * (delivery.score is not None)
    more += [f"{name}_suspect", "model_says", "held_out", "kept"]
    write_table(path, (*columns(delivery.scan), *more), _delivered_rows(data, delivery))


def _delivered_rows(data: UserData, delivery: Delivery) -> Iterator[list[object]]:
    by = columns(delivery.scan).index("flagged_by")
    for row, i in zip(rows(data, delivery.scan), delivery.scan.rank.tolist(), strict=True):
        found, held = list(row), bool(delivery.held_out[i])
        speaks = bool(delivery.scan.flagged[i]) and speaks_against(data, delivery, i)
        who = (str(row[by]), delivery.defense if speaks else "")
        found[by] = " ".join(filter(None, who))
        found += [] if delivery.score is None else [_six_digits(float(delivery.score[i]))]
        found += [None if held else _yes(delivery.suspects[i]), data.classes[int(delivery.predicted[i])]]
        yield [*found, _yes(held), _yes(not delivery.removed[i])]


def speaks_against(data: UserData, delivery: Delivery, i: int) -> bool:
    """Whether the defense suspects file `i` and its model takes it for another class than its label."""
    return bool(delivery.suspects[i]) and int(delivery.predicted[i]) != int(data.images.labels[i])


def unjudged(delivery: Delivery) -> str:
    """What the kept files are to be known by: not all were looked at by the defense."""
    held = delivery.held_out
    kept = int((held & ~delivery.removed).sum())
    count = int(held.sum())
    if delivery.defense == "none":
        return f"{plural(count, 'held-out file', 'was', 'were')} not trained on; the scan looked at every file"
    be, it = ("is", "it") if kept == 1 else ("are", "them")
    return (
        f"{plural(count, 'held-out file', 'was', 'were')} not judged by the defense, which was not trained on them; "
        f"{kept} of them {be} kept because the scan does not flag {it}"
    )


def _yes(value: object) -> str:
    return "yes" if bool(value) else "no"


def write_cleaned(folder: Path, files: Sequence[str], removed: Tensor) -> None:
    """Write the lists of kept and removed files. Errors: FolderError.

    kept.txt, removed.txt: a path a line, relative to the data's folder; one with a line break, a tab or a quote stands
    in quotes, as Git writes it. kept.nul: the exact bytes of the paths, each followed by a zero byte, for programs
    (`rsync --from0 --files-from=kept.nul`, `tar --null -T kept.nul`).
    """
    gone = removed.tolist()
    kept = [name for name, out in zip(files, gone, strict=True) if not out]
    folders.write_text(folder / KEPT, _lines(kept))
    folders.write_text(folder / REMOVED, _lines(name for name, out in zip(files, gone, strict=True) if out))
    exact = folder / KEPT_EXACT
    with folders.writing(exact), folders.atomic(exact) as temporary:
        temporary.write_bytes(b"".join(os.fsencode(name) + b"\0" for name in kept))


def quoted(name: str) -> str:
    """A path on one line: as it is, or in quotes with escapes where it would not be read back as it is."""
    text = printable(name)
    if text == name and not any(char in text for char in '\n\r\t"\\') and text.isprintable():
        return name

    def told(char: str) -> str:
        return char if char.isprintable() else "".join(f"\\{byte:03o}" for byte in os.fsencode(char))

    return f'"{"".join(_ESCAPES.get(char, told(char)) for char in name)}"'


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{quoted(name)}\n" for name in names)


def _six_digits(value: float) -> float | None:
    return None if value != value else float(f"{value:.6g}")
