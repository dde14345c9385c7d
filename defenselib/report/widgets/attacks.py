"""Choose an attack, an image, a strength: clean, poisoned, and what changed."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from defenselib import attacks
from defenselib.attacks.base import Attack, TrainedAttack
from defenselib.data import load_dataset
from defenselib.experiments.measure.looks import distances
from defenselib.experiments.result import Result
from defenselib.experiments.store import Store
from defenselib.papers.undefended import Case, first_cases, looks_of
from defenselib.plots import style
from defenselib.plots.pictures import MAGNIFY
from defenselib.report.gallery import name_of
from defenselib.report.html import Html
from defenselib.report.widgets.client import Client, script

IMAGES = 3
# The hyper-parameter that is an attack's strength, and how strongly it is turned.
STRENGTHS = {"alpha": "opacity", "strength": "warping strength", "delta": "amplitude"}
FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
# Where it has none: so much of the change that it makes.
SHARES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
Pixels = NDArray[np.uint8]
Looks = Mapping[str, Pixels]  # clean, stored, test, triggered: (n, 3, H, W)


def attack_picker(
    names: Sequence[str] | None = None, dataset: str = "cifar10", store: Store | None = None
) -> Client | Html:
    """The widget for some attacks (all), on the pictures of `dataset` that the store keeps of each, the best evidence
    first. An attack without any is drawn on shapes if it needs no training. Nothing is trained here: a line below names
    the attacks that have no picture.
    """
    found = {name_of(case): _shown(case, dataset, store) for case in first_cases(names)}
    shown = [{"name": name, **made} for name, made in found.items() if made]
    missing = [name for name, made in found.items() if not made]
    if not shown:
        return Html(f"<p>Not prepared in this store, so not shown: {escape(', '.join(missing))}.</p>")
    data = {"attacks": shown, "magnify": MAGNIFY, "missing": missing}
    return Client(name="attack", _esm=script("pictures.js"), data=data)


def _shown(case: Case, dataset: str, store: Store | None) -> dict[str, Any] | None:
    """An attack for `pictures.js`; None where nothing of it can be shown."""
    kept = looks_of(case, dataset, "best", store=store)
    attack = attacks.create(case.attack, preset=case.preset)
    fixed = not isinstance(attack, TrainedAttack)
    if kept is None and not fixed:
        return None
    looks = drawn(attack) if kept is None else _kept(kept)
    source = "Shapes, drawn as this page was built." if kept is None else _words(kept)
    turned = strengths(attack) if fixed else {}
    if len(turned) > 1:
        return _turned(looks, turned, f"{source} Each strength is the attack itself at another setting.")
    more = "It has no strength of its own: less or more of its change is put on."
    return _scaled(looks, f"{source} {more}")


def _words(result: Result) -> str:
    kind = style.label(result.experiment["dataset"])
    return f"{kind} pictures that are kept with the results of profile {result.profile}."


def _kept(result: Result) -> Looks:
    return {name: result.arrays[f"look/{name}"][:IMAGES] for name in ("clean", "stored", "test", "triggered")}


def strengths(attack: Attack) -> dict[float, Attack]:
    """The attack at each of its strengths by the factor, its own among them; only itself where it has none."""
    own = {item.name: getattr(attack, item.name) for item in dataclasses.fields(attack) if item.name in STRENGTHS}
    if not own:
        return {1.0: attack}
    ((name, value),) = own.items()
    return {factor: dataclasses.replace(attack, **{name: type(value)(factor * value)}) for factor in FACTORS}


def _turned(looks: Looks, turned: Mapping[float, Attack], source: str) -> dict[str, Any]:
    """Every strength as the attack makes it."""
    (name,) = (item.name for item in dataclasses.fields(turned[1.0]) if item.name in STRENGTHS)
    index = torch.arange(len(looks["clean"]))
    stored = [_applied(attack, looks["clean"], index) for attack in turned.values()]
    triggered = [_applied(attack.trigger, looks["test"], index) for attack in turned.values()]
    values = [getattr(attack, name) for attack in turned.values()]
    return _sheet(looks, STRENGTHS[name], values, list(turned).index(1.0), stored, triggered, source)


def _scaled(looks: Looks, source: str) -> dict[str, Any]:
    """The change as it is stored; the page takes less or more of it."""
    made = _sheet(looks, "change ×", list(SHARES), SHARES.index(1.0), [looks["stored"]], [looks["triggered"]], source)
    return made | {"far": _distances(looks["clean"], [scaled(looks["clean"], looks["stored"], by) for by in SHARES])}


def scaled(before: Pixels, after: Pixels, share: float) -> Pixels:
    """So much of the change, in whole grey levels."""
    changed: Pixels = np.clip(np.rint(before + share * (after.astype(float) - before)), 0, 255).astype(np.uint8)
    return changed


def _applied(change: Callable[[Tensor, Tensor], Tensor], images: Pixels, index: Tensor) -> Pixels:
    made: Pixels = change(torch.from_numpy(images), index).cpu().numpy()
    return made


def _sheet(
    looks: Looks,
    knob: str,
    values: Sequence[float],
    own: int,
    stored: list[Pixels],
    triggered: list[Pixels],
    source: str,
) -> dict[str, Any]:
    """columns: how many strengths of an image stand side by side, after the clean one; far: by image and strength."""
    test = _differs(looks)
    columns = [looks["clean"], *stored, *([looks["test"], *triggered] if test else [])]
    rows = np.concatenate([np.concatenate(list(column), axis=1) for column in columns], axis=2)
    return {
        "knob": knob,
        "values": [float(value) for value in values],
        "own": own,
        "side": int(looks["clean"].shape[-1]),
        "columns": len(stored),
        "test": test,
        "sheet": encoded(rows),
        "far": _distances(looks["clean"], stored),
        "source": source,
    }


def _distances(clean: Pixels, strengths: Sequence[Pixels]) -> list[list[str]]:
    return [[far(before, made[number]) for made in strengths] for number, before in enumerate(clean)]


def drawn(attack: Attack) -> Looks:
    """Pictures of an attack on drawn shapes, which need no data; label-keeping attacks poison their target class."""
    data = load_dataset("shapes", limit=200)
    index = torch.arange(len(data.train))
    if attack.clean_label and attack.plan.target is not None:
        index = index[data.train.labels == attack.plan.target]
    index = index[:IMAGES]
    places = torch.arange(IMAGES)
    clean, test = data.train.images[index], data.test.images[:IMAGES]
    found = {"clean": clean, "stored": attack(clean, index), "test": test, "triggered": attack.trigger(test, places)}
    return {name: images.cpu().numpy() for name, images in found.items()}


def _differs(looks: Looks) -> bool:
    """Whether what is trained on and the trigger at test time are of clearly different size."""
    pairs = (("clean", "stored"), ("test", "triggered"))
    stored, triggered = (np.abs(looks[after].astype(int) - looks[before]).mean() for before, after in pairs)
    return bool(abs(stored - triggered) > 0.25 * max(stored, triggered))


def far(before: Pixels, after: Pixels) -> str:
    """How far the two are apart, in words."""
    if np.array_equal(before, after):
        return "this image is left as it is"
    apart = distances(torch.from_numpy(before)[None], torch.from_numpy(after)[None])
    return f"PSNR {apart['psnr']:.1f} dB, SSIM {apart['ssim']:.3f}, largest change {apart['linf']:.0f} of 255"


def magnified(before: Pixels, after: Pixels) -> Pixels:
    """The change around grey, `MAGNIFY` times as strong."""
    changed: Pixels = np.clip(128 + MAGNIFY * (after.astype(int) - before), 0, 255).astype(np.uint8)
    return changed


def encoded(image: NDArray[np.uint8] | Tensor, kind: str = "webp") -> str:
    """An image (3 or 4, H, W) as an address that holds it, without loss. kind: "webp" or "png"."""
    buffer = io.BytesIO()
    pixels = np.moveaxis(np.asarray(image), 0, -1)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **({"lossless": True} if kind == "webp" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def figure(image: NDArray[np.uint8] | Tensor, caption: str, alt: str) -> str:
    """A small picture (3, H, W) as HTML, pixels kept sharp."""
    return (
        f'<figure><img src="{encoded(image)}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )
