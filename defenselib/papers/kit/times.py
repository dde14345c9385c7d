"""Seconds of a result, where they may stand beside those of others at its profile."""

from __future__ import annotations

import math

from defenselib.experiments import profile as profiles
from defenselib.experiments.result import Result


def count(result: Result) -> bool:
    """Whether the seconds of a result count: those of a GPU do not at a profile made for processors."""
    return profiles.load(result.profile).times == "any" or not result.machine.get("gpu")


def counted(result: Result, seconds: float) -> float:
    """`seconds` where they count, else NaN."""
    return seconds if count(result) else math.nan


def reason(result: Result) -> str:
    """Why the seconds of a result do not count; empty where they do."""
    if count(result):
        return ""
    return f"times at {result.profile} are those of a processor, and this ran on one {result.machine['gpu']}"
