"""The attacks' own table: printed values, what counts as a working attack, and one run at smoke."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from defenselib import attacks
from defenselib.attacks.badnets import BadNets
from defenselib.attacks.base import Plan, Preset
from defenselib.errors import UnknownNameError
from defenselib.experiments import Experiment, Store
from defenselib.papers import undefended
from defenselib.papers.dst_dbr import properties
from defenselib.papers.kit.request import Request, Thin
from defenselib.papers.undefended import Case
from defenselib.plots import pictures
from defenselib.report import gallery


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("undefended"))


@pytest.mark.slow
def test_every_attack_that_poisons_has_a_first_case_of_its_own() -> None:
    first = undefended.first_cases()
    assert len({(case.attack, case.preset) for case in first}) == len(first)
    named = {case.attack for case in first}
    # The cat by its second name is Blend in every preset; it is listed once.
    assert named == {name for name in attacks.available() if attacks.ATTACKS[name].poisons} - {"blend-kitty"}
    strange = {case.preset for case in undefended.cases() if not case.paper} - {"own"}
    assert not strange, "a preset is a paper's key, a variant that its tables print as an attack, or 'own'"


def test_an_attack_of_no_paper_has_its_row_and_its_cells(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Patch(BadNets):
        name = "patch"
        presets: ClassVar = {"own": Preset(Plan(0.03, 3, "exact-nontarget"))}

    monkeypatch.setitem(attacks.ATTACKS, "patch", Patch)
    (case,) = undefended.cases(["patch"])
    assert undefended.first_cases(["patch"]) == [case]
    request = Request("smoke", False, Thin(attacks=("patch",)), None, store)
    asked = [cell.experiment(grid.paper, "smoke", 0).resolve() for grid, cell in undefended.cells(request, {})]
    assert [(one.attack.name, one.rate) for one in asked] == [("patch", 0.03), ("patch", 0.0)]
    assert asked[0].hash == Experiment(attack="patch").resolve().hash, "what the user ran is found"
    table = undefended.table("smoke", chosen=[case], store=store)
    assert list(table["reason"]) == ["no result in the store"] and table["printed_asr"].isna().all()
    said = str(gallery.success(table, "t"))
    assert said.count("patch") == 1 and said.count("own") == 1


def test_printed_numbers_are_those_of_the_undefended_resnet18() -> None:
    assert undefended.printed_number(Case("badnets", "asd"), "cifar10", "acc") == 94.9
    assert undefended.printed_number(Case("blend", "asd"), "gtsrb", "asr") == 99.4
    assert undefended.printed_number(Case("badnets-all2all", "dst_dbr"), "cifar10", "asr") == 88.01
    assert undefended.printed_number(Case("badnets", "bsd"), "cifar10", "acc") == 94.9
    assert math.isnan(undefended.printed_number(Case("badnets", "aabl"), "cifar10", "acc"))


@pytest.mark.parametrize(
    ("asr", "clean", "clean_label", "outcome"),
    [
        (85.0, 1.0, False, True),
        (84.9, 1.0, False, False),
        (84.9, math.nan, False, False),
        (60.0, 30.0, True, True),
        (60.0, 30.1, True, False),
        (49.0, 1.0, True, False),
        (99.0, math.nan, True, True),
        (60.0, math.nan, True, None),
        (math.nan, 1.0, False, None),
    ],
)
def test_what_counts_as_a_working_attack(asr: float, clean: float, clean_label: bool, outcome: bool | None) -> None:
    assert undefended.works(asr, clean, clean_label, printed=98.0) is outcome


@pytest.mark.slow
def test_a_run_at_smoke_fills_the_table_the_pictures_and_the_categories(store: Store) -> None:
    chosen = [Case("badnets", "dst_dbr"), Case("blend-strip", "dst_dbr")]
    empty = undefended.table("smoke", chosen=chosen, store=store)
    assert empty["asr"].isna().all() and (empty["reason"] == "no result in the store").all()
    table = undefended.table("smoke", chosen=chosen, run=True, store=store).set_index("attack")
    assert (table["poisoned"] > 0).all() and table["clean_asr"].notna().all() and table["twice_asr"].isna().all()
    # 3x3 pixels of a grid: at most 9 of 1,024 pixels differ; stripes darken everything by a fifth.
    assert table.loc["badnets", "stored_psnr"] > table.loc["blend-strip", "stored_psnr"]
    assert table.loc["badnets", "rise"] == pytest.approx(
        table.loc["badnets", "asr"] - table.loc["badnets", "clean_asr"]
    )
    found = gallery.pictures(chosen, profile="smoke", store=store)
    assert list(found) == ["BadNets", "Blend (stripes)"]
    for figure in (gallery.before_after(found), gallery.one_image(found)):
        assert figure.axes
    ticks = properties.table_4(profile="smoke", store=store).set_index(["attack", "criterion"])
    assert ticks.loc[("badnets", "trigger-size"), "measured"] == "patch"
    assert ticks.loc[("blend-strip", "trigger-size"), "measured"] == "blend"
    assert ticks.loc[("ssba", "visibility"), "measured"] == ""  # not run
    assert "✓" in str(gallery.properties(ticks.reset_index(), "Table 4"))
    assert "BadNets" in str(gallery.success(table.reset_index().iloc[::-1], "t"))
    assert "BadNets" in str(gallery.distance(table.reset_index().iloc[::-1], "d"))


def test_best_is_one_profile_and_never_smoke(store: Store) -> None:
    table = undefended.table("best", chosen=[Case("badnets", "dst_dbr")], store=store)
    assert table["asr"].isna().all() and table["profile"].nunique() == 1 and table["profile"].iloc[0] != "smoke"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="badnets"):
        list(undefended.cases(["badnet"]))
    with pytest.raises(UnknownNameError, match="laptop"):
        undefended.table("laptp")


def test_the_spectrum_of_stripes_lies_on_one_line(tmp_path: Path) -> None:
    wave = np.sin(2 * np.pi * 6 * np.arange(32) / 32)
    change = np.broadcast_to(40 * wave, (2, 3, 32, 32))
    spectrum = pictures.spectrum(change)
    # f = 6 along the columns: two points left and right of the middle, of |FFT| = 40 * 32 * 32 / 2.
    assert sorted(zip(*np.where(spectrum > 1), strict=True)) == [(16, 10), (16, 22)]
    assert spectrum[16, 10] == pytest.approx(np.log10(1 + 20480))
