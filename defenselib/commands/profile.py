"""`defenselib profile`: what a profile makes of the papers' schedules."""

from __future__ import annotations

from typing import Annotated

import typer

from defenselib.commands.output import show
from defenselib.commands.reproduce import check_profile
from defenselib.errors import InvalidValueError, check_choice


def profile_command(
    name: Annotated[str, typer.Argument(help="Name of a profile.")],
    dataset: Annotated[str, typer.Option(help="Data set of both columns.")] = "cifar10",
    attack: Annotated[str, typer.Option(help="Attack, whose rate decides how often poison is seen.")] = "badnets",
    defense: Annotated[str | None, typer.Option(help="Only this defense.")] = None,
) -> None:
    """What a profile makes of the papers' schedules: steps, exposures to poison, passes, stage by stage."""
    from defenselib.defenses import DEFENSES
    from defenselib.experiments.schedule import derived

    frame = derived(check_profile(name), dataset=dataset, attack=attack)
    if defense is not None:
        frame = frame[frame["defense"] == check_choice("defense", defense, DEFENSES)]
    if frame.empty:
        raise InvalidValueError(f"profile {name!r} leaves out {dataset!r}, or has no stage of {defense!r}")
    for column in frame.columns[2:]:
        digits = 1 if column.startswith("passes") else 0
        frame[column] = frame[column].map(f"{{:,.{digits}f}}".format)
    show(frame, f"{name} on {dataset} under {attack}; a split is taken to be right")
