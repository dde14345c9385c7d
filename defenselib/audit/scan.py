"""`scan`: several independent signs of poison in a user's data, side by side, in minutes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from defenselib.audit import network, whitening
from defenselib.audit.agree import Taken, agree, leading, shares, told, top
from defenselib.audit.counts import class_sizes, duplicates, near_duplicates
from defenselib.audit.counts import seconds_for as seconds_of_pairs
from defenselib.audit.folder import UserData
from defenselib.audit.patterns import Pattern, find_patterns
from defenselib.audit.patterns import seconds_for as seconds_of_search
from defenselib.audit.phrases import UNKNOWN
from defenselib.audit.results import ScanReport, Sign
from defenselib.audit.trigger import estimate, success
from defenselib.cpu.devices import chosen_device
from defenselib.data.types import ImageSet, digest_of
from defenselib.errors import DamagedFileError, InvalidValueError, check_choice
from defenselib.folders import expanded, make, writing
from defenselib.learning import checkpoints
from defenselib.learning.context import Context
from defenselib.plots.words import plural

BUDGETS = ("quick", "standard")
_VERSION = 2  # of what an unfinished scan keeps
_UNFINISHED = ".unfinished"
FILE = "scan.safetensors"  # the report, so that a stopped run does not scan again


def scan(
    data: UserData,
    *,
    seed: int = 0,
    budget: str | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
    out: str | Path | None = None,
    save: Callable[[ScanReport], object] | None = None,
) -> ScanReport:
    """Look for poison in `data`.

    budget: "quick" looks for shared patterns, exact and near copies, and sizes; "standard" (None) trains two small
    networks too. out: a folder for what an unfinished scan keeps; the same call goes on there, with the same result. It
    must not lie in the data. save: gets the report before what is kept there is deleted, to write it. Errors:
    UnknownNameError, InvalidValueError, FolderError.
    """
    budget = check_choice("budget", budget or "standard", BUDGETS)
    place = chosen_device(device)
    folder = None if out is None else _unfinished(data, seed, budget, expanded(out))
    seconds: dict[str, float] = {}
    images = data.images.to(place)
    with _timed(seconds, "counts"):
        # The first two work on the CPU: what has gone to a device need not come back for them.
        signs = [look(data.images, data.classes) for look in (class_sizes, duplicates)]
        signs.append(near_duplicates(images, data.classes))
    with _timed(seconds, "patterns"):
        patterns = _patterns(images, seed, folder)
    signs.insert(0, _pattern_sign(patterns, data))
    second, taken = None, list[Taken]()
    if budget == "standard":
        context = network.context_for(images, place, seed, folder, progress)
        with _timed(seconds, "networks"):
            more, second, taken = _with_networks(data, images, patterns, context, seed)
        signs += more
    labels = data.images.labels.cpu()
    verdict = agree({item.key: item for item in signs}, labels, data.classes, patterns, second, taken)
    lead = leading(patterns, taken)
    pattern, mask = (None, None) if not patterns else estimate(images, patterns[lead], seed)
    tried = {"taken with the pattern": taken[lead][0], "taken without": taken[lead][1]} if taken else {}
    report = ScanReport(
        **vars(verdict) | {"null": verdict.null | tried},
        signs=tuple(signs),
        pattern=None if pattern is None else pattern.cpu(),
        mask=None if mask is None else mask.cpu(),
        seconds=seconds,
    )
    if save is not None:
        save(report)
    if folder is not None:
        _forget(folder)
    return report


def seconds_for(data: UserData, budget: str | None = None, device: torch.device | str | None = None) -> float:
    """Expected wall time of `scan` in seconds, from a few steps of each part on this machine, as busy as it is now."""
    count, classes, images = len(data.images), len(data.classes), data.images.images
    budget, place = check_choice("budget", budget or "standard", BUDGETS), chosen_device(device)
    search = whitening.seconds_for(images) + seconds_of_search(count, classes, whitening.LARGEST)
    search += seconds_of_pairs(images, place) + 1e-4 * count
    if budget == "quick":
        return search
    return search + network.seconds_for(data.images, place)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - started


def _unfinished(data: UserData, seed: int, budget: str, out: Path) -> Path:
    """Where this very scan keeps what it has done. Another one's is left alone. Errors: FolderError where nothing can
    be written, before any work."""
    if out.absolute().resolve().is_relative_to(data.root.resolve()):
        raise InvalidValueError(f"out is {out}, which lies in the data; give a folder elsewhere")
    with writing(make(out)):
        tempfile.TemporaryFile(dir=out).close()
    what = f"{_VERSION} {digest_of(data.images)} {seed} {budget}"
    return out / _UNFINISHED / hashlib.sha256(what.encode()).hexdigest()[:16]


def _forget(folder: Path) -> None:
    """Delete what a finished scan has kept, and leave another one's alone."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def _patterns(images: ImageSet, seed: int, folder: Path | None) -> list[Pattern]:
    """The patterns, from what an unfinished scan has kept if it has."""
    found: list[dict[str, Any]] = []
    file = None if folder is None else folder / "patterns.safetensors"

    def restore(content: list[dict[str, Any]]) -> int:
        found[:] = content
        return 1

    if file is None or not checkpoints.resume(file, images.images.device, restore, lambda: list(found)):
        found[:] = [asdict(item) for item in find_patterns(whitening.whitened(images.images, seed), images, seed)]
        if file is not None:
            checkpoints.save(file, found)
    return [Pattern(**item) for item in found]


def _pattern_sign(patterns: list[Pattern], data: UserData) -> Sign:
    """Deviation of each image along its class's strongest pattern, weighed by that pattern's strength."""
    labels = data.images.labels.cpu()
    scores = torch.full((len(labels),), torch.nan)
    per_class: dict[str, float] = {}
    strongest = patterns[0].strength if patterns else 1.0
    for item in reversed(patterns):  # the strongest of a class is the last to be written
        scores[labels == item.label] = item.deviations.cpu() * (item.strength / max(strongest, 1e-9))
        per_class[data.classes[item.label]] = item.strength
    if not patterns:
        words = UNKNOWN
    else:
        first = patterns[0]
        words = (
            f"The strongest pattern that only one class has: {len(first.members)} images of "
            f"{data.classes[first.label]}, {first.apart:.1f} deviations from the others, strength {first.strength:.1f}."
        )
        words += f" {len(told(patterns))} patterns are told." if len(told(patterns)) > 1 else ""
    return Sign("pattern", "Shared patch or overlay", scores, per_class, words)


def _with_networks(
    data: UserData, images: ImageSet, patterns: list[Pattern], context: Context, seed: int
) -> tuple[list[Sign], int, list[Taken]]:
    """The networks' signs, BSD's target, and how the told patterns, the strongest at least, work on other images."""
    seen = network.look(images, context, seed)
    second = max(set(seen.votes), key=lambda vote: (seen.votes.count(vote), -vote))
    shown = patterns[: max(1, len(told(patterns)))]
    return _network_signs(seen, data), second, [success(seen.model, images, one, context, seed) for one in shown]


def _network_signs(seen: network.Seen, data: UserData) -> list[Sign]:
    """The network's scores as signs, and BSD's vote."""
    labels = data.images.labels.cpu()
    signs = []
    for key, title, values in (
        ("loss", "Learned first (LGA isolation, ABL)", -seen.loss),
        ("entropy", "Surest predictions (V&B's Victim)", -seen.entropy),
        ("fct", "Features change when turned (D-ST)", seen.fct),
        ("spectral", "Spectral signature", seen.spectral),
    ):
        suspects = top(values.cpu())
        found = shares(suspects, labels, len(data.classes))
        first = int(found.argmax())
        count = int(suspects.sum())
        words = (
            f"{round(float(found[first]) * count)} of the {plural(count, 'file')} with the highest scores (2 % of the "
            f"files, 10 at least) are of class {data.classes[first]}."
        )
        if not bool(suspects.any()):
            words = "Most images have the same, highest score: no suspects."
        per_class = dict(zip(data.classes, found.tolist(), strict=True))
        signs.append(Sign(key, title, values.float().cpu(), per_class, words))
    votes = Tensor([seen.votes.count(label) / len(seen.votes) for label in range(len(data.classes))])
    words = (
        f"In {100 * float(votes.max()):.0f} % of the passes over the data {data.classes[int(votes.argmax())]} was most "
        "often the second choice."
    )
    nothing = torch.full((len(labels),), torch.nan)
    shown = dict(zip(data.classes, votes.tolist(), strict=True))
    return [*signs, Sign("second", "Second choice (BSD)", nothing, shown, words)]


def scanned(folder: Path, make: Callable[..., ScanReport]) -> ScanReport:
    """The report that `folder` keeps, or the one that `make` gives, kept from now on. Errors: FolderError.

    make: is called with `save`, by which it keeps the report before it deletes what it has it from.
    """
    path = folder / FILE
    if path.exists():
        try:
            return kept(folder)
        except (DamagedFileError, KeyError, TypeError):
            path.unlink()
    return make(save=partial(keep, folder))


def keep(folder: Path, report: ScanReport) -> None:
    """Keep a report. Errors: FolderError."""
    checkpoints.save(folder / FILE, vars(report) | {"signs": [vars(sign) for sign in report.signs]})


def kept(folder: Path) -> ScanReport:
    """The report that is kept. Errors: DamagedFileError, KeyError, TypeError."""
    content = checkpoints.load(folder / FILE, torch.device("cpu"))
    return ScanReport(**content | {"signs": tuple(Sign(**sign) for sign in content["signs"])})
