"""The part of the explore page that asks models: on networks with chosen weights, so that answers are known."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from PIL import Image

from defenselib.errors import DataError
from defenselib.experiments import Result, Store
from defenselib.experiments.cell import model_factory
from defenselib.papers.kit.request import Cell
from defenselib.report import widgets
from defenselib.report.widgets import live

SURE = {"none": 3, "abl": 7}  # the class that each network answers with, whatever it sees


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two networks under BadNets at `smoke`, as if they had been trained."""
    kept = Store(tmp_path_factory.mktemp("live"))
    for defense, answer in SURE.items():
        resolved = Cell("cifar10", "badnets", defense).experiment("asd", "smoke", 0).resolve()
        state = model_factory(resolved, 10, 32)().state_dict()
        state["head.weight"].zero_()
        state["head.bias"].zero_()
        state["head.bias"][answer] = 5.0
        kept.save_model(resolved.hash, state)
        kept.put(
            Result(
                experiment=resolved.describe(),
                spec=resolved.spec(),
                hash=resolved.hash,
                profile="smoke",
                acc=10.0,
                asr=100.0,
                per_class=(),
                stem=resolved.stem,
            )
        )
    return kept


def png(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def uploaded(name: str, content: bytes) -> tuple[dict, ...]:
    """The value of a FileUpload after a choice."""
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return ({"name": name, "type": "", "size": len(content), "content": content, "last_modified": when},)


def test_models_are_found_by_family_and_answer(store):
    ((name, family),) = live.families(store).items()
    assert name == "shapes, BadNets, smoke, ASD"
    dataset, attack = family.data()
    image = dataset.test.images[0]
    frame = live.predictions(family, dataset, image, attack.trigger(image[None])[0])
    assert dict(zip(frame["defense"], frame["clean"], strict=True)) == {
        defense: dataset.classes[place] for defense, place in SURE.items()
    }
    sure = 100 * float(torch.tensor([5.0] + [0.0] * 9).softmax(0)[0])
    assert frame["triggered_sure"].tolist() == pytest.approx([sure, sure])


def test_an_uploaded_image_is_squared_and_resized():
    image = live.opened(png((90, 60), (10, 200, 30)), 32)
    assert image.shape == (3, 32, 32) and image.dtype == torch.uint8
    assert image[:, 5, 5].tolist() == [10, 200, 30]
    with pytest.raises(DataError, match="no image"):
        live.opened(b"words", 32)


@pytest.mark.slow
def test_the_controls_answer_in_a_kernel(store):
    panel = live._Panel(live.families(store))
    first = panel.shown.value
    assert first.count("<img") == 3 and "no defense" in first and "star" not in first.split("<table")[0]
    panel.place.value = 5
    second = panel.shown.value
    assert second != first
    panel.upload.value = uploaded("mine.png", png((40, 40), (255, 0, 0)))
    assert panel.shown.value not in (first, second)
    panel.upload.value = uploaded("words.txt", b"words")
    assert "no image that can be read" in panel.shown.value
    panel.place.value = 0
    assert panel.shown.value == first


def test_the_panel_of_a_kernel_offers_the_families(store):
    panel = widgets.live_panel(live=True, store=store)
    assert panel.children[1].options == ("shapes, BadNets, smoke, ASD",)


def test_a_result_without_its_model_is_left_out(store, tmp_path: Path):
    committed = Store(tmp_path)
    for result in store.results():
        store.keep(result.hash, committed)
    assert live.families(committed) == {}
