"""Runs a parameterized notebook with papermill: parameters are checked first, a failing notebook is kept.

papermill itself only prints a message about an unknown parameter and enforces no types.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from defenselib import folders
from defenselib.errors import DefenseLibError, InvalidValueError
from defenselib.experiments import journal
from defenselib.plots.style import label
from defenselib.report import worker
from defenselib.report.notebooks import check, need_jupyter, parameters_of

MENTIONED = re.compile(r"{{ *(\w+) *}}")
POLL = 0.1  # seconds between two looks at a notebook that is being executed
PACKAGE = Path(__file__).resolve().parents[1]


class NotebookFailedError(DefenseLibError):
    """A cell raised; `kept` is the notebook with the error in it, None if it did not even start."""

    def __init__(self, message: str, kept: Path | None) -> None:
        super().__init__(message)
        self.kept = kept


class StoppedError(NotebookFailedError):
    """The execution was ended from outside."""


class Executed(NamedTuple):
    """An executed notebook, and how many of its cells were trained for it and how many the store had."""

    output: Path
    trained: int = 0
    stored: int = 0


def execute(
    notebook: Path,
    output: Path,
    given: Mapping[str, str],
    *,
    progress: bool = True,
    stop: threading.Event | None = None,
) -> Executed:
    """Execute `notebook` with the parameters `given` (texts) into `output`, which appears only if every cell ran.

    output: a file NAME.ipynb, or a folder that takes it under the notebook's own name. Otherwise the notebook as far as
    it came stays beside it as NAME.failed.ipynb, and NotebookFailedError says where and why. Relative paths in the
    notebook start from the current folder; its kernel is this interpreter, and ends with this process. stop: set from
    another thread, it ends the execution as Ctrl-C does in this one; errors: StoppedError then.
    """
    need_jupyter()
    values = check(notebook, given)
    output = checked_output(notebook, output)
    # A dot hides it from the book, process and thread keep executions apart; a killed one leaves only this behind.
    mark = f"{os.getpid()}-{threading.get_ident() % 10**6}"
    temporary = output.with_name(f".{output.stem}.{mark}.tmp.ipynb")
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    job = {"notebook": str(notebook), "output": str(temporary), "parameters": values, "progress": progress}
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "journal"
        try:
            outcome = _work(job, lines, stop)
            told = journal.read(lines)
            if "message" not in outcome:
                if broken := [line for line in told if line["state"] == "failed"]:
                    outcome["message"] = f"failed in {len(broken)} of its experiments: " + "; ".join(
                        f"{line['cell']}: {line['why']}" for line in broken
                    )
                _finish(temporary, notebook, output)
            if "message" in outcome:
                raise NotebookFailedError(*_kept(f"{notebook.name} {outcome['message']}", temporary, failed))
            with folders.writing(output):
                temporary.replace(output)
        except KeyboardInterrupt:
            print(_kept(f"{notebook.name} was interrupted", temporary, failed)[0], file=sys.stderr, flush=True)
            raise
        except _Ended:
            raise StoppedError(*_kept(f"{notebook.name} was interrupted", temporary, failed)) from None
        finally:
            temporary.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    states = [line["state"] for line in told]
    return Executed(output, states.count("trained"), states.count("store"))


class _Ended(Exception):
    """`stop` was set."""


def checked_output(notebook: Path, output: Path) -> Path:
    """The file that `output` stands for, its folder made. Errors: InvalidValueError and FolderError, before any work,
    where nothing can be written there or it would take the notebook's own place."""
    if output.is_dir():
        output = output / notebook.name
    if output.suffix != ".ipynb":
        raise InvalidValueError(f"output is {str(output)!r}, it must be a folder that exists or a file NAME.ipynb")
    if output.is_dir():
        raise InvalidValueError(f"output {str(output)!r} is a folder")
    if output.exists() and notebook.exists() and output.samefile(notebook):
        raise InvalidValueError(f"output {str(output)!r} is the notebook itself; its executed copy needs another place")
    folders.make(output.parent)
    with folders.writing(output), tempfile.TemporaryFile(dir=output.parent):
        pass
    return output


def _work(job: dict[str, Any], lines: Path, stop: threading.Event | None) -> dict[str, str]:
    """The outcome of a job that a process of its own works at; it and its kernel are gone when this returns or raises.

    Standard input is its leash, and a group of its own keeps the terminal's signals from it: it is for us to end it.
    """
    environment = os.environ | {journal.JOURNAL: str(lines)}
    command = [sys.executable, "-P", worker.__file__]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, process_group=0) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            while True:
                try:
                    process.wait(POLL)
                    break
                except subprocess.TimeoutExpired:
                    if stop is not None and stop.is_set():
                        raise _Ended from None
            return dict(json.loads(process.stdout.read().splitlines()[-1]))
        except (IndexError, ValueError):  # it did not come to its end
            return {"message": f"failed: the process that executes it ended with code {process.returncode}"}
        finally:
            with suppress(OSError):  # it is gone already
                process.stdin.close()
            try:
                process.wait(worker.PATIENCE + 5)
            except subprocess.TimeoutExpired:
                process.kill()


def _finish(executed: Path, notebook: Path, output: Path) -> None:
    """Put names in place of the paths that papermill records (they are of this machine, and one is temporary), and the
    values of the parameters into texts (as readers know them) and names of figures."""
    import nbformat

    content = nbformat.read(executed, as_version=4)
    record = content.metadata["papermill"]
    record.update(input_path=notebook.name, output_path=output.name)
    content.metadata["defenselib"] = made_of(notebook)
    values = {name: one.value for name, one in parameters_of(notebook).items()} | record["parameters"]
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = fill(cell.source, {name: label(str(value)) for name, value in values.items()})
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if "name" in figure:
            figure["name"] = fill(figure["name"], {name: str(value) for name, value in values.items()})
    nbformat.write(content, executed)


def made_of(notebook: Path) -> dict[str, str]:
    """Digests of what an executed notebook is made of, its parameters aside: the notebook and the package."""
    return {"notebook": hashlib.sha256(notebook.read_bytes()).hexdigest()[:16], "package": _package()}


@cache
def _package() -> str:
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with the value in place of every {{ parameter }}: pages that one notebook makes for several papers need
    titles, and their figures names, of their own. What is no parameter stays."""
    return MENTIONED.sub(lambda found: values.get(found[1], found[0]), text)


def _kept(message: str, temporary: Path, failed: Path) -> tuple[str, Path | None]:
    """The message with the place that the notebook is moved to, and that place; None where there is no notebook."""
    if not temporary.exists():
        return message, None
    temporary.replace(failed)
    return f"{message}\nthe notebook as far as it came: {failed}", failed
