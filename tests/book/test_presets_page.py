"""The page on presets says of every attack of the registry, under every preset, what the code does."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from defenselib import Experiment, attacks
from defenselib.attacks.badnets import patch
from defenselib.attacks.base import Attack, Plan

CASES = [(name, preset) for name in attacks.available() for preset in attacks.presets(name)]
PAPERS = {
    "badnets": "gu2017badnets",
    "badnets-all2all": "gu2017badnets",
    "trojan": "liu2018trojan",
    "blend": "chen2017blend",
    "wanet": "nguyen2021wanet",
    "iab": "nguyen2020iab",
    "dynamic": "nguyen2020iab",
    "refool": "liu2020refool",
    "clb": "turner2019clb",
    "sig": "barni2019sig",
    "ssba": "li2021ssba",
    "narcissus": "zeng2023narcissus",
}
# Cells of a row, after the attack and its presets.
ALL = ("trigger", "strength", "rate", "counting rule", "CIFAR-10", "target")
LARGER = ("from", "what changes")


@pytest.fixture(scope="module")
def text(request: pytest.FixtureRequest) -> str:
    return (request.config.rootpath / "book" / "presets.md").read_text()


Rows = list[tuple[str, str, dict[str, str]]]


def rows(text: str, columns: tuple[str, ...]) -> Rows:
    """(attack, preset, cells by column) of the table with these columns."""
    head = "| attack | preset | " + " | ".join(columns) + " |\n"
    assert text.count(head) == 1
    lines = text.partition(head)[2].splitlines()[1:]
    found: Rows = []
    for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("|"))]:
        name, presets, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        values = dict(zip(columns, cells, strict=True))
        found += [(name.strip("`"), preset, values) for preset in re.findall(r"`([^`]+)`", presets)]
    return found


def settings(*cells: str) -> dict[str, str]:
    """What stands as `name = value` in the cells."""
    return dict(pair for cell in cells for pair in re.findall(r"`(\w+) = ([^`]+)`", cell))


def say(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def on_cifar10(plan: Plan) -> str:
    share = {"exact-all": 50_000, "exact-target": 5_000}.get(plan.count, 45_000)
    drawn = plan.count == "bernoulli-nontarget" and plan.rate > 0
    return f"{math.floor(round(plan.rate * share, 6)):,}" + (" expected" if drawn else "")


def own_fields(name: str) -> Iterator[str]:
    """Hyper-parameters of an attack beside those of its base; how a surrogate is trained is told in words."""
    base = {field.name for field in dataclasses.fields(Attack)}
    for field in dataclasses.fields(attacks.ATTACKS[name]):
        hyper = field.name not in base and field.metadata.get("hyper_parameter", True)
        if hyper and not field.name.startswith("surrogate_"):
            yield field.name


def test_every_preset_has_exactly_one_row(text: str) -> None:
    found = [(name, preset) for name, preset, _ in rows(text, ALL)]
    unlike = sorted(set(CASES) ^ set(found))
    assert not unlike, f"book/presets.md needs one row for every attack and preset, and no other: {unlike}"
    assert len(found) == len(CASES)
    named = [name for name in attacks.available() if attacks.presets(name)]
    assert list(dict.fromkeys(name for name, _ in found)) == named, "rows stand in the order of ATTACKS"


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_row(text: str, name: str, preset: str) -> None:
    (cells,) = (values for key, paper, values in rows(text, ALL) if (key, paper) == (name, preset))
    attack = attacks.create(name, preset=preset)
    plan = attack.plan
    assert cells["rate"] == f"{100 * plan.rate:g} %"
    assert cells["counting rule"] == f"`{plan.count}`"
    assert cells["CIFAR-10"] == on_cifar10(plan)
    assert cells["target"] == ("y + 1" if plan.target is None else str(plan.target))
    stated = settings(cells["trigger"], cells["strength"])
    assert stated == {key: say(getattr(attack, key)) for key in stated}
    made = [attacks.create(name, preset=other) for other in attacks.presets(name)]
    differing = {key for key in own_fields(name) if len({getattr(other, key) for other in made}) > 1}
    assert differing <= set(stated)


def test_what_changes_on_larger_images(text: str) -> None:
    stated = {
        (name, preset, values["from"]): settings(values["what changes"]) for name, preset, values in rows(text, LARGER)
    }
    expected = {}
    for name, preset in CASES:
        recipe = attacks.ATTACKS[name].presets[preset]
        for side, hyper in recipe.sizes.items():
            plan = hyper.get("plan", recipe.plan)
            assert dataclasses.replace(plan, rate=recipe.plan.rate) == recipe.plan
            changes = {key: say(value) for key, value in hyper.items() if key != "plan"}
            changes |= {"rate": say(plan.rate)} if plan != recipe.plan else {}
            expected[name, preset, str(side)] = changes
    assert stated == expected


def chosen(cell: str) -> list[tuple[str, str, str | None, str]]:
    """(method, field, preset or None, value) of what stands as `method.field = value` in a cell."""
    found = re.findall(r"`(\w+)\.(\w+) = ([^`]+)`(?: \(preset `(\w+)`\))?", cell)
    return [(method, field, preset or None, value) for method, field, value, preset in found]


def defense_of(name: str) -> Any:
    """As an experiment takes it at the full schedule."""
    return Experiment(attack="badnets", defense=name, profile="paper").resolve().defense


def test_where_paper_and_code_differ_the_defaults_are_those_of_the_page(text: str) -> None:
    section = text.partition("## Where a paper and its code differ")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ") and "`" in line]
    seen = 0
    for *_, default, other in lines:
        for method, field, preset, value in chosen(default):
            made: Any = attacks.create(method, preset=preset) if method in attacks.ATTACKS else defense_of(method)
            assert say(getattr(made, field)) == value, (method, field)
            seen += 1
            for _, _, _, asked in chosen(other):
                given: Any = {"True": True, "False": False}.get(asked, asked)
                changed = dataclasses.replace(made, **{field: type(getattr(made, field))(given)})
                assert say(getattr(changed, field)) == asked != value
    assert seen >= 10


def test_defaults_are_as_the_page_says(text: str) -> None:
    assert "The default is ASD's where ASD runs the attack" in text
    listed = rows(text, ALL)
    for name in (name for name in attacks.available() if attacks.presets(name)):
        first = next((preset for key, preset, _ in listed if key == name), None)
        assert attacks.presets(name)[0] == first
        assert first == "asd" or "asd" not in attacks.presets(name)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("dbd2", "the four inner pixels intact in {} %"),
        ("square3", "the square one pixel off the corner in {} %"),
        ("grid3", "a grid in the very corner in {} %"),
    ],
)
def test_how_often_a_patch_survives_the_crop(text: str, pattern: str, words: str) -> None:
    made = patch(pattern, 32)
    views = [(shift + made.top, shift + made.left) for shift in range(-4, 5)]
    rows_kept = sum(0 <= top <= 32 - made.mask.shape[0] for top, _ in views)
    columns_kept = sum(0 <= left <= 32 - made.mask.shape[1] for _, left in views)
    assert words.format(round(100 * rows_kept * columns_kept / len(views) ** 2)) in " ".join(text.split())


def test_every_attack_is_cited(text: str, request: pytest.FixtureRequest) -> None:
    known = (request.config.rootpath / "book" / "references.bib").read_text()
    cited = {key for group in re.findall(r"\{cite:\w+\}`([^`]+)`", text) for key in group.split(",")}
    for name in attacks.available():
        # No paper's, and the defenses' own.
        ours = set(attacks.presets(name)) <= {"own"} or name in ("none", "adaptive")
        if not ours and not name.startswith("blend-"):  # variants
            assert name in PAPERS, f"PAPERS of this file needs the paper of {name!r}, and the page its citation"
            assert PAPERS[name] in cited and f"{{{PAPERS[name]}," in known
