"""Choose an attack, a strength, an image: clean, poisoned, and what changed."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from defenselib import attacks
from defenselib.attacks.base import Attack
from defenselib.attacks.trained import TrainedAttack
from defenselib.data import load_dataset
from defenselib.experiments.measure.looks import distances
from defenselib.experiments.result import Result
from defenselib.experiments.store import Store
from defenselib.papers.undefended import Case, first_cases, looks_of
from defenselib.plots import style
from defenselib.plots.pictures import MAGNIFY
from defenselib.report.gallery import name_of
from defenselib.report.widgets.client import stylesheet
from defenselib.report.widgets.evidence import SMOKE
from defenselib.report.widgets.stacks import Axis, chooser

IMAGES = 3
# The hyper-parameter that is an attack's strength, and how strongly it is turned.
STRENGTHS = {"alpha": "opacity", "strength": "warping strength", "delta": "amplitude"}
FACTORS = (0.5, 1.0, 2.0, 3.0)
Looks = Mapping[str, NDArray[np.uint8]]  # clean, stored, test, triggered: (n, 3, H, W)


def attack_picker(
    names: Sequence[str] | None = None, dataset: str = "cifar10", store: Store | None = None
) -> ipywidgets.Widget:
    """The widget for some attacks (all). Triggers that need no training are drawn on `shapes`, at several strengths
    where they have one; beside that stand the pictures that the store holds of `dataset`, the best evidence first, and
    those of `smoke` for an attack that must be trained and has no other. Nothing is trained here: a line below names
    the attacks that the store has no picture of.
    """
    found = {name_of(case): _settings(case, dataset, store) for case in first_cases(names)}
    shown = {name: settings for name, settings in found.items() if settings}
    missing = [name for name in found if name not in shown]
    parts = [stylesheet()]
    if shown:
        parts.append(chooser([Axis("Attack", tuple(shown))], lambda name: _of_attack(name, shown[name])))
    if missing:
        words = f"Not prepared in this store, so not shown: {', '.join(missing)}."
        parts.append(ipywidgets.HTML(f'<p class="dl-source">{escape(words)}</p>'))
    return ipywidgets.VBox(parts, layout={"max_width": "100%"})


def _of_attack(name: str, settings: Mapping[str, Looks]) -> ipywidgets.Widget:
    numbers = tuple(str(number + 1) for number in range(IMAGES))
    axes = [Axis("Setting", tuple(settings)), Axis("Image", numbers, "buttons")]
    return chooser(axes, lambda chosen, number: before_after(name, chosen, settings[chosen], int(number) - 1))


def _settings(case: Case, dataset: str, store: Store | None) -> dict[str, Looks]:
    """Name of a setting to its pictures."""
    kept = looks_of(case, dataset, "best", store=store)
    found = {} if kept is None else {_words(kept): _kept(kept)}
    attack = attacks.create(case.attack, preset=case.preset)
    if not isinstance(attack, TrainedAttack):
        return found | {words: drawn(turned) for words, turned in strengths(attack).items()}
    if kept is None:
        small = looks_of(case, dataset, SMOKE, store=store)
        found |= {} if small is None else {_words(small): _kept(small)}
    return found


def _words(result: Result) -> str:
    trained = ", trained for seconds (smoke)" if result.profile == SMOKE else f" ({result.profile})"
    return f"{style.label(result.experiment['dataset'])}, as its paper sets it{trained}"


def _kept(result: Result) -> Looks:
    return {name: result.arrays[f"look/{name}"] for name in ("clean", "stored", "test", "triggered")}


def strengths(attack: Attack) -> dict[str, Attack]:
    """The attack at each of its strengths, its own among them; only itself where it has none."""
    own = {item.name: getattr(attack, item.name) for item in dataclasses.fields(attack) if item.name in STRENGTHS}
    if not own:
        return {"shapes": attack}
    ((name, value),) = own.items()
    turned = {factor: dataclasses.replace(attack, **{name: type(value)(factor * value)}) for factor in FACTORS}
    return {
        f"shapes, {STRENGTHS[name]} {getattr(one, name):g}{' (the paper)' if factor == 1 else ''}": one
        for factor, one in turned.items()
    }


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


def before_after(name: str, setting: str, looks: Looks, example: int) -> ipywidgets.HTML:
    """One image as it is, as it is trained on, and the change; of an attack that puts something else on test images
    also such an image."""
    clean, stored, test, triggered = (looks[kind][example] for kind in ("clean", "stored", "test", "triggered"))
    words = f"image {example + 1} of {name}, {setting}"
    pictures = [
        figure(clean, "clean", f"clean {words}"),
        figure(stored, "as trained on", f"poisoned {words}"),
        figure(
            magnified(clean, stored), f"change × {MAGNIFY}", f"change of {words}, around grey, {far(clean, stored)}"
        ),
    ]
    if _differs(looks):
        pictures += [
            figure(test, "test image", f"clean test {words}"),
            figure(triggered, "with trigger", f"test {words}, with its trigger"),
        ]
    note = f'<p class="dl-source">{escape(far(clean, stored))}</p>'
    return ipywidgets.HTML(f'<div class="dl-pictures">{"".join(pictures)}</div>{note}', layout={"max_width": "100%"})


def _differs(looks: Looks) -> bool:
    """Whether what is trained on and the trigger at test time are of clearly different size."""
    pairs = (("clean", "stored"), ("test", "triggered"))
    stored, triggered = (np.abs(looks[after].astype(int) - looks[before]).mean() for before, after in pairs)
    return bool(abs(stored - triggered) > 0.25 * max(stored, triggered))


def far(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> str:
    """How far the two are apart, in words."""
    if np.array_equal(before, after):
        return "this image is left as it is"
    apart = distances(torch.from_numpy(before)[None], torch.from_numpy(after)[None])
    return f"PSNR {apart['psnr']:.1f} dB, SSIM {apart['ssim']:.3f}, largest change {apart['linf']:.0f} of 255"


def magnified(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The change around grey, `MAGNIFY` times as strong."""
    return np.clip(128 + MAGNIFY * (after.astype(int) - before), 0, 255).astype(np.uint8)


def figure(image: NDArray[np.uint8] | Tensor, caption: str, alt: str) -> str:
    """A small picture (3, H, W) as HTML, pixels kept sharp."""
    buffer = io.BytesIO()
    pixels = np.moveaxis(np.asarray(image), 0, -1)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", lossless=True)
    source = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img src="data:image/webp;base64,{source}" alt="{escape(alt)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
