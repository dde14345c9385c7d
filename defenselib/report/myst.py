"""What the book's compiler takes from the package: texts of figures (an entry point of myst-nb), reference pages, and
words and pictures that come from executed notebooks or the registry of papers (a Sphinx extension, named in
`_config.yml`)."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.transforms import SphinxTransform

from defenselib import papers
from defenselib.errors import DataError, unknown
from defenselib.plots import words
from defenselib.report import api, trials
from defenselib.report.findings import listing

PNG = "image/png"
EXHIBITS = re.compile(r"\{exhibits\}`(\w+)`")
GLUED = re.compile(r"\{glued\}`([\w-]+)/([\w-]+)`")
PICTURE = re.compile(r"^```\{picture\} ([\w-]+)/([\w-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"^```\{reference\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class FigureTexts:
    """Renders an image whose output metadata hold `alt`, as `canvas.Picture` gives it.

    The cell's own text, what kind of picture it is, comes first and what was drawn after it. A figure that shows no
    result (`nothing`) says that alone: a sentence about its lines would be wrong.
    """

    mime_priority_overrides: ClassVar[tuple[tuple[str, str, int | None], ...]] = ()

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[Any] | None:
        brought = data.output_metadata.get(PNG, {})
        if inline or data.mime_type != PNG or not brought.get("alt"):
            return None
        images: list[Any] = renderer.render_image(data)
        for image in images:
            kind = "" if brought.get("nothing") else image.get("alt", "")
            image["alt"] = f"{kind} {brought['alt']}".strip()
        return images


def glued(notebook: Path, key: str) -> str:
    """The text that an executed notebook glued under `key`.

    Raises DataError if it was not executed, UnknownNameError for a key that it has not.
    """
    return "".join(_output(notebook, key)["text/plain"]).strip("'")


def glued_picture(notebook: Path, key: str) -> tuple[bytes, str]:
    """The PNG that an executed notebook glued under `key`, and its alternative text. Raises as `glued`, and DataError
    where something else than a figure of this package is glued."""
    output = _output(notebook, key)
    if "image/png" not in output or "alt" not in output:
        raise DataError(f"{key!r} of {notebook.name} is no figure with a text, it has {', '.join(output)}")
    return base64.b64decode("".join(output["image/png"])), output["alt"]


def _output(notebook: Path, key: str) -> dict[str, Any]:
    """What is glued under `key`, by mime type; of a figure also "alt"."""
    if not notebook.is_file():
        raise DataError(f"{notebook} is not there; `make book` executes the notebooks")
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            metadata = output.get("metadata", {})
            if mark := metadata.get("scrapbook"):
                data = {name.removeprefix(mark["mime_prefix"]): value for name, value in output["data"].items()}
                found[mark["name"]] = {**data, **metadata.get("image/png", {})}
    if key not in found:
        raise unknown(f"glued name of {notebook.name}:", key, found)
    return found[key]


def exhibits(paper: str) -> str:
    """How many exhibits of a paper the book has, in words.

    >>> exhibits("bsd")
    '20 tables, 11 figures and the numbers of the text'
    """
    counted = Counter(item.key.split("-")[0] for item in papers.get(paper).exhibits)
    said = [words.plural(counted[kind], kind) for kind in ("table", "figure") if counted[kind]]
    return listing([*said, *(["the numbers of the text"] if counted["text"] else [])])


def expand(app: Any, docname: str, source: list[str]) -> None:
    """Write out what a page asks of the package before it is parsed.

    A block {reference} with dotted names, one a line, becomes their reference (`api.page`); {exhibits}`asd` counts the
    exhibits of a paper in words; {glued}`coverage/numbers-run` is a text that an executed notebook glued; a block
    {picture} with such a name is a figure, its content the caption. (myst-nb's own {glue:text} knows only texts of the
    same page, and across pages {glue} loses the file of a picture.)
    """
    executed = Path(app.srcdir) / "book" / "_executed"

    def reference(block: re.Match[str]) -> str:
        text, files = api.page(block[1].split())
        for file in files:
            app.env.note_dependency(file)
        return text

    def notebook(name: str) -> Path:
        path = executed / f"{name}.ipynb"
        app.env.note_dependency(str(path))
        return path

    def picture(block: re.Match[str]) -> str:
        content, said = glued_picture(notebook(block[1]), block[2])
        file = executed / f"{block[2]}.png"
        if not file.is_file() or file.read_bytes() != content:
            file.write_bytes(content)
        return f"```{{figure}} /book/_executed/{file.name}\n:alt: {json.dumps(said)}\n\n{block[3]}```"

    written, files = trials.expand(source[0], Path(app.srcdir) / "book" / "results" / "trials")
    for file in files:
        app.env.note_dependency(str(file))
    text = REFERENCE.sub(reference, written)
    text = EXHIBITS.sub(lambda role: exhibits(role[1]), text)
    text = PICTURE.sub(picture, text)
    source[0] = GLUED.sub(lambda role: glued(notebook(role[1]), role[2]), text)


class NoEmptyFigures(SphinxTransform):
    """A cell with a caption that shows no picture is no figure: what it says stays, caption, number and name go."""

    default_priority = 400  # before Sphinx collects names and numbers

    def apply(self, **_: Any) -> None:
        for figure in list(self.document.findall(nodes.figure)):
            if not any(figure.findall(nodes.image)):
                said = [child for child in figure.children if not isinstance(child, nodes.caption | nodes.legend)]
                for name in figure["names"]:
                    self.document.nameids.pop(name, None)
                    self.document.nametypes.pop(name, None)
                figure.replace_self(said)


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", expand)
    app.add_transform(NoEmptyFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
