"""Sphinx extension (named in `_config.yml`): what stands around the content of every page. The edition in the footer, a
way to launch the notebook behind a page, the citation."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from defenselib.report import edition

CITATION = re.compile(r"^```\{citation\}\n```$", re.MULTILINE)
PLACES = "{launch-places}"
# Pages that the footer leads to, where the book has them.
FOOTER = {"book/taking_part": "cite this, send a result", "book/changes": "what changed", "book/glossary": "glossary"}
LAUNCH = "fas fa-rocket"
AFTER_THEME = 900  # it makes its list of buttons at 501


def note_edition(app: Any, config: Any) -> None:
    """As a setting of the book, because pages are written again when a setting changes."""
    found = edition.edition(Path(app.srcdir))
    config["book_edition"] = found.words()
    config["book_commit"] = found.commit


def footer(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Version, commit and date, and where to go from here."""
    said = escape(app.config["book_edition"])
    repository, commit = _option(app, "repository_url").rstrip("/"), app.config["book_commit"]
    if repository and commit != edition.UNKNOWN:
        short = commit[:7]
        said = said.replace(short, f'<a href="{escape(repository)}/commit/{commit}">{short}</a>')
    pages = [
        f'<a href="{escape(context["pathto"](page))}">{escape(words)}</a>'
        for page, words in FOOTER.items()
        if page in app.env.found_docs
    ]
    context["theme_extra_footer"] = f'<p class="edition">{" · ".join([said, *pages])}</p>'


def launch_buttons(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Buttons that open the page's notebook elsewhere, where the repository's address is configured."""
    own = [path.stem for path in (Path(app.srcdir) / "notebooks").glob("*.ipynb")]
    notebook = edition.source_of(pagename, own)
    if notebook is None:
        return
    places = edition.launches(_option(app, "repository_url"), _option(app, "repository_branch"), notebook)
    buttons = [
        {"type": "link", "url": url, "text": name, "tooltip": f"Open this notebook in {name}", "icon": LAUNCH}
        for name, url in places
    ]
    if buttons:
        group = {"type": "group", "tooltip": "Run this notebook", "icon": LAUNCH, "buttons": buttons}
        context["header_buttons"].insert(0, {**group, "label": "launch-buttons"})


def write_out(app: Any, docname: str, source: list[str]) -> None:
    """A block {citation} becomes the entry for BibTeX that `CITATION.cff` makes, {launch-places} a sentence on the
    buttons that this copy of the book has."""
    if CITATION.search(source[0]):
        path = Path(app.srcdir) / "CITATION.cff"
        app.env.note_dependency(str(path))
        entry = edition.bibtex(path)
        source[0] = CITATION.sub(lambda _: f"```bibtex\n{entry}\n```", source[0])
    if PLACES in source[0]:
        app.env.note_dependency(str(Path(app.srcdir) / "_config.yml"))
        source[0] = source[0].replace(PLACES, places_in_words(app))


def places_in_words(app: Any) -> str:
    """Where the pages' notebooks can be launched from this copy of the book."""
    found = edition.launches(_option(app, "repository_url"), _option(app, "repository_branch"), "")
    if not found:
        return (
            "On Binder or Colab they open with one click where the address of a repository is configured "
            "(`repository_url` in `_config.yml`); in this copy of the book none is."
        )
    names = " or ".join(name for name, _ in found)
    return f"The button with a rocket above a page that was a notebook opens it on {names}."


def _option(app: Any, name: str) -> str:
    return str(app.config["html_theme_options"].get(name, ""))


def setup(app: Any) -> dict[str, Any]:
    app.add_config_value("book_edition", "", "html")
    app.add_config_value("book_commit", "", "html")
    app.connect("config-inited", note_edition)
    app.connect("source-read", write_out)
    app.connect("html-page-context", footer, priority=AFTER_THEME)
    app.connect("html-page-context", launch_buttons, priority=AFTER_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
