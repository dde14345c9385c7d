"""What the commands print and how they are stopped."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from defenselib.audit.results import ScanReport

COLOURS = {"calm": "green", "look": "yellow", "unknown": "yellow", "alarm": "bold red"}
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def console() -> Console:
    """A console for the stdout of the moment; wide enough for a table in a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 140, highlight=False)


def table(title: str, columns: Iterable[str], words: Collection[str] | None = None) -> Table:
    """A table without rows yet. words: the columns of words, where others hold numbers; without, all do, and fold."""
    made = Table(title=title)
    for name in columns:
        if words is None:
            made.add_column(name, overflow="fold")
        else:
            made.add_column(name, justify="left" if name in words else "right")
    return made


def show(frame: pd.DataFrame, title: str) -> None:
    """Print a data frame as a table; a missing value is an empty cell."""
    shown = table(title, [str(name).replace("_", " ") for name in frame.columns])
    for row in frame.itertuples(index=False):
        shown.add_row(*("" if value is None or value != value else str(value) for value in row))
    console().print(shown)


def verdict(scan: ScanReport) -> None:
    """Print what a scan came to, in one line."""
    console().print(Text(scan.alarm.upper(), style=COLOURS[scan.alarm]), Text(scan.words))


@contextmanager
def resumable(said: str = "the same command goes on from the last checkpoint") -> Iterator[None]:
    """Inside, Ctrl-C ends the program with a line on how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {said}", err=True)
        raise typer.Exit(130) from None


class Stop(threading.Event):
    """Set by a signal; `code` is what a shell then expects of the program."""

    code = 0


@contextmanager
def stopping() -> Iterator[Stop]:
    """Inside, the first signal to end sets the event instead; the second ends the program as ever. One that is ignored
    (`nohup`) stays ignored."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def on_signal(number: int, frame: Any) -> None:
        stop.code = 128 + number
        stop.set()
        put_back()

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        put_back()
