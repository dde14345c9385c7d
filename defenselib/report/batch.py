"""Several notebooks and several values of their parameters, executed one after the other or side by side."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from defenselib.errors import DefenseLibError, InvalidValueError
from defenselib.report.execute import StoppedError, checked_output, execute, made_of
from defenselib.report.notebooks import check, parameters_of

NAME = 100  # characters of a page's name; a longer one ends in a digest
DONE, FAILED, THERE, STOPPED, WAITING = "done", "failed", "there already", "stopped", "not begun"


@dataclass(frozen=True)
class Task:
    """One notebook with one set of parameters (texts, as they were given), and where to."""

    notebook: Path
    output: Path
    given: Mapping[str, str] = field(default_factory=dict)

    def is_there(self) -> bool:
        """Whether the page is there: made by this code of this notebook with these parameters, and nothing failed."""
        import nbformat

        try:
            metadata = nbformat.read(self.output, as_version=4).metadata
            record = metadata["papermill"]["parameters"], metadata["defenselib"]
        except Exception:  # missing, damaged, or made by something else
            return False
        values = check(self.notebook, self.given)
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return bool(record == (listed, made_of(self.notebook)))  # JSON has lists alone


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its state, seconds, cells trained and found in the store, and why it failed."""

    task: Task
    state: str
    seconds: float = 0.0
    trained: int = 0
    stored: int = 0
    why: str = ""
    kept: Path | None = None


def task_of(notebook: Path, given: Mapping[str, str], output: Path | None = None) -> Task:
    """A task whose parameters are checked. output: a file or folder; `default_output` if None. Errors: as `execute`,
    before anything runs."""
    check(notebook, given)
    place = default_output(notebook, given) if output is None else output
    if place.is_dir():
        place = place / default_output(notebook, given).name
    return Task(notebook, place, dict(given))


def default_output(notebook: Path, given: Mapping[str, str]) -> Path:
    """Where the executed notebook goes: `book/_executed/NAME.ipynb` of the book that it belongs to, else of the current
    folder.

    Parameters other than the notebook's own make another name, NAME-PARAMETER-VALUE.ipynb, for the book publishes
    NAME.ipynb as the whole chapter.
    """
    clone = notebook.parent.parent
    home = clone if notebook.parent.name == "notebooks" and (clone / "_toc.yml").is_file() else Path.cwd()
    known, values = parameters_of(notebook), check(notebook, given)
    other = {name: value for name, value in values.items() if value != known[name].value}
    name = "-".join([notebook.stem, *(f"{key}-{_word(other[key])}" for key in sorted(other))])
    if len(name) > NAME:
        name = f"{name[: NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return home / "book" / "_executed" / f"{name}.ipynb"


def run_all(
    tasks: Sequence[Task],
    jobs: int = 1,
    *,
    resume: bool = False,
    progress: bool = True,
    tell: Callable[[Outcome], object] = lambda outcome: None,
    stop: threading.Event | None = None,
) -> list[Outcome]:
    """Execute all tasks, `jobs` at a time; one that fails stops no other. In the order of the tasks.

    resume: leave out those whose page is there. tell: called with each outcome, as it is known. stop: set from outside,
    it ends what is being executed, and nothing more is begun.
    Errors: InvalidValueError where two tasks have one place, FolderError where one cannot be written.
    """
    places = [checked_output(task.notebook, task.output) for task in tasks]
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise InvalidValueError(f"several notebooks would be written to {twice}; name a folder")
    halt = threading.Event() if stop is None else stop

    def work(task: Task) -> Outcome:
        return Outcome(task, WAITING) if halt.is_set() else _run(task, progress and jobs == 1, resume, halt)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        try:
            for future in as_completed(futures):
                tell(future.result())
        except BaseException:
            halt.set()
            raise
    return [future.result() for future in futures]


def _run(task: Task, progress: bool, resume: bool, stop: threading.Event) -> Outcome:
    started = time.monotonic()
    try:
        if resume and task.is_there():
            return Outcome(task, THERE)
        done = execute(task.notebook, task.output, task.given, progress=progress, stop=stop)
    except DefenseLibError as error:
        state = STOPPED if isinstance(error, StoppedError) else FAILED
        why = str(error).splitlines()
        return Outcome(task, state, time.monotonic() - started, why=why[0], kept=getattr(error, "kept", None))
    return Outcome(task, DONE, time.monotonic() - started, done.trained, done.stored)


def _word(value: object) -> str:
    text = "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return re.sub(r"[^\w.+]+", "_", text).strip("._") or "none"
