"""The best evidence of several profiles in one frame: paper before gpu before laptop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from defenselib.papers.kit.frame import FOUND


def best_rows(levels: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Row by row the first of the profiles (best first) that has a number; else why the last one has none."""
    names = list(levels)
    result = levels[names[-1]].copy()
    for name in reversed(names):
        there = levels[name]["reproduced"].notna()
        result.loc[there, list(FOUND)] = levels[name].loc[there, list(FOUND)]
    return _nowhere(result, names)


def best_parts(levels: Mapping[str, Sequence[pd.DataFrame]]) -> pd.DataFrame:
    """Part by part, a cell's rows each, the first of the profiles (best first) that has numbers."""
    chosen = []
    for parts in zip(*levels.values(), strict=True):
        chosen.append(next((part for part in parts if part["reproduced"].notna().any()), parts[-1]))
    return _nowhere(pd.concat(chosen, ignore_index=True), list(levels))


def _nowhere(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    nothing = frame["reproduced"].isna()
    frame.loc[nothing, "profile"] = ""
    plain = nothing & (frame["reason"] == "no result in the store")
    frame.loc[plain, "reason"] = f"no result in the store at {', '.join(names)}"
    return frame
