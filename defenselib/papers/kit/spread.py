"""Over which seeds a number is taken."""

from __future__ import annotations

from collections.abc import Callable

from defenselib.papers.kit.request import Cell

SeedRule = Callable[[Cell, str], tuple[int, ...]]
SEVERAL = (0, 1, 2)


def one_seed(cell: Cell, profile: str) -> tuple[int, ...]:
    """The rule of what is no average."""
    return (0,)


def several(*defenses: str) -> SeedRule:
    """The rule of a paper's exhibits: at `laptop` three seeds for these defenses (none named: for all) under BadNets as
    the paper has it, where the spread is shown; one seed elsewhere, for variants and for longer schedules. What is
    measured besides makes no variant."""

    def seeds(cell: Cell, profile: str) -> tuple[int, ...]:
        usual = not cell.times and set(cell.options) <= {"measure"}
        shown = profile == "laptop" and cell.attack == "badnets" and (not defenses or cell.defense in defenses)
        return SEVERAL if usual and shown else (0,)

    return seeds
