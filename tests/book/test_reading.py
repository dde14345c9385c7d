"""The book as something to read: whole chapters, feasible exercises, a complete reference, figures that speak."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import defenselib as dl
from defenselib import cli, experiments
from defenselib.errors import DataError, UnknownNameError
from defenselib.experiments.fields import hyper_parameters
from defenselib.papers.asd import figures
from defenselib.plots import alt, canvas, style
from defenselib.report import api, myst

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
HTML = BOOK / "_build" / "html"
REFERENCE = ("api", "api_attacks", "api_defenses", "api_learning")
CODE = re.compile(r"^ *```(python|bash)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def markdown_of(chapter: str) -> list[str]:
    cells = json.loads((ROOT / "notebooks" / f"{chapter}.ipynb").read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


def headings(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


# Chapters


@pytest.mark.parametrize("chapter", dl.papers.available())
def test_a_chapter_has_all_its_parts_in_order(chapter: str) -> None:
    cells = markdown_of(chapter)
    found = headings("\n\n".join(cells))
    wanted = ["The method", "A tour of the code", "See it work", "The main table", "Is the scaled-down method sound?"]
    wanted += ["Where this differs from the paper", "Exercises", "Everything else"]
    places = [next(i for i, words in enumerate(found) if words.startswith(part)) for part in wanted]
    assert places == sorted(places) and places[-2:] == [len(found) - 2, len(found) - 1]
    whole = "\n\n".join(cells)
    assert "{cite:t}" in cells[0] and f"(verdicts-{chapter}" in cells[-1]
    assert "verdicts.md" in whole and "threat_model.md" in whole
    method = "\n\n".join(cells).partition("## The method")[2].partition("## A tour of the code")[0]
    assert method.count("$$") >= 2 and method.count("$$") % 2 == 0


@pytest.mark.parametrize("chapter", dl.papers.available())
def test_a_chapter_ends_in_exercises_with_help(chapter: str) -> None:
    (exercises,) = (text for text in markdown_of(chapter) if text.startswith("## Exercises"))
    assert 3 <= len(re.findall(r"^\d\. \*\*", exercises, re.MULTILINE)) <= 6
    assert exercises.count("```{dropdown}") >= 2
    assert CODE.findall(exercises)


def exercise_code(kind: str) -> list[Any]:
    pages = {path.stem: path.read_text() for path in sorted(BOOK.glob("*.md")) if path.stem != "extend"}
    pages |= {name: "\n\n".join(markdown_of(name)) for name in (*dl.papers.available(), "attacks")}
    return [
        pytest.param(textwrap.dedent(code), id=f"{page}-{place}")
        for page, text in pages.items()
        for place, (language, code) in enumerate(CODE.findall(text))
        if language == kind
    ]


@pytest.mark.parametrize("code", exercise_code("bash"))
def test_a_command_of_the_book_is_understood(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `defenselib run` names what exists, down to the hyper-parameters; nothing is trained."""
    asked: list[experiments.Resolved] = []

    def resolve(experiment: dl.Experiment, *_: Any, **__: Any) -> None:
        asked.append(experiment.resolve())
        raise SystemExit(0)

    monkeypatch.setattr(experiments, "run", resolve)
    lines = [line.partition("#")[0] for line in code.splitlines() if line.startswith("defenselib run")]
    for line in lines:
        outcome = CliRunner().invoke(cli.app, shlex.split(line)[1:])
        assert outcome.exit_code == 0, outcome.output
    assert len(asked) == len(lines)


@pytest.mark.parametrize("code", exercise_code("python"))
def test_code_of_the_book_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands; trainings alone are only resolved, not run."""

    def resolve(experiment: dl.Experiment) -> SimpleNamespace:
        experiment.resolve()
        return SimpleNamespace(acc=0.0, asr=0.0, metrics=defaultdict(float))

    monkeypatch.setattr(dl, "run", resolve)
    exec(code, {})


def test_the_theory_cites_its_sources_and_every_defense() -> None:
    text = (BOOK / "theory.md").read_text()
    cited = {key for group in re.findall(r"\{cite:\w+\}`([^`]+)`", text) for key in group.split(",")}
    for key in ("gao2023asd", "shen2025bsd", "zhu2023vab", "chen2022dst", "zhao2024aabl", "huang2022dbd", "li2021abl",
                "tran2018spectral", "zhang2023cbd", "liu2018fp", "li2021nad", "wu2021anp", "zhao2020mcr"):  # fmt: skip
        assert key in cited, key
    labels = re.findall(r":label: (.+)", text)
    assert {"purity", "sce", "fct", "guess", "mixmatch", "contrast"} <= set(labels)


# Reference


def test_the_reference_lists_every_registered_method_with_all_hyper_parameters() -> None:
    for kind, registry in (("attacks", dl.attacks.ATTACKS), ("defenses", dl.defenses.DEFENSES)):
        text, files = api.page([kind])
        sections = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
        assert list(sections) == list(registry) and len(files) == len(registry)
        for name, cls in registry.items():
            rows = set(re.findall(r"^\| `(\w+)` \|", sections[name], re.MULTILINE))
            assert rows == set(hyper_parameters(cls)) - {"plan"}, name
            assert f'`dl.{kind}.create("{name}")`' in sections[name]


def names_in(page: str) -> list[str]:
    blocks = myst.REFERENCE.findall((BOOK / f"{page}.md").read_text())
    return [name for block in blocks for name in block.split()]


def test_the_reference_lists_every_public_name() -> None:
    listed = {name for page in REFERENCE for name in names_in(page)}
    assert {"attacks", "defenses"} <= listed
    modules = {"__version__", "attacks", "data", "defenses", "learning", "models", "papers"}
    assert {f"defenselib.{name}" for name in set(dl.__all__) - modules} <= listed
    for module in ("attacks", "defenses"):
        assert {f"defenselib.{module}.create", f"defenselib.{module}.available"} <= listed
    for page in REFERENCE:
        for name in set(names_in(page)) - set(api.REGISTRIES):
            text, _ = api.page([name])
            assert api.resolve(name).__doc__ and name in text


def test_no_signature_in_the_reference_holds_an_address() -> None:
    shown = {page: api.page(names_in(page))[0] for page in REFERENCE}
    assert not [page for page, text in shown.items() if re.search(r" at 0x|<function|<bound", text)]
    assert "| `setting` | `Setting()` |" in shown["api"]


def test_an_unknown_name_in_the_reference_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'poison'"):
        api.page(["defenselib.poisn"])


def test_docstrings_are_shown_as_they_are_written() -> None:
    shown = api.markdown(
        """One * two * three_four [5] $6$ <7>, `a*b` stays.

        alpha: first.
        beta: second,
            which goes on.

            x = (1 - M) x1

        >>> 1 + 1
        2
        """
    )
    assert r"One \* two \* three\_four \[5\] \$6\$ \<7\>, `a*b` stays." in shown
    assert "- alpha: first.\n- beta: second,\n    which goes on." in shown
    assert "```text\nx = (1 - M) x1\n```" in shown and "```pycon\n>>> 1 + 1\n2\n```" in shown


def test_signatures_read_as_in_the_source() -> None:
    said = api.signature(dl.der)
    assert said == "(acc_before: float, asr_before: float, acc_after: float, asr_after: float) -> float"
    assert api.signature(dl.attacks.available) == "() -> tuple[str, ...]"
    assert "preset: str | None = None" in api.signature(dl.attacks.create)


# Start page, README, citation


def test_the_start_page_leads_to_every_chapter_and_types_no_number() -> None:
    text = (BOOK / "index.md").read_text()
    for paper in dl.papers.available():
        (card,) = (part for part in text.split(":::{grid-item-card}") if f":link: _executed/{paper}\n" in part)
        assert f"{{exhibits}}`{paper}`" in card and "{cite:t}" in card
    assert [found[:2] for found in myst.PICTURE.findall(text)] == [("attacks", "attacks-start")]
    wanted = ("numbers-printed", "numbers-run", "numbers-profile", "numbers-at-profile", "numbers-distinct")
    assert myst.GLUED.findall(text) == [*(("coverage", name) for name in wanted), ("status", "results")]
    prose = re.sub(r"`[^`]*`|```.*?```", "", text.partition("## Build on it")[0], flags=re.DOTALL)
    assert not re.search(r"\d+(\.\d+)? ?%|\d{2,} (numbers|results|tables)", prose)


def test_exhibits_are_counted_from_the_registry() -> None:
    for paper in dl.papers.available():
        said = myst.exhibits(paper)
        for kind in ("table", "figure"):
            keys = [one.key for one in dl.papers.get(paper).exhibits if one.key.startswith(kind)]
            assert f"{len(keys)} {kind}s" in said, said


def test_glued_texts_are_found_or_named(tmp_path: Path) -> None:
    output = {"data": {"x/text/plain": "'17'"}, "metadata": {"scrapbook": {"name": "found", "mime_prefix": "x/"}}}
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(json.dumps({"cells": [{"outputs": [output]}, {"source": ""}]}))
    assert myst.glued(notebook, "found") == "17"
    with pytest.raises(UnknownNameError, match="did you mean 'found'"):
        myst.glued(notebook, "fund")
    with pytest.raises(DataError, match="make book"):
        myst.glued(tmp_path / "b.ipynb", "found")
    with pytest.raises(DataError, match="no figure with a text"):
        myst.glued_picture(notebook, "found")


def test_a_glued_picture_becomes_a_figure_with_its_text(tmp_path: Path) -> None:
    data, metadata = canvas.empty('A "title": with signs')._repr_mimebundle_()
    mark = {"scrapbook": {"name": "drawn", "mime_prefix": "x/"}}
    output = {"data": {f"x/{name}": value for name, value in data.items()}, "metadata": {**metadata, **mark}}
    executed = tmp_path / "book" / "_executed"
    executed.mkdir(parents=True)
    (executed / "a.ipynb").write_text(json.dumps({"cells": [{"outputs": [output]}]}))
    source, noted = ["before\n```{picture} a/drawn\nThe caption.\n```\nafter"], []
    env = SimpleNamespace(note_dependency=noted.append)
    myst.expand(SimpleNamespace(srcdir=tmp_path, env=env), "book/index", source)
    assert (executed / "drawn.png").read_bytes().startswith(b"\x89PNG")
    lines = source[0].splitlines()
    assert lines[1] == "```{figure} /book/_executed/drawn.png" and lines[4] == "The caption."
    assert yaml.safe_load(lines[2].removeprefix(":alt: ")) == f'A "title": with signs. {canvas.NOTHING}.'
    assert noted == [str(executed / "a.ipynb")]


def test_readme_names_every_chapter() -> None:
    text = (ROOT / "README.md").read_text()
    for paper in dl.papers.available():
        assert f"`notebooks/{paper}.ipynb`" in text and (ROOT / "notebooks" / f"{paper}.ipynb").is_file()
    for path in re.findall(r"`((?:book|notebooks|defenselib|tests)/[\w./]+\.\w+)`", text):
        assert path.startswith("book/_build/") or (ROOT / path).is_file(), path


def test_citation_agrees_with_package_licence_and_bibliography() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (said["cff-version"], said["version"], said["license"]) == ("1.2.0", dl.__version__, "MIT")
    assert said["message"] and said["title"] and said["authors"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    bibliography = " ".join((BOOK / "references.bib").read_text().split())
    assert len(said["references"]) == len(dl.papers.available())
    for paper in said["references"]:
        assert f"{{{paper['title']}}}" in bibliography, paper["title"]
        assert f"author = {{{paper['authors'][0]['family-names']}, " in bibliography


# Figures


@pytest.mark.parametrize(("table", "names"), [(style.METHODS, dl.defenses), (style.ATTACKS, dl.attacks)])
def test_every_registered_method_has_a_look(table: dict[str, Any], names: Any) -> None:
    assert set(names.available()) <= set(table)


def frame_of(values: list[float]) -> pd.DataFrame:
    rows = {"metric": "acc", "attack": "badnets", "profile": "laptop", "sd": float("nan"), "defense": "asd"}
    return pd.DataFrame([{**rows, "epoch": i, "reproduced": value} for i, value in enumerate(values)])


def test_a_figure_describes_what_was_drawn() -> None:
    words = alt.describe(figures.progress(frame_of([10.0, 55.5, 90.0]), "Accuracy on the way"))
    assert words == "Accuracy on the way (profile laptop). ACC (%) over epoch: ASD from 10 to 90."


def test_a_description_is_cut_where_it_gets_long() -> None:
    figure, axes = canvas.grid(4, 4, 10, 5)
    for axis in axes.flat:
        axis.plot([0, 1], [0, 1], label="a line with a name of some length")
    words = alt.describe(figure)
    assert len(words) < alt.LENGTH + 100 and re.search(r"And \d+ more panels\.$", words)


class Renderer:
    """Stands in for myst-nb's, which gives one image node with the cell's own text."""

    def render_image(self, data: Any) -> list[dict[str, str]]:
        return [{"alt": "A kind of chart."}]


def rendered(figure: Any, mime: str = "image/png", inline: bool = False) -> Any:
    data, metadata = figure._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")  # the signature of PNG in base64
    return myst.FigureTexts.handle_mime(
        Renderer(), SimpleNamespace(mime_type=mime, output_metadata=metadata, content=data["image/png"]), inline
    )


def test_the_book_puts_the_description_behind_the_kind() -> None:
    figure = figures.progress(frame_of([1.0, 2.0]), "Title")
    assert rendered(figure) == [{"alt": f"A kind of chart. {alt.describe(figure)}"}]
    assert rendered(figure, mime="text/plain") is None and rendered(figure, inline=True) is None


def test_a_figure_without_a_result_says_nothing_else() -> None:
    figure = canvas.empty("A title")
    assert rendered(figure) == [{"alt": f"A title. {canvas.NOTHING}."}]


# The compiled book


needs_html = pytest.mark.skipif(not (HTML / "index.html").exists(), reason="the book is not compiled: make book")


@needs_html
def test_every_picture_of_the_book_has_a_text_that_is_no_file_name() -> None:
    bs4 = pytest.importorskip("bs4")
    seen = 0
    for page in sorted((HTML / "book").rglob("*.html")):
        for image in bs4.BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select("img"):
            text = image.get("alt", "").strip()
            assert text, (page.name, image["src"][:80])
            assert not re.search(r"\.(png|svg|jpe?g|gif)$|^[0-9a-f]{32,}|^_images", text), (page.name, text)
            if image.find_parent("article") is not None:
                assert len(text.split()) >= 4, (page.name, text)
                assert text.count(canvas.NOTHING) <= 1
                seen += 1
    assert seen >= 50


@needs_html
def test_the_reference_is_compiled_as_text_not_as_markup() -> None:
    bs4 = pytest.importorskip("bs4")
    for page, names in (("api_attacks", dl.attacks.available()), ("api_defenses", dl.defenses.available())):
        soup = bs4.BeautifulSoup((HTML / "book" / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
        assert [title.contents[0] for title in soup.select("article h2")] == list(names)
        assert not soup.select("article .math, article .problematic")
    soup = bs4.BeautifulSoup((HTML / "book" / "api.html").read_text(encoding="utf-8"), "html.parser")
    assert soup.find(id="defenselib.poison") and soup.find(id="defenselib.Experiment")


@needs_html
def test_the_start_page_says_numbers_and_shows_a_picture() -> None:
    bs4 = pytest.importorskip("bs4")
    article = bs4.BeautifulSoup((HTML / "book" / "index.html").read_text(encoding="utf-8"), "html.parser").article
    words = " ".join(article.text.split())
    found = re.search(
        r"Of ([\d,]+) printed numbers, ([\d,]+) have been run again .* profile \w+ there are "
        r"([\d,]+) of them, and ([\d,]+) distinct measurements",
        words,
    )
    assert found is not None, words
    printed, ran, here, distinct = (int(count.replace(",", "")) for count in found.groups())
    assert printed > ran >= here > distinct > 0
    assert article.select("img") and "{exhibits}" not in article.text and "{glued}" not in article.text
