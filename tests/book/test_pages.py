"""What the pages say about the code is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from defenselib import attacks
from defenselib.attacks.base import COUNTS
from defenselib.papers.kit import claims, gates, verdict
from defenselib.plots import words


@pytest.fixture(scope="module")
def book(request: pytest.FixtureRequest) -> Path:
    return request.config.rootpath / "book"


def test_the_verdict_page_states_the_rules_of_the_code(book: Path) -> None:
    text = (book / "verdicts.md").read_text()
    for said in (
        f"ASR printed at most {verdict.ASR_LOW:g} %",
        f"ASR printed at least {verdict.ASR_HIGH:g} %",
        f"within {verdict.ASR_MIDDLE:g} points",
        f"at most {verdict.ACC_MARGIN:g} points, at most half of the accuracy, or more",
        f"printed at least {gates.TOOK:g} % | the reproduced ASR is at least {gates.TOOK:g} % too",
        f"at least {verdict.ASSUMED_SPREAD['asr']:g} points of ASR or RA, {verdict.ASSUMED_SPREAD['acc']:g} of ACC, "
        f"{verdict.ASSUMED_SPREAD['der']:g} of DER",
        f"within {verdict.ACC_CLOSE:g} points of the printed value",
        f"within {verdict.ASR_CLOSE:g} points; or both at most {verdict.ASR_GONE:g} %; "
        f"or both at least {verdict.ASR_FULL:g} %",
        f"within a factor of {verdict.TIME_FACTOR:g}",
        f"DER printed at least {verdict.DER_HIGH:g} | the reproduced DER is at least {verdict.DER_HIGH:g}",
        f"DER printed at most {verdict.DER_LOW:g} | the reproduced DER is at most {verdict.DER_LOW:g}",
        f"DER printed in between | within {verdict.DER_MIDDLE:g} points",
        f"DER | within {verdict.DER_CLOSE:g} points",
        f"RA | the share of the accuracy that survives is within {verdict.RA_SHARE:g} percent",
        f"RA | within {verdict.RA_CLOSE:g} points",
        f"kept (γ) | within {verdict.GAMMA_NEAR:g} points",
        f"kept (γ) | within {verdict.GAMMA_CLOSE:g} points",
        f"kept (ρ) | on the same side of {verdict.POISON_LEFT:g} %",
        f"kept (ρ) | within {verdict.POISON_CLOSE:g} point",
        f"clean part | on the same side of {verdict.CLEAN_PURE:g} %",
        f"clean part | within {verdict.CLEAN_CLOSE:g} points",
        f"suspects | on the same side of {verdict.MOSTLY_POISON:g} %",
        f"suspects | within {verdict.SUSPECT_CLOSE:g} points",
        f"counts | within a factor of {verdict.COUNT_FACTOR:g}; or both at most {verdict.COUNT_FEW:g}",
        f"its ASR is at least {gates.TOOK:g} %",
        f"at least {gates.TOOK_LEAST:g} % and {gates.RISE:g} points",
        f"at least {gates.TARGET_LEAST:g} % of it",
        f"below {gates.DEAD:g} %, above {gates.ALIVE:g} %",
        *(f">{words.marked(word)}<" for word in (*verdict.VERDICTS, *claims.OUTCOMES)),
    ):
        assert said in text, said


def test_the_threat_model_names_every_counting_rule(book: Path) -> None:
    text = (book / "threat_model.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == set(COUNTS)


def test_every_attack_of_the_library_is_cited_somewhere(book: Path) -> None:
    text = "".join(path.read_text() for path in book.glob("*.md"))
    for name, key in {"badnets": "gu2017badnets", "blend": "chen2017blend"}.items():
        assert name in attacks.available()
        assert key in text


def test_every_citation_is_in_the_bibliography(book: Path) -> None:
    known = set(re.findall(r"^@\w+\{(\w+),", (book / "references.bib").read_text(), re.MULTILINE))
    pages = [*book.glob("*.md"), *(book.parent / "notebooks").glob("*.ipynb")]
    cited = {key.strip() for page in pages for group in re.findall(r"\{cite:\w+\}`([^`]+)`", page.read_text())
             for key in group.split(",")}  # fmt: skip
    assert cited and cited <= known


def test_jupyter_book_executes_nothing(book: Path) -> None:
    config = yaml.safe_load((book.parent / "_config.yml").read_text())
    assert config["execute"]["execute_notebooks"] == "off"
    assert config["only_build_toc_files"] is True
    assert "sphinx_thebe" not in config["sphinx"]["config"]["extensions"]
