"""Sphinx extension (named in `_config.yml`): what helps to find and to understand. The texts of the pages, from which
the search shows an excerpt of each hit without a server, and the glossary's sentences as hover texts of its terms."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

from docutils import nodes

GLOSSARY = "book/glossary"
TEXTS = "page_texts"
FILE = "search-texts.js"
LONGEST = 200_000  # characters of a page; the rest of a longer one is tables
HIDDEN = re.compile(r"<(style|script|svg)\b.*?</\1>", re.DOTALL | re.IGNORECASE)
TAG = re.compile(r"<[^>]+>")


def plain(doctree: Any) -> str:
    """The words of a page as a reader sees them: raw HTML without its tags, no scripts, spaces single."""
    parts: list[str] = []
    for node in doctree.findall(nodes.Text):
        if _instead(node):
            continue
        raw = node.parent if isinstance(node.parent, nodes.raw) else None
        if raw is None and not isinstance(node.parent, nodes.comment):
            parts.append(str(node))
        elif raw is not None and "html" in raw.get("format", ""):
            parts.append(unescape(TAG.sub(" ", HIDDEN.sub(" ", str(node)))))
    return " ".join(" ".join(parts).split())[:LONGEST]


def _instead(node: Any) -> bool:
    """Whether a text is what an output of a cell prints where its HTML, picture or widget cannot be shown."""
    while node is not None:
        if isinstance(node, nodes.Element) and node.get("mime_type"):
            return node["mime_type"] == "text/plain" and len(node.parent) > 1
        node = node.parent
    return False


def _texts(env: Any) -> dict[str, str]:
    """The words of the pages that were read, by page: they are kept with Sphinx's environment."""
    found: dict[str, str] = vars(env).setdefault(TEXTS, {})
    return found


def note_text(app: Any, doctree: Any) -> None:
    """Keep the words of a page that was read."""
    env = app.env
    _texts(env)[env.docname] = plain(doctree)
    if any(node.get("reftype") == "term" for node in doctree.findall() if isinstance(node, nodes.Element)):
        env.note_dependency(str(Path(app.srcdir) / f"{GLOSSARY}.md"))


def forget(app: Any, env: Any, docname: str) -> None:
    """A page that is read anew or gone."""
    _texts(env).pop(docname, None)


def merge(app: Any, env: Any, docnames: list[str], other: Any) -> None:
    """What another process read."""
    _texts(env).update({name: text for name, text in _texts(other).items() if name in docnames})


def write(app: Any, exception: Exception | None) -> None:
    """One script with the texts of all pages, because a page opened from disk may load scripts and nothing else."""
    if exception or app.builder.format != "html":
        return
    texts = {name: _texts(app.env).get(name, "") for name in sorted(app.env.found_docs)}
    content = f"window.PAGE_TEXTS = {json.dumps(texts, ensure_ascii=False, separators=(',', ':'))};\n"
    path = Path(app.outdir) / "_static" / FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        path.write_text(content, encoding="utf-8")


def definitions(doctree: Any) -> dict[str, str]:
    """The glossary: id of a term to its sentences."""
    found: dict[str, str] = {}
    for item in doctree.findall(nodes.definition_list_item):
        said = " ".join(" ".join(part.astext() for part in item.findall(nodes.definition)).split())
        found |= {name: said for term in item.findall(nodes.term) for name in term["ids"]}
    return found


def explain(app: Any, doctree: Any, docname: str) -> None:
    """Links to terms of the glossary get its sentences as their hover text."""
    links = [(link, link.get("refuri", link.get("refid", ""))) for link in doctree.findall(nodes.reference)]
    links = [(link, target.rpartition("#")[2]) for link, target in links if "term-" in target]
    if links and GLOSSARY in app.env.found_docs:
        said = definitions(app.env.get_doctree(GLOSSARY))
        for link, name in links:
            if name in said:
                link["reftitle"] = said[name]


def setup(app: Any) -> dict[str, Any]:
    app.connect("doctree-read", note_text)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-resolved", explain)
    app.connect("build-finished", write)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
