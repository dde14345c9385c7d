"""Which files are suspected, by whom, and which are kept: suspects.csv and the lists in cleaned/."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from defenselib import folders
from defenselib.audit import tables
from defenselib.audit.delivery import Delivery
from defenselib.audit.folder import UserData
from defenselib.audit.names import write_table
from defenselib.audit.signs import ScanReport
from defenselib.errors import printable

SUSPECTS, CLEANED = "suspects.csv", "cleaned"
KEPT, KEPT_EXACT, REMOVED = "kept.txt", "kept.nul", "removed.txt"
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


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
    write_table(path, (*tables.columns(delivery.scan), *more), _rows(data, delivery))


def _rows(data: UserData, delivery: Delivery) -> Iterator[list[object]]:
    by = tables.columns(delivery.scan).index("flagged_by")
    for row, i in zip(tables.rows(data, delivery.scan), delivery.scan.rank.tolist(), strict=True):
        found, held = list(row), bool(delivery.held_out[i])
        speaks = bool(delivery.scan.flagged[i]) and speaks_against(data, delivery, i)
        who = (str(row[by]), delivery.defense if speaks else "")
        found[by] = " ".join(filter(None, who))
        found += [] if delivery.score is None else [_number(float(delivery.score[i]))]
        found += [None if held else _yes(delivery.suspects[i]), data.classes[int(delivery.predicted[i])]]
        yield [*found, _yes(held), _yes(not delivery.removed[i])]


def speaks_against(data: UserData, delivery: Delivery, i: int) -> bool:
    """Whether the defense suspects file `i` and its model takes it for another class than its label."""
    return bool(delivery.suspects[i]) and int(delivery.predicted[i]) != int(data.images.labels[i])


def unjudged(delivery: Delivery) -> str:
    """What the kept files are to be known by: not all were looked at by the defense."""
    held = delivery.held_out
    kept = int((held & ~delivery.removed).sum())
    return (
        f"{int(held.sum())} held-out files were not judged by the defense, for it was not trained on them; {kept} of "
        "them are kept because the scan does not flag them"
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


def _number(value: float) -> float | None:
    return None if value != value else float(f"{value:.6g}")
