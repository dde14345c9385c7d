"""ASD's figures: what they read from results made by hand, what their claims say of it, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from defenselib.experiments import Result, Store
from defenselib.papers.asd import cells as asd_cells
from defenselib.papers.asd.exhibits import EXHIBITS, PAPER
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.gates import undefended
from defenselib.papers.kit.request import Cell
from defenselib.plots import canvas, panels

from .results import N, as_reproduced, change, curve, exhibit, outcomes, putter, replaced

Lay = Callable[..., Result]
DRAWN = [one.key for one in PAPER.exhibits if one.plot is not None and one.key != "figure-2"]


@pytest.fixture
def lay(store: Store) -> Lay:
    return putter(store)


def words_of(key: str, found: Any) -> list[str]:
    return [text.get_text() for text in exhibit(key).draw(found).legends[0].get_texts()]


@pytest.mark.slow
def test_figure_6_compares_the_ends(lay: Lay, store: Store) -> None:
    ends = {"nothing": (92, 1), "stage1": (85, 99), "stage2": (88, 15), "stage3": (80, 2)}
    for attack in asd_cells.ATTACKS:
        lay(undefended(asd_cells.without(attack, "nothing")), acc=90.0, asr=99.0)
        for stage, (acc, asr) in ends.items():
            lay(asd_cells.without(attack, stage), history=curve("asd", (10, acc), (10, asr)))
    found = exhibit("figure-6").reproduce("gpu", store=store)
    assert outcomes("figure-6", found) == {"stage-1": "holds", "stage-2": "holds", "stage-3": "holds"}
    same = change(change(found, 50.0, metric="acc"), 5.0, metric="asr")
    assert outcomes("figure-6", same) == {"stage-1": "fails", "stage-2": "undecided", "stage-3": "fails"}
    better = change(found, 0.0, **{"without": "stage2", "metric": "asr"})
    assert outcomes("figure-6", change(better, 99.0, **{"without": "nothing", "metric": "asr"}))["stage-2"] == "fails"
    assert [len(axis.get_lines()) for axis in exhibit("figure-6").draw(found).axes] == [4] * 8
    assert words_of("figure-6", found) == ["all stages", "without stage 1", "without stage 2", "without stage 3"]


def test_an_attack_that_was_not_run_is_missing_from_a_claim(lay: Lay, store: Store) -> None:
    for stage, acc in (("nothing", 92), ("stage3", 80)):
        lay(asd_cells.without("wanet", stage), history=curve("asd", (10, acc), (10, 1)))
    row = (
        exhibit("figure-6").claims(exhibit("figure-6").reproduce("gpu", store=store)).set_index("claim").loc["stage-3"]
    )
    assert (row["outcome"], row["true"], row["of"]) == ("holds so far", 1, 4)


@pytest.mark.slow
def test_figure_7_looks_at_stage_1_and_the_end(lay: Lay, store: Store) -> None:
    for attack in asd_cells.ATTACKS:
        lay(undefended(asd_cells.faster(attack, 1)), acc=90.0, asr=99.0)
        lay(asd_cells.faster(attack, 1), history=curve("asd", (10, 92), (1, 1)))
        lay(asd_cells.faster(attack, 2), history=curve("asd", (30, 91), (1, 50), poison=5.0))
        lay(asd_cells.faster(attack, 5), history=curve("asd", (40, 90), (1, 90), poison=9.0))
    found = exhibit("figure-7").reproduce("gpu", store=store)
    assert outcomes("figure-7", found) == {"acc": "holds", "poison": "holds", "collapse": "holds"}
    assert set(found["stage"]) == {1, 2, 3} and set(found["speed"]) == {1, 2, 5}
    flat = outcomes("figure-7", change(found, 7.0, defense="asd"))
    assert flat == {"acc": "undecided", "poison": "fails", "collapse": "fails"}
    assert outcomes("figure-7", change(found, 99.0, speed=1, metric="acc"))["acc"] == "fails"
    assert words_of("figure-7", found) == ["t = 1, n = 10", "t = 1, n = 20", "t = 1, n = 50"]


def test_a_speed_that_was_not_run_is_missing_from_a_claim(lay: Lay, store: Store) -> None:
    for attack in ("clb", "wanet"):
        lay(undefended(asd_cells.faster(attack, 1)), acc=90.0, asr=99.0)
    for speed in asd_cells.SPEEDS:
        lay(asd_cells.faster("clb", speed), history=curve("asd", (10 * speed, 92), (1, 1), poison=speed))
        lay(asd_cells.faster("wanet", 1), history=curve("asd", (10, 92), (1, 1)))
    row = exhibit("figure-7").claims(exhibit("figure-7").reproduce("gpu", store=store)).set_index("claim").loc["poison"]
    assert (row["outcome"], row["true"], row["of"]) == ("holds so far", 2, 8)


@pytest.mark.slow
def test_figure_5_combines_and_compares(lay: Lay, store: Store) -> None:
    runs = {
        "dbd": ("dbd", (60, 91), 24, 0.0),
        "dbd-meta-split": ("dbd", (60, 93), 8, 0.0),
        "asd": ("asd", (10, 93), 24, 0.5),
    }
    lay(Cell("cifar10", "badnets", "none"), acc=90.0, asr=99.0)
    for name, (stage, accs, epochs, poison) in runs.items():
        history = curve(stage, accs, (10, -2), poison, epochs)
        lay(Cell("cifar10", "badnets", name), history=history)
    found = exhibit("figure-5").reproduce("gpu", store=store, seeds=[0])
    # The same hard samples by epoch, so that more hard ones is what fails.
    assert outcomes("figure-5", found) == {"faster": "holds", "hard": "fails", "little-poison": "holds"}
    pools = found[(found["metric"] == "hard") & (found["defense"] == "asd")]
    assert (pools["panel"] == "b").all() and pools["left"].tolist() == [5, 4, 3, 2, 1, 0]
    assert pools["reproduced"].tolist() == [38.0, 39.0, 40.0, 41.0, 42.0, 43.0]
    more = (found["metric"] == "hard") & (found["defense"] == "asd")
    assert outcomes("figure-5", replaced(found, found["reproduced"] + more))["hard"] == "holds"
    # One of the epochs is enough to contradict.
    assert outcomes("figure-5", replaced(found, found["reproduced"] + (more & (found["left"] > 0))))["hard"] == "fails"
    slow = change(found, 30.0, defense="dbd-meta-split", metric="asr")
    assert outcomes("figure-5", slow)["faster"] == "fails"
    assert len(exhibit("figure-5").draw(found).axes) == 3


def test_figure_1_tells_how_far_apart(lay: Lay, store: Store) -> None:
    poisoned = np.arange(N) < 10
    flags = {"is_poisoned": np.packbits(poisoned)}
    loss = np.where(poisoned, 9.0, np.linspace(0, 5, N))
    abl, dbd, asd = asd_cells.FIGURES["figure-1"]
    for cell in (abl, dbd, asd):
        lay(undefended(cell), acc=90.0, asr=99.0)
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


def test_figure_3_tells_poison_from_hard_samples(put: Lay, store: Store) -> None:
    put(60.0, 1.0, attack="badnets", defense="asd", seed=0)
    put(60.0, 99.0, attack="badnets", defense="none", seed=0)
    found = exhibit("figure-3").reproduce("laptop", store=store)
    assert list(outcomes("figure-3", found).values()) == ["holds"] * 5
    counts = found[found["metric"] == "count"].groupby(["panel", "group"])["reproduced"].sum()
    assert counts.to_dict() == {
        (panel, group): n for panel in "abcd" for group, n in (("clean", 190), ("poisoned", 10))
    }
    slow = change(found, 5.0, panel="b", group="poisoned")
    slow = change(slow, -1.0, panel="c", group="poisoned")
    slow = change(slow, 0.0, panel="d", group="hard")
    slow = change(slow, 5.1, panel="a", group="clean", metric="median")
    slow = change(slow, 0.5, panel="a", group="hard", metric="median")
    assert list(outcomes("figure-3", slow).values()) == ["fails"] * 5
    figure = exhibit("figure-3").draw(found)
    assert [axis.get_title()[:3] for axis in figure.axes] == ["(a)", "(b)", "(c)", "(d)"]
    assert all(len(axis.patches) == 2 for axis in figure.axes)
    assert words_of("figure-3", found) == ["clean", "poisoned"]


def test_figure_4_compares_the_ends_of_stages(put: Lay, store: Store) -> None:
    put(60.0, 1.0, attack="badnets", defense="asd", seed=0)
    put(80.0, 1.0, attack="badnets", defense="none", seed=0)
    found = exhibit("figure-4").reproduce("laptop", store=store)
    asd = found["defense"] == "asd"
    assert found.loc[asd, "stage"].tolist() == [1, 1, 2, 2, 3, 3] and found.loc[~asd, "stage"].isna().all()
    assert outcomes("figure-4", found)["gap"] == "fails"  # 22 points are not small
    wanted = dict(zip(range(6), (50.0, 55.0, 70.0, 77.5, 80.0, 84.0), strict=True))
    good = replaced(found, found["reproduced"].mask(asd, found["epoch"].map(wanted)))
    assert outcomes("figure-4", good) == dict.fromkeys(("gap", "stage-2", "stage-3"), "holds")
    falling = replaced(found, found["reproduced"].mask(asd, 86 - 5.0 * found["epoch"]))
    assert outcomes("figure-4", falling) == dict.fromkeys(("gap", "stage-2", "stage-3"), "fails")
    alone = exhibit("figure-4").reproduce("laptop", store=store, defenses=["none"])
    assert set(outcomes("figure-4", alone).values()) == {"not run"}
    assert alone.loc[alone["defense"] == "asd", "reason"].tolist() == ["left out by request: defense ASD"]
    *_, early, late = exhibit("figure-4").draw(found).axes[0].get_lines()
    assert (list(early.get_xdata()), list(late.get_xdata())) == ([0, 1, 2, 3], [3, 4, 5])
    assert (early.get_linestyle(), late.get_linestyle()) == ("-", "--")


def test_a_figure_without_results_keeps_a_row_for_each_cell(store: Store) -> None:
    found = exhibit("figure-4").reproduce("best", store=store)
    assert list(found["defense"]) == ["none", "asd"]
    assert (found["reason"] == "no result in the store").all()


@pytest.mark.parametrize("key", DRAWN)
def test_nothing_to_draw_is_said(key: str, store: Store) -> None:
    """Of a table its printed numbers are drawn alone."""
    figure = exhibit(key).draw(exhibit(key).reproduce("laptop", store=store))
    if key.startswith("table"):
        assert not figure.nothing and panels.PRINTED_ALONE in figure.get_suptitle().lower().replace("\n", " ")
    else:
        assert figure.nothing and canvas.NOTHING in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in DRAWN if key.startswith("table")])
def test_tables_are_drawn_at_any_profile(key: str) -> None:
    for profile in ("laptop", "smoke"):
        figure = exhibit(key).draw(as_reproduced(key, profile))
        assert figure._repr_png_().startswith(b"\x89PNG")
        assert ("no evidence" in figure.get_suptitle()) == (profile == "smoke")


def test_settings_are_told_apart() -> None:
    (axis,) = exhibit("table-5").draw(as_reproduced("table-5")).axes[-1:]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "1", "2", "3", "4"]


def test_the_diagram_is_drawn_without_results(store: Store) -> None:
    assert len(exhibit("figure-2").draw(exhibit("figure-2").reproduce("best", store=store))._repr_png_()) > 1000
    words = exhibit("table-1").reproduce("best", store=store)
    assert words["published"].tolist()[-1] == "yes" and len(words) == 12


def test_no_axis_hides_a_standard_column(lay: Lay, store: Store) -> None:
    lay(asd_cells.faster("wanet", 1), history=curve("asd", (10, 92), (1, 1)))
    assert frames.axes(exhibit("figure-7").reproduce("gpu", store=store)) == ["speed", "epoch", "stage"]
    assert {one.key for one in EXHIBITS} <= {one.key for one in PAPER.exhibits}
