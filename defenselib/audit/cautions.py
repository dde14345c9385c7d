"""What one must know of a delivery before using its model: one sentence each, for the terminal and the report."""

from __future__ import annotations

from defenselib.audit.folder import UserData
from defenselib.audit.results import Delivery
from defenselib.plots import style
from defenselib.plots.words import plural

FEW = 100  # images, from which on an accuracy has decimals


def cautions(data: UserData, delivery: Delivery) -> list[str]:
    """In order of weight; none where there is nothing to warn of."""
    found, scan, seen = [], delivery.scan, delivery.accuracy
    if scan.alarm == "alarm" and scan.target is not None and delivery.target not in (None, scan.target):
        assert delivery.target is not None
        found.append(
            f"{style.label(delivery.defense)} worked against class {data.classes[delivery.target]!r}, the scan's alarm "
            f"names {data.classes[scan.target]!r}: this model may still obey the trigger. Train again from the cleaned "
            "list, or with another --defense."
        )
    if scan.alarm in ("calm", "look") and delivery.defense != "none":
        found.append(
            f"The scan raised no alarm. {style.label(delivery.defense)} trains against poison all the same, which "
            "costs accuracy where there is none: --defense none on the same folder says how much."
        )
    if seen is None:
        return found
    if seen.guess is not None and seen.percent <= seen.guess:
        found.append(
            f"The accuracy on the {seen.where}, {accuracy_shown(seen.percent, seen.images)}, is not above the share of "
            f"its largest class, {accuracy_shown(seen.guess, seen.images)}: always saying that class would do as well. "
            "Do not use this model; try a larger --profile or more images."
        )
    if seen.images < FEW:
        found.append(
            f"The accuracy rests on {plural(seen.images, 'image')} of the {seen.where}, fewer than {FEW}: "
            "it may be many points off. Give more by --test DIR or a larger --holdout."
        )
    return found


def accuracy_shown(percent: float, images: int) -> str:
    """In percent; without decimals where few images stand behind it."""
    return f"{percent:.{2 if images >= FEW else 0}f} %"
