"""The words of a verdict: how sure it is, and measured against what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from defenselib.audit.patterns import LEAST_IMAGES, LEAST_OTHERS
from defenselib.plots.words import plural

NEEDED = f"that takes {LEAST_IMAGES} images of it and {LEAST_OTHERS} of others"
UNKNOWN = f"Too few images to tell: no class could be searched for a shared pattern; {NEEDED}."
_SHOWN = 5  # names in a sentence


class Limits(NamedTuple):
    """Of a pattern's strength: told from, an alarm from; and of that over the root of the number of members."""

    look: float
    alarm: float
    each: float

    @property
    def usual(self) -> str:
        """Where the limits come from: not from data as the user's."""
        return f"clean subsets of CIFAR-10 and GTSRB at 32 pixels stayed below {self.look:g} when the limits were set"


class Group(NamedTuple):
    """A told pattern: class, number of files, strength; taken: shares as of `trigger.success`, where it was tried."""

    name: str
    files: int
    strength: float
    taken: tuple[float, float] | None


def patterns(alarm: bool, groups: Sequence[Group], limits: Limits) -> str:
    """Of told patterns, first the one that decides."""
    first, *others = groups
    begin = "Very likely poisoned." if alarm else "Worth a look."
    sure = f"an alarm is from {limits.alarm:g}, and {limits.each:g} times the root of their number; {limits.usual}"
    also = "".join(f" Told too: {_shared(item)}.{_tried(item)}" for item in others)
    return f"{begin} {_shared(first)} ({sure}).{_tried(first)}{also}"


def _shared(group: Group) -> str:
    share = "shares" if group.files == 1 else "share"
    return f"{plural(group.files, 'file')} of class {group.name} {share} a pattern of strength {group.strength:.1f}"


def _tried(group: Group) -> str:
    if group.taken is None:
        return ""
    return (
        f" Put on images of other classes, it makes a network say {group.name} for {group.taken[0]:.0%} of them "
        f"({group.taken[1]:.0%} without it)."
    )


def consensus(name: str, flagged: int, strength: float) -> str:
    """Where no pattern is told, and the signs of the network agree on a class."""
    count = (
        f"{plural(flagged, 'file')} to look at." if flagged else "No single file stands out by both of the first two."
    )
    return (
        f"No shared pattern (strength {strength:.1f}), but what a network learns first, what it is surest of and its "
        f"second choice all point to class {name}: {count} Easy classes can look like this."
    )


def calm(strength: float, others: float, limits: Limits) -> str:
    """Where nothing is told."""
    return (
        f"Nothing stands out. The strongest pattern that only one class has scores {strength:.1f}, in the other "
        f"classes {others:.1f} at most; {limits.usual}. "
        "A trigger without a fixed pattern, or a handful of files, can be missed."
    )


def torn(files: int, of: int) -> str:
    """Where so many of the files are copies under different labels that the data cannot be called calm."""
    return (
        f"Worth a look. {files} of {of} files ({files / of:.0%}) are there more than once, pixel by pixel, under "
        "different labels: for each picture one of these labels at most is right, and what is learned from them is not "
        "to be relied on. They have duplicates = 1 in suspects.csv; keep each picture once, under its true label."
    )


def not_searched(names: Sequence[str]) -> str:
    """A sentence on classes that are too small, empty where there are none."""
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" Not searched for a shared pattern ({NEEDED}): class {', '.join(names[:_SHOWN])}{more}."
