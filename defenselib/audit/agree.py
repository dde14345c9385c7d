"""What the signs come to together: an order of suspicion, a target, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from defenselib.audit import phrases
from defenselib.audit.counts import ranks
from defenselib.audit.patterns import MOST, Pattern, not_searched
from defenselib.audit.results import Sign, Verdict

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
# Share of the files that are exact copies under different labels, from which on data are not calm: of each such group
# one label at most is right. Even near copies are 1.5 % of GTSRB and none of CIFAR-10 (see `counts.ALIKE`).
TORN = 0.1
_COUNTED = ("pattern", "loss", "entropy", "fct", "spectral")
Taken = tuple[float, float]  # share of other images that a network takes for the pattern's class, with it and without


def top(scores: Tensor) -> Tensor:
    """The suspects of a sign: bool (N,), the highest 2 % of what it speaks of, 10 at least.

    All that tie with the last of them are among them, and none of these where they are most images: which files come
    first must be without effect.
    """
    known = int((~scores.isnan()).sum())
    count = min(known, max(10, round(SUSPECTS * known)))
    if not count:
        return torch.zeros(len(scores), dtype=torch.bool)
    cut = scores.nan_to_num(nan=-torch.inf).sort(descending=True).values[count - 1]
    found = scores >= cut
    return found if int(found.sum()) <= max(count, known // 2) else scores > cut


def shares(suspects: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Which share of the suspects each class has, float (classes,)."""
    return torch.bincount(labels[suspects], minlength=classes).float() / max(1, int(suspects.sum()))


def told(patterns: Sequence[Pattern]) -> list[Pattern]:
    """Those that are told, of all, strongest first."""
    return [item for item in patterns if item.strength >= LOOK]


def is_alarm(pattern: Pattern, taken: Taken | None) -> bool:
    """Whether a told pattern alone is an alarm. taken: where a network was asked."""
    each = pattern.strength / min(len(pattern.members), MOST) ** 0.5
    return (pattern.strength >= ALARM and each >= EACH) or (taken is not None and taken[0] - taken[1] >= TAKEN)


def _asked(patterns: Sequence[Pattern], taken: Sequence[Taken]) -> list[Taken | None]:
    """What a network made of each pattern; None of those that it was not asked about."""
    return [*taken, *[None] * (len(patterns) - len(taken))]


def leading(patterns: Sequence[Pattern], taken: Sequence[Taken] = ()) -> int:
    """Which pattern speaks for the data: the strongest that is an alarm, else the strongest of all.

    A large natural group may be stronger than a trigger, and no alarm. taken: of the first of the patterns.
    """
    asked = _asked(patterns, taken)
    return next((i for i, item in enumerate(told(patterns)) if is_alarm(item, asked[i])), 0)


def agree(
    signs: Mapping[str, Sign],
    labels: Tensor,
    classes: tuple[str, ...],
    patterns: Sequence[Pattern],
    second: int | None,
    taken: Sequence[Taken] = (),
) -> Verdict:
    """Weigh the signs. patterns: strongest first; second: BSD's vote; taken: of the first patterns. Labels on the
    CPU."""
    shown, lead = told(patterns), leading(patterns, taken)
    asked = _asked(patterns, taken)
    member = torch.zeros(len(labels), dtype=torch.bool)
    for item in shown:
        member[item.members.cpu()] = True
    counted = torch.stack([ranks(signs[key].scores.cpu().float()) for key in _COUNTED if key in signs])
    score = (counted.nanmean(0).nan_to_num(0.0) + member.float()) / 2
    votes, consensus = _votes(signs, labels, classes, shown[lead] if shown else None, second)
    null = _null(patterns, lead)
    missed = not_searched(labels, classes)
    torn = _torn(signs)
    limits = phrases.Limits(LOOK, ALARM, EACH)
    target, flagged, alarm = None, torch.zeros(len(labels), dtype=torch.bool), "calm"
    if shown:
        target, flagged = shown[lead].label, member
        alarm = "alarm" if is_alarm(shown[lead], asked[lead]) else "look"
        order = [lead, *(i for i in range(len(shown)) if i != lead)]
        groups = [phrases.Group(classes[shown[i].label], len(shown[i].members), shown[i].strength, asked[i])
                  for i in order]  # fmt: skip
        words = phrases.patterns(alarm == "alarm", groups, limits)
    elif consensus is not None:
        hits = torch.stack([top(signs[key].scores.cpu()) for key in ("loss", "entropy")]).all(0)
        target, flagged, alarm = consensus, hits & (labels == consensus), "look"
        words = phrases.consensus(classes[consensus], int(flagged.sum()), null["strength"])
    elif not patterns:
        alarm, words = "unknown", phrases.UNKNOWN
    else:
        words = phrases.calm(null["strength"], null["strongest in other classes"], limits)
    if torn >= TORN * len(labels):
        said = phrases.torn(torn, len(labels))
        words = f"{words} {said}" if alarm == "alarm" else f"{said} {words.removeprefix('Nothing stands out. ')}"
        alarm = "look" if alarm == "calm" else alarm
    return Verdict(
        score=score,
        rank=score.argsort(descending=True, stable=True),
        flagged=flagged,
        target=target,
        target_votes=votes,
        alarm=alarm,
        words=words + (phrases.not_searched(missed) if len(missed) < len(classes) else ""),
        null=null,
    )


def _torn(signs: Mapping[str, Sign]) -> int:
    """How many files are there more than once under different labels."""
    return int((signs["duplicates"].scores == 1).sum()) if "duplicates" in signs else 0


def _votes(
    signs: Mapping[str, Sign], labels: Tensor, classes: tuple[str, ...], lead: Pattern | None, second: int | None
) -> tuple[dict[str, str], int | None]:
    """The class that each sign points to, and the one on which those of the network agree beyond LIFT and SHARE."""
    votes = {} if lead is None else {"pattern": classes[lead.label]}
    usual = torch.bincount(labels, minlength=len(classes)).float() / len(labels)
    clear: list[int] = [] if second is None else [second]
    for key in ("loss", "entropy"):
        if key in signs and bool((suspects := top(signs[key].scores.cpu())).any()):
            found = shares(suspects, labels, len(classes))
            label = int((found - usual).argmax())
            votes[key] = classes[label]
            clear.append(label if found[label] >= SHARE and found[label] >= LIFT * usual[label] else -1)
    if second is not None:
        votes["second"] = classes[second]
    return votes, clear[0] if len(clear) == 3 and len(set(clear)) == 1 else None


def _null(patterns: Sequence[Pattern], lead: int) -> dict[str, Any]:
    first = patterns[lead] if patterns else None
    others = [item.strength for item in patterns if first is not None and item.label != first.label]
    return {
        "strength": 0.0 if first is None else first.strength,
        "strongest in other classes": max(others, default=0.0),
        "told from": LOOK,
        "alarm from": ALARM,
    }
