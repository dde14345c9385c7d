"""What the page's widgets hold: which picture a choice leads to, what a threshold leaves in the pool, whose results."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from defenselib.experiments import Experiment, Result, Store
from defenselib.papers import undefended
from defenselib.report import html, widgets
from defenselib.report.widgets import attacks, evidence, scores, splits

N = 40
POISONED = np.arange(N) < 8


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Result]:
    """put(arrays, history, **fields of Experiment): a finished result in the store at tmp_path."""

    def make(arrays: dict[str, Any] | None = None, history: list | None = None, **fields: Any) -> Result:
        asked = {"paper": "asd", "profile": "laptop", "dataset": "cifar10", "attack": "badnets", "defense": "asd"}
        resolved = Experiment(**{**asked, **fields}).resolve()
        kept = {"is_poisoned": np.packbits(POISONED)} | {
            name: np.asarray(values, dtype=np.float16) for name, values in (arrays or {}).items()
        }
        result = Result(
            experiment=resolved.describe(),
            spec=resolved.spec(),
            hash=resolved.hash,
            profile=resolved.profile,
            acc=60.0,
            asr=7.5,
            per_class=(60.0,) * 10,
            history=history or [],
            poisoned_count=8,
            stem=resolved.stem,
        )
        return Store(tmp_path).put(result, kept)

    return make


@pytest.fixture
def evidence_store(root: Path) -> Store:
    """The committed results."""
    return Store(root / "book" / "results")


def test_numbers_of_a_threshold_are_those_counted_by_hand():
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    poisoned = np.array([False, False, True, False, True, True])
    low = splits.curve(values, poisoned, "low", np.array([-1.0, 2.0, 3.5, 5.0]))
    assert low.pool.tolist() == [0, 3, 4, 6]
    assert low.poison.tolist() == [0, 1, 1, 3]
    assert np.isnan(low.precision[0])
    assert low.precision[1:].tolist() == [2 / 3, 3 / 4, 3 / 6]
    assert low.recall.tolist() == [0, 2 / 3, 1, 1]
    assert low.caught.tolist() == [1, 2 / 3, 2 / 3, 0]
    high = splits.curve(values, poisoned, "high", np.array([2.0, 6.0]))
    assert high.pool.tolist() == [4, 0]
    assert high.poison.tolist() == [3, 0]
    assert high.recall.tolist() == [1 / 3, 0]


def test_the_own_threshold_gives_the_pool_of_the_method(put, tmp_path):
    values = np.arange(N, dtype=float)[::-1]  # poison has the largest losses
    put({"scores/loss/12": values, "scores/reduction/18": np.arange(N)})
    widget = widgets.split_threshold(store=Store(tmp_path))
    ((method,),) = [widget.data["methods"]]
    assert method["name"] == "ASD"
    (setting,) = method["settings"]
    assert setting["name"] == "CIFAR-10, BadNets"
    loss, reduction = setting["views"]
    threshold, pool, poison, precision, recall, caught = loss["rows"][loss["own"]]
    assert (threshold, pool, poison, precision, recall, caught) == (19, 20, 0, 1, 0.625, 1)
    assert reduction["rows"][reduction["own"]][1:] == [20, 8, 0.6, 0.375, 0]
    assert sum(loss["clean"]) == 32 and sum(loss["poisoned"]) == 8
    assert loss["rows"][-1][1:3] == [N, 8]


def test_every_score_of_a_method_is_one_that_it_reports(root):
    for defense, known in scores.SCORES.items():
        text = "".join(path.read_text() for path in (root / "defenselib" / "defenses").glob("*.py"))
        for score in known:
            name = {"indicator": "altruistic_loss", "distance_min": "distance_", "fct": "metric"}.get(
                score.array, score.array
            )
            assert re.search(rf"\b{name}", text), (defense, score.array)


def test_bsd_judges_only_samples_that_have_a_score(put, tmp_path):
    distances = np.where(np.arange(N) < 20, np.arange(N), np.nan)
    put({"scores/distance_min/6": distances}, defense="bsd", paper="bsd")
    ((setting,),) = [
        method["settings"] for method in widgets.split_threshold(["bsd"], store=Store(tmp_path)).data["methods"]
    ]
    (view,) = setting["views"]
    assert (view["total"], view["all_poisoned"]) == (20, 8)
    assert view["rows"][view["own"]][1:3] == [4, 0]  # beta is 0.2: the four most distant of twenty
    assert "suspected target" in view["scope"]


def test_drawn_images_are_shown_only_where_nothing_else_is_and_say_so(put, tmp_path):
    put({"scores/loss/2": np.arange(N)}, profile="demo")
    data = widgets.split_threshold(store=Store(tmp_path)).data
    assert "no evidence" in data["methods"][0]["settings"][0]["evidence"]
    put({"scores/loss/12": np.arange(N)}, seed=1)
    put({"scores/loss/12": np.arange(N)}, seed=0)
    (setting,) = widgets.split_threshold(store=Store(tmp_path)).data["methods"][0]["settings"]
    assert setting["evidence"] == "laptop: resnet10, 20,000 training images, seed 0"


def test_a_run_with_settings_of_its_own_is_not_shown(put, tmp_path):
    put({"scores/loss/12": np.arange(N)}, defense_args={"alpha": 0.3})
    assert list(evidence.plain(Store(tmp_path))) == []
    assert "No run with scores" in str(widgets.split_threshold(store=Store(tmp_path)))


@pytest.mark.slow
def test_every_paper_shows_its_own_method_by_evidence(evidence_store):
    """From the committed results; A-ABL once had none here, because what was measured besides told its cells apart."""
    runs = {method["name"]: method["runs"] for method in widgets.training_runs(store=evidence_store).data["methods"]}
    splits = {
        method["name"]: method["settings"] for method in widgets.split_threshold(store=evidence_store).data["methods"]
    }
    for name in ("ASD", "BSD", "V&B", "D-ST", "D-BR", "A-ABL"):
        for found in (*runs[name], *splits[name]):
            assert found["evidence"].split(":")[0] in ("laptop", "gpu", "paper"), (name, found["name"])


def test_only_runs_of_one_field_are_held_against_each_other(put, tmp_path):
    history = [{"stage": "s", "epoch": epoch, "acc": 20.0, "asr": 3.0} for epoch in range(2)]
    for fields in (
        {},
        {"profile": "gpu"},
        {"attack": "blend"},
        {"defense": "vab", "paper": "vab"},
        {"defense": "none"},
    ):
        put(history=history, **fields)
    methods = {one["name"]: one["runs"] for one in widgets.training_runs(store=Store(tmp_path)).data["methods"]}
    asd = {run["name"]: run for run in methods["ASD"]}
    assert set(asd) == {f"CIFAR-10, {rest}" for rest in ("BadNets, gpu", "BadNets, laptop", "Blend, laptop")}
    assert len({run["field"] for run in asd.values()}) == 3
    mine, (plain,), (other,) = asd["CIFAR-10, BadNets, laptop"], methods["no defense"], methods["V&B"]
    assert mine["field"] == plain["field"] == other["field"]
    assert mine["poison"] == plain["poison"] != other["poison"]
    assert "5 %" in mine["poison_words"] and "as in V&B" in other["poison_words"]


def test_runs_hold_every_epoch_and_no_nan(put, tmp_path):
    history = [
        {"stage": "asd", "epoch": 0, "acc": 20.0, "asr": 3.0, "clean_size": 20, "clean_poisoned": 1},
        {"stage": "asd", "epoch": 1, "acc": 30.0, "asr": float("nan")},
    ]
    put(history=history)
    data = widgets.training_runs(store=Store(tmp_path)).data
    rows = data["methods"][0]["runs"][0]["rows"]
    assert rows == [["class-aware", 0, 20, 3, 20, 1], ["class-aware", 1, 30, None, None, None]]
    assert data["start"] == 0
    json.dumps(data, allow_nan=False)


def test_the_splits_of_asd_are_told_apart(put, tmp_path):
    result = put(history=[{"stage": "asd", "epoch": epoch, "acc": 20.0, "asr": 3.0} for epoch in range(24)])
    settings = result.experiment["defense_args"]
    rows = widgets.training_runs(store=Store(tmp_path)).data["methods"][0]["runs"][0]["rows"]
    ends = [0, settings["stage1_end"], settings["stage2_end"]]
    assert [rows[end][0] for end in ends] == ["class-aware", "class-agnostic", "meta-split"]
    assert [rows[end - 1][0] for end in ends[1:]] == ["class-aware", "class-agnostic"]


def test_tables_hold_what_is_printed_and_what_was_reproduced(put, tmp_path):
    put(history=[])
    widget = widgets.table_picker(["asd"], store=Store(tmp_path))
    assert widget.data["profiles"] == ["laptop"]
    table = next(one for one in widget.data["papers"][0]["tables"] if one["name"] == "Table 2")
    asked = {"data set": "CIFAR-10", "attack": "BadNets", "defense": "ASD"}
    rows = [dict(zip([*table["columns"], "printed"], row, strict=True)) for row in table["rows"]]
    mine = {row["metric"]: (place, row["printed"]) for place, row in enumerate(rows) if asked.items() <= row.items()}
    found = table["found"]["laptop"]
    assert {name: printed for name, (_, printed) in mine.items()} == {"ACC": 93.4, "ASR": 1.2}
    assert {name: found[str(place)][0] for name, (place, _) in mine.items()} == {"ACC": 60, "ASR": 7.5}
    assert len(found) == 2
    json.dumps(widget.data, allow_nan=False)


def rows_of(sheet: str) -> np.ndarray:
    """Pixels of a sheet, uint8 (H, W, 3)."""
    content = base64.b64decode(sheet.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def cell(one: dict[str, Any], image: int, column: int) -> np.ndarray:
    side = one["side"]
    return rows_of(one["sheet"])[image * side : (image + 1) * side, column * side : (column + 1) * side]


@pytest.mark.slow
def test_attacks_without_a_picture_are_drawn_or_named(tmp_path):
    data = widgets.attack_picker(["blend", "iab", "badnets"], store=Store(tmp_path)).data
    assert data["missing"] == ["Input-aware"]
    blend, patch = (next(one for one in data["attacks"] if one["name"] == name) for name in ("Blend", "BadNets"))
    assert "drawn" in blend["source"] and "CIFAR" not in blend["source"]
    assert blend["values"] == pytest.approx([factor * 0.1 for factor in attacks.FACTORS])
    assert blend["values"][blend["own"]] == pytest.approx(0.1)
    psnr = [float(re.search(r"PSNR ([\d.]+)", text)[1]) for text in blend["far"][0]]
    assert psnr == sorted(psnr, reverse=True) and psnr[0] > psnr[-1] + 15
    # 0.9 of the image and 0.1 of the picture, whatever that is; twice as far at 0.2.
    clean, weak, strong = (cell(blend, 0, column).astype(float) for column in (0, 4, 6))
    assert np.abs((strong - clean) - 2 * (weak - clean)).max() <= 2
    assert (patch["knob"], patch["columns"], len(patch["far"])) == ("change ×", 1, attacks.IMAGES)
    json.dumps(data, allow_nan=False)


@pytest.mark.slow
def test_the_own_strength_is_what_the_store_keeps(evidence_store):
    """On the committed CIFAR-10 pictures: turned to the paper's value, an attack gives what a model was trained on."""
    names = ("Blend", "Blend (noise)", "SIG", "WaNet")
    found = {one["name"]: one for one in widgets.attack_picker(store=evidence_store).data["attacks"]}
    for case in undefended.first_cases():
        name = attacks.name_of(case)
        kept = undefended.looks_of(case, "cifar10", store=evidence_store)
        if kept is None or name not in names:
            continue
        one = found.pop(name)
        assert one["columns"] == len(attacks.FACTORS) and "CIFAR-10 pictures" in one["source"]
        for image in range(attacks.IMAGES):
            stored = np.moveaxis(kept.arrays["look/stored"][image], 0, -1)
            np.testing.assert_array_equal(cell(one, image, 1 + one["own"]), stored)
    assert not set(names) & set(found), "each of them was compared"


def test_a_part_of_a_change_is_between_the_two():
    before, after = np.full((3, 2, 2), 100, np.uint8), np.full((3, 2, 2), 201, np.uint8)
    assert attacks.scaled(before, after, 0.5).max() == 150
    np.testing.assert_array_equal(attacks.scaled(before, after, 1.0), after)
    assert attacks.scaled(before, after, 2.0).max() == 255


def test_what_changed_is_magnified_around_grey():
    before = np.full((3, 2, 2), 100, dtype=np.uint8)
    after = before + np.array([[0, 1], [2, 60]], dtype=np.uint8)
    assert attacks.magnified(before, after)[0].tolist() == [[128, 132], [136, 255]]
    assert "left as it is" in attacks.far(before, before)


def test_the_last_section_is_words_where_no_kernel_answers():
    panel = widgets.live_panel(live=False)
    assert isinstance(panel, html.Html)
    assert "jupyter lab notebooks/explore.ipynb" in str(panel)
    assert "<button" not in str(panel) and "<input" not in str(panel)
