"""What BSD's authors say about the parts of their method, checked on Tables 6 to 8 and 11 (Shen et al., ICML 2025)."""

from __future__ import annotations

from defenselib.papers.bsd.checks import attacks, listed
from defenselib.papers.kit.claims import Missing, Numbers
from defenselib.papers.kit.verdict import ASR_HIGH, ASR_LOW

DEFAULT = "setting=default"
SLACK = 1.0  # points of ASR or ACC that chance alone moves


def _settings(numbers: Numbers, metric: str, variant: str) -> dict[str, tuple[float, float]]:
    """By attack: the default's number and that of `variant`, where both were run."""
    found = {}
    for attack in attacks(numbers):
        try:
            pair = [numbers.one(attack=attack, variant=name, metric=metric) for name in (DEFAULT, variant)]
        except Missing:
            continue
        found[attack] = (pair[0], pair[1])
    if not found:
        raise Missing(f"needs the default and {variant}")
    return found


def _pairs(found: dict[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} {first:.1f} → {second:.1f}" for name, (first, second) in found.items())


def init_needed(numbers: Numbers) -> tuple[bool, str]:
    found = _settings(numbers, "asr", "without=init")
    return all(with_ <= ASR_LOW and out >= ASR_HIGH for with_, out in found.values()), f"ASR: {_pairs(found)}"


def completion_needed(numbers: Numbers) -> tuple[bool, str]:
    found = _settings(numbers, "acc", "without=comp")
    return all(with_ - out > SLACK for with_, out in found.values()), f"ACC: {_pairs(found)}"


def drop_helps(numbers: Numbers) -> tuple[bool, str]:
    found = _settings(numbers, "asr", "without=drop")
    return all(out > with_ for with_, out in found.values()), f"ASR: {_pairs(found)}"


def robust_range(numbers: Numbers) -> tuple[bool, str]:
    wanted = tuple(f"alpha={alpha};beta=0.2" for alpha in (0.3, 0.4, 0.5, 0.7))
    rows = numbers.select(metric="asr", variant=wanted)
    if rows.empty:
        raise Missing("needs other alpha")
    return rows["reproduced"].max() <= ASR_LOW, f"{len(rows)} of 12 cells: largest ASR {rows['reproduced'].max():.1f}"


def large_alpha(numbers: Numbers) -> tuple[bool, str]:
    found = _settings(numbers, "acc", "alpha=0.9;beta=0.2")
    return all(usual > large for usual, large in found.values()), f"ACC: {_pairs(found)}"


def large_beta(numbers: Numbers) -> tuple[bool, str]:
    rows = numbers.select(metric="der", attack="wanet")
    found = dict(zip(rows["variant"], rows["reproduced"].astype(float), strict=True))
    if "alpha=0.7;beta=0.7" not in found or len(found) < 3:
        raise Missing("needs alpha = beta = 0.7 and others under wanet")
    return min(found, key=lambda name: found[name]) == "alpha=0.7;beta=0.7", f"DER: {listed(found)}"


def _isolated(numbers: Numbers, metric: str, *epochs: int) -> dict[str, float]:
    found = {}
    for attack in attacks(numbers):
        for epoch in epochs:
            rows = numbers.select(metric=metric, attack=attack, variant=f"yt_method=lga;warmup_epochs={epoch}")
            if len(rows):
                found[f"{attack}/{epoch}"] = float(rows["reproduced"].iloc[0])
    if not found:
        raise Missing(f"needs {metric} after {' or '.join(map(str, epochs))} epochs")
    return found


def isolation_early(numbers: Numbers) -> tuple[bool, str]:
    found = _isolated(numbers, "count", 5)
    return max(found.values()) == 0, f"poisoned among the isolated: {listed(found)}"


def isolation_usual(numbers: Numbers) -> tuple[bool, str]:
    found = _isolated(numbers, "correct", 15, 25)
    return min(found.values()) > 0.5, f"right votes: {listed(found)}"


def isolation_later(numbers: Numbers) -> tuple[bool, str]:
    usual, later = _isolated(numbers, "count", 15), _isolated(numbers, "count", 35, 45)
    holds = all(value < usual[f"{name.split('/')[0]}/15"] for name, value in later.items())
    return holds, f"poisoned among the isolated: {listed(usual | later)}"


def always_right(numbers: Numbers) -> tuple[bool, str]:
    rows = numbers.select(metric="correct")
    if rows.empty:
        raise Missing("needs a vote")
    right = int((rows["reproduced"] > 0.5).sum())
    return right == len(rows), f"{right} of {len(rows)} right ({len(numbers.frame)} in the table)"
