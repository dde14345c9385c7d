"""Texts for the search and hover texts of terms, on documents as Sphinx has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from docutils import nodes

from defenselib.report import finding


def document(*parts: nodes.Node) -> nodes.Element:
    found = nodes.section()
    found.extend(parts)
    return found


def test_the_words_of_a_page_are_those_that_are_seen() -> None:
    raw = "<style>p { color: red }</style><p>A &lt; B</p><script>let hidden = 1;</script><td>12.5</td>"
    found = finding.plain(
        document(
            nodes.paragraph("", "", nodes.Text("One  line\nand the next.")),
            nodes.raw("", raw, format="html"),
            nodes.raw("", r"\latex{}", format="latex"),
            nodes.comment("", "nobody reads this"),
        )
    )
    assert found == "One line and the next. A < B 12.5"


def test_what_a_cell_prints_in_place_of_its_picture_is_not_found() -> None:
    def output(*kinds: str) -> nodes.Element:
        shown = {
            "text/html": nodes.raw("", "<b>seen</b>", format="html"),
            "text/plain": nodes.literal_block("", "Html()"),
        }
        return nodes.container("", *(nodes.container("", shown[kind], mime_type=kind) for kind in kinds))

    assert finding.plain(document(output("text/html", "text/plain"))) == "seen"
    assert finding.plain(document(output("text/plain"))) == "Html()"  # nothing else is shown


def test_the_texts_of_all_pages_become_one_script(tmp_path: Path) -> None:
    (tmp_path / "_static").mkdir()
    texts = {"a": 'He said "no".\u2028', "gone": "x"}
    env = SimpleNamespace(page_texts=texts, found_docs={"b", "a"})
    app = SimpleNamespace(env=env, outdir=tmp_path, builder=SimpleNamespace(format="html"))
    finding.write(app, None)
    path = tmp_path / "_static" / finding.FILE
    name, _, value = path.read_text().partition(" = ")
    assert name == "window.PAGE_TEXTS" and json.loads(value.rstrip(";\n")) == {"a": texts["a"], "b": ""}
    before = path.stat().st_mtime_ns
    finding.write(app, None)
    assert path.stat().st_mtime_ns == before, "unchanged, so not written again"
    finding.forget(app, env, "a")
    other = SimpleNamespace(page_texts={"b": "new", "c": "not asked for"})
    finding.merge(app, env, ["b"], other)
    assert env.page_texts == {"gone": "x", "b": "new"}


def glossary() -> nodes.Element:
    item = nodes.definition_list_item()
    item += [nodes.term("", "ACC", ids=["term-ACC"]), nodes.term("", "accuracy", ids=["term-accuracy"])]
    item += nodes.definition("", nodes.paragraph("", "How often\nit is right."))
    return document(nodes.definition_list("", item))


def test_links_to_terms_get_their_sentences() -> None:
    near = nodes.reference(refid="term-ACC")
    far = nodes.reference(refuri="../book/glossary.html#term-accuracy")
    other = nodes.reference(refuri="theory.html#purity")
    env: Any = SimpleNamespace(found_docs={finding.GLOSSARY}, get_doctree=lambda name: glossary())
    finding.explain(SimpleNamespace(env=env), document(near, far, other), "book/index")
    assert near["reftitle"] == far["reftitle"] == "How often it is right."
    assert "reftitle" not in other


def test_every_term_that_a_page_asks_for_is_in_the_glossary(root: Path) -> None:
    text = (root / "book" / f"{finding.GLOSSARY.rpartition('/')[2]}.md").read_text()
    blocks = re.findall(r"^```\{glossary\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    terms = [line for block in blocks for line in block.splitlines() if line and not line.startswith(" ")]
    assert len(terms) == len(set(terms)) and {"papermill", "clean label"} <= set(terms)
    pages = [*(root / "book").glob("*.md"), *(root / "notebooks").glob("*.ipynb")]
    asked = [found for page in pages for found in re.findall(r"\{term\}`([^`]+)`", page.read_text())]
    wanted = {re.sub(r".*<(.+)>", r"\1", found) for found in asked}
    assert wanted and wanted <= set(terms)
