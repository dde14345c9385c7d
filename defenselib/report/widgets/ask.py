"""Ask two networks about a picture of one's own, in the page: one that was trained on poisoned data without a defense,
and one with. Both were trained on drawn shapes while the page was made, and come along with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from defenselib.attacks.base import Attack
from defenselib.errors import InvalidValueError
from defenselib.experiments.store import Store, default_stores
from defenselib.plots import style
from defenselib.report.widgets import evidence, export
from defenselib.report.widgets.attacks import encoded
from defenselib.report.widgets.client import Client, script
from defenselib.report.widgets.live import PROFILE, Family

DEFENSES = ("none", "asd")


def own_picture(defenses: Sequence[str] = DEFENSES, profile: str = PROFILE, store: Store | None = None) -> Client:
    """The widget. The networks are those of ASD's BadNets cell at `profile`, trained here where the store has none.

    Raises InvalidValueError where the trigger is no patch, which alone the page can put on a picture.
    """
    reader = store or default_stores()
    models = {name: evidence.trained(name, profile, reader, paper="asd") for name in defenses}
    family = Family(models, reader)
    dataset, attack = family.data()
    side = dataset.train.image_size
    networks = [
        {"name": style.label(name), "network": export.network(family.model(name, dataset), side)} for name in defenses
    ]
    # Of each class the first test image.
    first = [int((dataset.test.labels == label).nonzero()[0]) for label in range(dataset.num_classes)]
    shown = zip(dataset.classes, dataset.test.images[first], strict=True)
    return Client(
        name="ask",
        _esm=script("network.js", "ask.js"),
        data={
            "networks": networks,
            "classes": list(dataset.classes),
            "target": attack.plan.target,
            "side": side,
            "images": [{"label": name, "source": encoded(image)} for name, image in shown],
            "trigger": encoded(patch(attack, side), "png"),  # pages keep its transparent pixels
            "note": _note(family),
        },
    )


def patch(attack: Attack, side: int) -> Tensor:
    """The trigger as a layer, uint8 (4, side, side): its pixels opaque, all others transparent.

    Raises InvalidValueError for a trigger that does anything else than to set pixels, whatever was there.
    """
    index = torch.zeros(1, dtype=torch.int64)
    shape = (3, side, side)
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    # Black and white tell where pixels are set; the noise, that nothing is moved or mixed.
    before = [torch.zeros(shape, dtype=torch.uint8), torch.full(shape, 255, dtype=torch.uint8), noise]
    after = [attack.trigger(image[None], index)[0] for image in before]
    changed = torch.stack([(one != other).any(0) for one, other in zip(after, before, strict=True)]).any(0)
    first = after[0]
    same = (torch.equal(one, torch.where(changed, first, other)) for one, other in zip(after, before, strict=True))
    if not changed.any() or not all(same):
        raise InvalidValueError(f"the trigger of {type(attack).__name__} is no patch; a page can put on patches alone")
    alpha = torch.where(changed, 255, 0).to(torch.uint8)[None]
    return torch.cat([first * changed, alpha])


def _note(family: Family) -> str:
    first: dict[str, Any] = next(iter(family.models.values())).experiment
    names = " and ".join(style.label(name) for name in family.models)
    return (
        f"The networks ({names}) are {first['model']} of width {first['width']}, trained at profile {first['profile']} "
        f"on {first['train_size']:,} drawn shapes, {100 * first['rate']:g} % of them poisoned by "
        f"{style.label(first['attack'], 'attack')}. They know ten shapes and nothing else: of a photograph they say "
        "the shape that it reminds them of. Your picture stays on your machine."
    )
