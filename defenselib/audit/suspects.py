"""Which files are suspected, by whom, and which are kept: suspects.csv and the lists in cleaned/."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from defenselib import folders
from defenselib.audit.delivery import Delivery
from defenselib.audit.folder import UserData
from defenselib.audit.names import write_table
from defenselib.audit.scan import ScanReport
from defenselib.errors import printable

SUSPECTS, CLEANED = "suspects.csv", "cleaned"
KEPT, KEPT_EXACT, REMOVED = "kept.txt", "kept.nul", "removed.txt"
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def removed_by_rule(scan: ScanReport, labels: Tensor, suspects: Tensor, predicted: Tensor) -> Tensor:
    """Which files the cleaned list leaves out, bool (N,).

    Those that the scan flags. Where the scan is not calm and names a target, also files of that label that the defense
    suspects and that the delivered model takes for another class: two witnesses that do not know each other. What a
    method alone suspects stays, for some suspect half of the data by design.
    """
    removed = scan.flagged.clone()
    if scan.alarm != "calm" and scan.target is not None:
        removed |= suspects & (predicted != labels) & (labels == scan.target)
    return removed


def write_suspects(path: Path, data: UserData, scan: ScanReport, delivery: Delivery | None = None) -> None:
    """Write one line a file, the most suspicious first. Errors: FolderError."""
    columns = ["rank", "file", "label", "flagged_by", "suspicion", *(f"scan_{sign.key}" for sign in scan.signs)]
    if delivery is not None:
        columns += [f"{delivery.defense}_score"] * (delivery.score is not None)
        columns += [f"{delivery.defense}_suspect", "model_says", "held_out", "kept"]
    write_table(path, columns, _rows(data, scan, delivery))


def _rows(data: UserData, scan: ScanReport, delivery: Delivery | None) -> Iterator[list[object]]:
    labels = data.images.labels.tolist()
    for place, i in enumerate(scan.rank.tolist(), start=1):
        signs = [_number(sign.scores[i]) for sign in scan.signs]
        row = [place, data.files[i], data.classes[labels[i]], flagged_by(scan, delivery, labels[i], i)]
        row += [_number(scan.score[i]), *signs]
        if delivery is not None:
            held = bool(delivery.held_out[i])
            row += [] if delivery.score is None else [_number(delivery.score[i])]
            row += [
                None if held else int(delivery.suspects[i]),
                data.classes[int(delivery.predicted[i])],
                int(held),
                int(not delivery.removed[i]),
            ]
        yield row


def flagged_by(scan: ScanReport, delivery: Delivery | None, label: int, i: int) -> str:
    """Who speaks against file `i`: "scan"; the defense's name, where it suspects the file and its model takes it for
    another class than its `label`."""
    found = ["scan"] if scan.flagged[i] else []
    if delivery is not None and delivery.suspects[i] and int(delivery.predicted[i]) != label:
        found.append(delivery.defense)
    return " ".join(found)


def write_cleaned(folder: Path, files: Sequence[str], removed: Tensor) -> None:
    """Write the lists of kept and removed files. Errors: FolderError.

    kept.txt, removed.txt: a path a line, relative to the data's folder; one with a line break, a tab or a quote stands
    in quotes, as Git writes it. kept.nul: the exact bytes of the paths, each followed by a zero byte, for programs
    (`rsync --from0 --files-from=kept.nul`, `tar --null -T kept.nul`).
    """
    gone = removed.tolist()
    kept = [name for name, out in zip(files, gone, strict=True) if not out]
    _write(folder / KEPT, _lines(kept))
    _write(folder / REMOVED, _lines(name for name, out in zip(files, gone, strict=True) if out))
    _write(folder / KEPT_EXACT, b"".join(os.fsencode(name) + b"\0" for name in kept))


def quoted(name: str) -> str:
    """A path on one line: as it is, or in quotes with escapes where it would not be read back as it is."""
    text = printable(name)
    if text == name and not any(char in text for char in '\n\r\t"\\') and text.isprintable():
        return name
    inner = "".join(_ESCAPES.get(char, char if char.isprintable() else _octal(char)) for char in name)
    return f'"{inner}"'


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(char))


def _lines(names: Iterable[str]) -> bytes:
    return "".join(f"{quoted(name)}\n" for name in names).encode("utf-8")


def _write(path: Path, content: bytes) -> None:
    folders.make(path.parent)
    with folders.writing(path), folders.atomic(path) as temporary:
        temporary.write_bytes(content)


def _number(value: Tensor) -> float | None:
    number = float(value)
    return None if number != number else float(f"{number:.6g}")
