"""Controls that lead through pictures made beforehand: `jslink` ties an index to a `Stack`, without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets

from defenselib.errors import InvalidValueError, check_choice

CONTROLS = {
    "dropdown": ipywidgets.Dropdown,
    "slider": ipywidgets.SelectionSlider,
    "buttons": ipywidgets.ToggleButtons,
}


@dataclass(frozen=True)
class Axis:
    """What can be chosen: its label, its options in order, and the control: dropdown, slider or buttons."""

    label: str
    options: tuple[str, ...]
    control: str = "dropdown"

    def __post_init__(self) -> None:
        check_choice("control", self.control, CONTROLS)
        if not self.options or len(set(self.options)) < len(self.options):
            raise InvalidValueError(f"options of {self.label!r} are {self.options}; need some, no two alike")

    def widget(self) -> ipywidgets.Widget:
        """The control, at its first option."""
        control = CONTROLS[self.control](
            options=self.options,
            index=0,
            description=self.label,
            style={"description_width": "initial"} | ({"button_width": "auto"} if self.control == "buttons" else {}),
            layout={"width": "fit-content", "max_width": "100%"},
        )
        control.add_class("dl-row")
        return control


def chooser(axes: Sequence[Axis], picture: Callable[..., ipywidgets.Widget]) -> ipywidgets.VBox:
    """A control for each axis, and below them the picture of the chosen options.

    picture: called once for every combination, one option an axis, in their order; what it returns may be a chooser
    itself, where further options depend on the first ones.
    """
    controls = [axis.widget() for axis in axes]
    return ipywidgets.VBox([*controls, _stack(axes, controls, picture, ())], layout={"max_width": "100%"})


def _stack(
    axes: Sequence[Axis],
    controls: Sequence[ipywidgets.Widget],
    picture: Callable[..., ipywidgets.Widget],
    chosen: tuple[str, ...],
) -> ipywidgets.Widget:
    """The first axis as a Stack of such stacks for the others; every one of them follows the same control."""
    if not axes:
        return picture(*chosen)
    below = [_stack(axes[1:], controls[1:], picture, (*chosen, option)) for option in axes[0].options]
    stack = ipywidgets.Stack(below, selected_index=0, layout={"max_width": "100%"})
    ipywidgets.jslink((controls[0], "index"), (stack, "selected_index"))
    return stack
