"""Sphinx extension: pages load their scripts from the book itself where `fetch` brought them, else from public servers.

A separate extension, because `_config.yml` cannot ask whether a file exists.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from myst_nb.core.config import ipywidgets_js_factory
from sphinx.application import Sphinx
from sphinx.config import Config

FRONTEND = Path(__file__).parent
STATIC = FRONTEND.parent / "_static"
LOCAL_WIDGETS = (  # in the order of loading
    "vendor/requirejs/require.js",
    "require-config.js",
    "vendor/@jupyter-widgets/html-manager/dist/embed-amd.js",
)
LOCAL_MATHJAX = "vendor/mathjax/es5/tex-svg-full.js"  # tex-svg.js loads parts of itself when a formula needs them
WIDGET_MATH = "widget-math.js"  # wherever the others come from


def fetched() -> bool:
    """All files are there, and came from this lock file by this script."""
    stamp = STATIC / "vendor" / ".fetched"
    source = b"".join((FRONTEND / name).read_bytes() for name in ("package-lock.json", "fetch"))
    if not stamp.exists() or stamp.read_bytes() != source:
        return False
    return all((STATIC / name).is_file() for name in (*LOCAL_WIDGETS, LOCAL_MATHJAX))


def choose_scripts(app: Sphinx, config: Config) -> None:
    """Fill the two settings that name scripts outside; pages are compiled again when they change."""
    if fetched():
        config["nb_ipywidgets_js"] = {name: {} for name in (*LOCAL_WIDGETS, WIDGET_MATH)}
        config["mathjax_path"] = LOCAL_MATHJAX
        return
    config["nb_ipywidgets_js"] = {**ipywidgets_js_factory(), WIDGET_MATH: {}}
    # Not a warning of Sphinx's: those are errors here, and a book with links to public servers is a whole book.
    print(
        "book: formulas and widgets of these pages need a network: their scripts are linked from public servers. "
        "For a book that works offline, install npm and `make book` with a network.",
        file=sys.stderr,
    )


def add_anywidget(app: Sphinx, exception: Exception | None) -> None:
    """The script of anywidget comes with its Python package, so it has the version that the notebooks ran with."""
    package = find_spec("anywidget")
    if exception or not fetched() or package is None or package.origin is None:
        return
    script = Path(package.origin).parent / "nbextension" / "index.js"
    shutil.copyfile(script, Path(app.outdir) / "_static" / "vendor" / "anywidget.js")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", choose_scripts)
    app.connect("build-finished", add_anywidget)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
