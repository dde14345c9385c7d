"""What the signs come to together: an order of suspicion, a target, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from defenselib.audit.counts import ranks
from defenselib.audit.patterns import MOST, Pattern
from defenselib.audit.signs import Sign, Verdict

# Strength of a pattern from which on it is told, and from which on it is an alarm. Chosen on CIFAR-10 and GTSRB, on
# clean subsets of seeds from 100 on, which scored up to 21.9; the book has other seeds.
LOOK, ALARM = 24.0, 30.0
# Strength over the root of the number of members, from which on a pattern can be an alarm: what a large natural group
# of one class shares is weak in each image. Set after 205 unpoisoned solar cells had 2.9, when what belongs to a class
# was not yet measured against chance; since then the strongest pattern that those cells have is 1.2 (59 of them).
EACH = 3.5
# The three signs of a network count together where each points to one class, and the first two find it so much more
# often among their suspects than among all images.
LIFT, SHARE = 3.0, 0.6
TAKEN = 0.5  # more of the other images that the pattern turns to its class: then a told pattern is an alarm
SUSPECTS = 0.02  # of the images are a sign's suspects
_COUNTED = ("pattern", "loss", "entropy", "fct", "spectral")


def top(scores: Tensor) -> Tensor:
    """The suspects of a sign: bool (N,), the highest 2 % of what it speaks of, 10 at least, ties in order."""
    known = int((~scores.isnan()).sum())
    count = min(known, max(10, round(SUSPECTS * known)))
    order = scores.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)[:count]
    found = torch.zeros(len(scores), dtype=torch.bool)
    found[order] = True
    return found


def shares(suspects: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Which share of the suspects each class has, float (classes,)."""
    return torch.bincount(labels[suspects], minlength=classes).float() / max(1, int(suspects.sum()))


def agree(
    signs: Mapping[str, Sign],
    labels: Tensor,
    classes: tuple[str, ...],
    patterns: list[Pattern],
    second: int | None,
    success: tuple[float, float] | None,
) -> Verdict:
    """Weigh the signs. second: BSD's vote; success: the strongest pattern's, with it and without. Labels on the CPU."""
    told = [item for item in patterns if item.strength >= LOOK]
    member = torch.zeros(len(labels), dtype=torch.bool)
    for item in told:
        member[item.members.cpu()] = True
    counted = torch.stack([ranks(signs[key].scores.cpu().float()) for key in _COUNTED if key in signs])
    score = (counted.nanmean(0).nan_to_num(0.0) + member.float()) / 2
    votes, consensus = _votes(signs, labels, classes, told, second)
    if told:
        target, flagged = told[0].label, member
        each = told[0].strength / min(len(told[0].members), MOST) ** 0.5
        sure = (told[0].strength >= ALARM and each >= EACH) or (
            success is not None and success[0] - success[1] >= TAKEN
        )
        alarm = "alarm" if sure else "look"
    elif consensus is not None:
        hits = torch.stack([top(signs[key].scores.cpu()) for key in ("loss", "entropy")]).all(0)
        target, flagged, alarm = consensus, hits & (labels == consensus), "look"
    else:
        target, flagged, alarm = None, torch.zeros(len(labels), dtype=torch.bool), "calm"
    null = _null(patterns)
    return Verdict(
        score=score,
        rank=score.argsort(descending=True, stable=True),
        flagged=flagged,
        target=target,
        target_votes=votes,
        alarm=alarm,
        words=_words(alarm, told, null, classes, target, success, int(flagged.sum())),
        null=null,
    )


def _votes(
    signs: Mapping[str, Sign], labels: Tensor, classes: tuple[str, ...], told: list[Pattern], second: int | None
) -> tuple[dict[str, str], int | None]:
    """The class that each sign points to, and the one on which those of the network agree beyond LIFT and SHARE."""
    votes = {"pattern": classes[told[0].label]} if told else {}
    usual = torch.bincount(labels, minlength=len(classes)).float() / len(labels)
    clear: list[int] = [] if second is None else [second]
    for key in ("loss", "entropy"):
        if key in signs:
            found = shares(top(signs[key].scores.cpu()), labels, len(classes))
            label = int((found - usual).argmax())
            votes[key] = classes[label]
            clear.append(label if found[label] >= SHARE and found[label] >= LIFT * usual[label] else -1)
    if second is not None:
        votes["second"] = classes[second]
    return votes, clear[0] if len(clear) == 3 and len(set(clear)) == 1 else None


def _null(patterns: list[Pattern]) -> dict[str, Any]:
    first = patterns[0] if patterns else None
    others = [item.strength for item in patterns if first is not None and item.label != first.label]
    return {
        "strength": 0.0 if first is None else first.strength,
        "strongest in other classes": max(others, default=0.0),
        "told from": LOOK,
        "alarm from": ALARM,
    }


def _words(
    alarm: str,
    told: list[Pattern],
    null: Mapping[str, float],
    classes: tuple[str, ...],
    target: int | None,
    success: tuple[float, float] | None,
    flagged: int,
) -> str:
    found = f"{null['strength']:.1f}, in the other classes {null['strongest in other classes']:.1f} at most"
    usual = f"clean sets stayed below {LOOK:g} when the limits were set"
    if alarm == "calm":
        return (
            f"Nothing stands out. The strongest pattern that only one class has scores {found}; {usual}. "
            "A trigger without a fixed pattern, or a handful of files, can be missed."
        )
    name = classes[target] if target is not None else ""
    if not told:
        return (
            f"No shared pattern (strength {found}), but what a network learns first, what it is surest of and its "
            f"second choice all point to class {name}: {flagged} files to look at. Easy classes can look like this."
        )
    tried = "" if success is None else (
        f" Put on images of other classes, it makes a network say {name} for {success[0]:.0%} of them "
        f"({success[1]:.0%} without it)."
    )  # fmt: skip
    sure = f"an alarm is from {ALARM:g}, and {EACH:g} times the root of their number; {usual}"
    begin = "Very likely poisoned." if alarm == "alarm" else "Worth a look."
    return f"{begin} {len(told[0].members)} files of class {name} share a pattern of strength {found} ({sure}).{tried}"
