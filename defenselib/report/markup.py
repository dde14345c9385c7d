"""Short texts in Markdown as HTML within other HTML: emphasis, code, lists, and formulas that the page typesets."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

from defenselib.report.notebooks import needed


def html(text: str) -> str:
    """The text as HTML; formulas stand between dollars. Errors: JupyterMissingError without the book's packages."""
    return str(_parser().render(text))


@cache
def _parser() -> Any:
    with needed("notes need packages that are"):
        from markdown_it import MarkdownIt
        from mdit_py_plugins.dollarmath import dollarmath_plugin
    return MarkdownIt("commonmark", {"html": False}).use(dollarmath_plugin, renderer=_formula)


def _formula(content: str, options: dict[str, Any]) -> str:
    # As Sphinx writes them, so that MathJax finds them in the built page.
    left, right = (r"\[", r"\]") if options.get("display_mode") else (r"\(", r"\)")
    return f'<span class="math notranslate nohighlight">{left}{escape(content)}{right}</span>'
