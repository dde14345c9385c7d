"""With a running kernel: put a trigger on an image of your own, and ask trained models before and after each defense.

The static page shows what to do instead of controls that nobody answers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from defenselib import defenses
from defenselib.attacks.base import Attack
from defenselib.data.sources.images import FORMATS
from defenselib.data.types import Dataset
from defenselib.errors import DataError
from defenselib.experiments.cell import model_factory
from defenselib.experiments.result import Result
from defenselib.experiments.runner import attacked
from defenselib.experiments.store import Store, default_stores
from defenselib.models import Classifier
from defenselib.plots import style
from defenselib.report.html import Html, render
from defenselib.report.widgets import evidence
from defenselib.report.widgets.attacks import figure, magnified
from defenselib.report.widgets.client import stylesheet

PROFILE = "demo"
TRAINED = ("none", "abl", "asd")  # at that profile, where the store has no model
NOTE = """
<div class="admonition note"><p class="admonition-title">This part needs a running kernel</p>
<p>It asks trained models about an image of yours, which a static page cannot do. With the repository at hand:</p>
<pre>pip install -e '.[book]' jupyterlab
jupyter lab notebooks/explore.ipynb</pre>
<p>Set <code>live = True</code> in the first cell and run all cells.</p></div>
"""


@dataclass(frozen=True)
class Family:
    """Models of one attack on one data set at one profile, by defense, and what they were trained on."""

    models: Mapping[str, Result]
    store: Store

    def data(self) -> tuple[Dataset, Attack]:
        """The clean data, and the attack ready to use."""
        dataset, attack, _ = attacked(evidence.experiment_of(next(iter(self.models.values()))), self.store)
        return dataset, attack

    def model(self, defense: str, dataset: Dataset) -> Classifier:
        """The trained network, ready to be asked."""
        result = self.models[defense]
        state = self.store.load_model(result.hash)
        if state is None:
            raise DataError(f"{self.store} holds no model of {result.stem}")
        resolved = evidence.experiment_of(result).resolve()
        model = model_factory(resolved, dataset.num_classes, dataset.train.image_size)()
        model.load_state_dict(state)
        return model.eval()


def families(store: Store) -> dict[str, Family]:
    """All models in the store, sorted into families, those with most defenses first."""
    found: dict[str, dict[str, Result]] = {}
    for result in evidence.plain(store):
        if has_model(store, result) and result.experiment["attack"] != "none" and result.experiment["rate"] > 0:
            asked = result.experiment
            words = f"{style.label(asked['dataset'])}, {style.label(asked['attack'], 'attack')}, {result.profile}"
            found.setdefault(f"{words}, {style.label(asked['paper']) if asked['paper'] else 'no paper'}", {})[
                asked["defense"]
            ] = result
    order = defenses.available()  # no defense first
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return {
        name: Family({defense: models[defense] for defense in order if defense in models}, store)
        for name, models in ordered
    }


def has_model(store: Store, result: Result) -> bool:
    """Whether its trained network was kept; committed results come without."""
    return any((root / "models" / f"{result.hash}.safetensors").exists() for root in (store.root, *store.also))


def predictions(family: Family, dataset: Dataset, clean: Tensor, triggered: Tensor) -> pd.DataFrame:
    """What each model of a family says: defense, clean, clean_sure, triggered, triggered_sure (class names, percent).

    clean, triggered: uint8 (3, H, W).
    """
    rows = []
    for defense in family.models:
        with torch.no_grad():
            answers = family.model(defense, dataset)(torch.stack([clean, triggered]).float() / 255).softmax(1)
        sure, classes = answers.max(1)
        said = [dataset.classes[int(found)] for found in classes]
        rows.append({"defense": defense, "clean": said[0], "clean_sure": 100 * float(sure[0]),
                     "triggered": said[1], "triggered_sure": 100 * float(sure[1])})  # fmt: skip
    return pd.DataFrame(rows)


def opened(content: bytes, side: int) -> Tensor:
    """The middle square of an image file as uint8 (3, side, side). Raises DataError for what is no image."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS).convert("RGB")
    except OSError as error:
        raise DataError(f"the uploaded file is no image that can be read ({error})") from error
    edge = min(image.size)
    left, top = ((full - edge) // 2 for full in image.size)
    image = image.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous()


def answer(family: Family, dataset: Dataset, attack: Attack, image: Tensor) -> Html:
    """The image, the same with the trigger, the change, and a row a model."""
    changed = attack.trigger(image[None], torch.zeros(1, dtype=torch.int64))[0]
    before, after = image.numpy(), changed.numpy()
    pictures = [
        figure(before, "the image", "the image"),
        figure(after, "with trigger", "the image with the trigger"),
        figure(magnified(before, after), "change", "the change around grey"),
    ]
    frame = predictions(family, dataset, image, changed)
    shown = pd.DataFrame({"defense": [style.label(name) for name in frame["defense"]]})
    for name, words in (("clean", "the image"), ("triggered", "with trigger")):
        pairs = zip(frame[name], frame[f"{name}_sure"], strict=True)
        shown[words] = [f"{said} ({sure:.0f} %)" for said, sure in pairs]
    goal = int(attack.wanted(torch.zeros(1, dtype=torch.int64), attack.plan.target, dataset.num_classes)[0])
    aim = "the next class" if attack.all_to_all else f"class “{dataset.classes[goal]}”"
    table = render(shown, f"What the models say, and how sure they are. The attacker wants {aim}")
    return Html(f'<div class="dl-pictures">{"".join(pictures)}</div>{table}')


def live_panel(live: bool, train: Sequence[str] = TRAINED, store: Store | None = None) -> ipywidgets.Widget | Html:
    """The controls where a kernel runs (`live`), else the words that say how to start one.

    train: defenses that are trained under BadNets at `demo` if the store holds no model.
    """
    if not live:
        return Html(NOTE)
    reader = store or default_stores()
    found = families(reader)
    if not found:
        for defense in train:
            evidence.trained(defense, PROFILE, reader, paper="asd")
        found = families(reader)
    return _Panel(found).widget


class _Panel:
    """The controls and what they answer with."""

    def __init__(self, found: Mapping[str, Family]) -> None:
        self.families = found
        self.choice = ipywidgets.Dropdown(options=tuple(found), description="Models", layout={"max_width": "100%"})
        self.choice.add_class("dl-row")
        self.upload = ipywidgets.FileUpload(accept="image/*", description="Upload an image", layout={"width": "auto"})
        self.place = ipywidgets.IntSlider(description="or test image", max=0, style={"description_width": "initial"})
        self.shown = ipywidgets.HTML()
        self.widget = ipywidgets.VBox([stylesheet(), self.choice, self.upload, self.place, self.shown])
        self.choice.observe(self.choose, "value")
        self.upload.observe(self.show, "value")
        self.place.observe(self.show, "value")
        self.choose()

    def choose(self, _: Any = None) -> None:
        """Other models: their data and their trigger."""
        self.family = self.families[self.choice.value]
        self.dataset, self.attack = self.family.data()
        self.place.max = len(self.dataset.test) - 1
        self.show()

    def show(self, change: Any = None) -> None:
        """Ask the models about the uploaded image, or about the test image that is pointed at."""
        if change is not None and change["owner"] is self.place:
            self.upload.value = ()
        try:
            self.shown.value = str(answer(self.family, self.dataset, self.attack, self.image()))
        except DataError as error:
            self.shown.value = str(render(pd.DataFrame({"problem": [str(error)]}), "The image was not read"))

    def image(self) -> Tensor:
        """uint8 (3, H, W)."""
        if self.upload.value:
            return opened(bytes(self.upload.value[0]["content"]), self.dataset.train.image_size)
        return self.dataset.test.images[int(self.place.value)]
