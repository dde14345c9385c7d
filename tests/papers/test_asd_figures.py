"""ASD's figures: what they read from results made by hand, and what their claims say of it."""

from __future__ import annotations

import numpy as np
import pytest

from defenselib import papers
from defenselib.papers.asd import cells as asd_cells

from .asd_results import N, change, curve, exhibit, outcomes, putter


@pytest.fixture
def lay(store):
    return putter(store)


def test_figure_6_compares_the_ends(lay, store):
    ends = {"nothing": (92, 1), "stage1": (85, 99), "stage2": (90, 5), "stage3": (80, 2)}
    for stage, (acc, asr) in ends.items():
        lay(asd_cells.without("wanet", stage), history=curve("asd", (10, acc), (10, asr)))
    found = exhibit("figure-6").reproduce("gpu", store=store)
    assert outcomes("figure-6", found) == {"stage-1": "holds", "stage-2": "holds", "stage-3": "holds"}
    same = change(found, 50.0, metric="acc")
    assert outcomes("figure-6", change(same, 5.0, metric="asr")) == dict.fromkeys(
        ("stage-1", "stage-2", "stage-3"), "fails"
    )
    axes = exhibit("figure-6").draw(found).axes
    assert [len(axis.get_lines()) for axis in axes] == [4, 4]


def test_figure_7_looks_at_stage_1_and_the_end(lay, store):
    for attack in ("wanet", "clb"):
        lay(asd_cells.faster(attack, 1.0), history=curve("asd", (10, 92), (1, 1)))
        lay(asd_cells.faster(attack, 5.0), history=curve("asd", (40, 90), (1, 90), poison=9.0))
    found = exhibit("figure-7").reproduce("gpu", store=store)
    assert outcomes("figure-7", found) == {"acc": "holds", "poison": "holds", "collapse": "holds"}
    assert set(outcomes("figure-7", change(found, 7.0, defense="asd")).values()) == {"fails"}
    words = [text.get_text() for text in exhibit("figure-7").draw(found).legends[0].get_texts()]
    assert words == ["t = 1, n = 10", "t = 1, n = 50"]


def test_figure_5_combines_and_compares(lay, store):
    runs = {
        "dbd": ("dbd", (60, 92), 24, 0.0),
        "dbd-meta-split": ("dbd", (60, 91), 8, 0.0),
        "asd": ("asd", (10, 93), 24, 0.5),
    }
    for name, (stage, accs, epochs, poison) in runs.items():
        history = curve(stage, accs, (10, 1), poison, epochs)
        lay(papers.Cell("cifar10", "badnets", name), history=history)
    found = exhibit("figure-5").reproduce("gpu", store=store, seeds=[0])
    # The same hard samples by epoch, so that more hard ones is what fails.
    assert outcomes("figure-5", found) == {"faster": "holds", "hard": "fails", "little-poison": "holds"}
    pools = found[(found["metric"] == "hard") & (found["defense"] == "asd")]
    assert pools["variant"].tolist() == [f"panel=b;left={left}" for left in range(5, -1, -1)]
    assert pools["reproduced"].tolist() == [38.0, 39.0, 40.0, 41.0, 42.0, 43.0]
    more = found.assign(
        reproduced=found["reproduced"].where(
            found["metric"] != "hard", found["reproduced"] + (found["defense"] == "asd")
        )
    )
    assert outcomes("figure-5", more)["hard"] == "holds"
    slow = change(found, 30.0, defense="dbd-meta-split", metric="asr")
    assert outcomes("figure-5", slow)["faster"] == "fails"
    assert len(exhibit("figure-5").draw(found).axes) == 3


def test_figure_1_tells_how_far_apart(lay, store):
    poisoned = np.arange(N) < 10
    flags = {"is_poisoned": np.packbits(poisoned)}
    loss = np.where(poisoned, 9.0, np.linspace(0, 5, N))
    abl, dbd, asd = asd_cells.FIGURE_1
    lay(abl, arrays={**flags, "perturbed/plain": loss[::-1].copy(), "scores/isolation_loss/10": loss})
    lay(dbd, arrays={**flags, "scores/final_loss/24": np.where(poisoned, 2.0, np.linspace(0, 5, N))})
    lay(asd, arrays={**flags, "scores/final_loss/24": loss})
    found = exhibit("figure-1").reproduce("gpu", store=store)
    apart = found[found["metric"] == "separation"].set_index("defense")["reproduced"]
    assert apart["asd"] == 100.0 and apart["abl"] == pytest.approx(100 * 80 / 90)
    assert 20.0 < apart["dbd"] < 50.0
    assert found[found["metric"] == "count"].groupby("defense")["reproduced"].sum().tolist() == [N] * 3
    assert outcomes("figure-1", found) == {"apart": "holds"}
    assert outcomes("figure-1", change(found, 1.0, defense="asd", metric="separation")) == {"apart": "fails"}
    assert len(exhibit("figure-1").draw(found).axes) == 3


def test_the_diagram_is_drawn_without_results(store):
    assert len(exhibit("figure-2").draw(exhibit("figure-2").reproduce("best", store=store))._repr_png_()) > 1000
    words = exhibit("table-1").reproduce("best", store=store)
    assert words["published"].tolist()[-1] == "yes" and len(words) == 12
