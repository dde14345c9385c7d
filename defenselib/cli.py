"""The command line: run, scan, defend, plan, run-cell, batch, reproduce, status, data, profile, keep, clean."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from defenselib.audit.names import visible
from defenselib.commands import batch, results
from defenselib.commands.defend import defend_command
from defenselib.commands.reproduce import reproduce
from defenselib.commands.results import profile_command
from defenselib.commands.run import run_command
from defenselib.commands.scan import scan_command
from defenselib.errors import BusyError, DefenseLibError, TrainingDivergedError

# What is no mistake of the command line; 75 is what other programs, too, say of what may be tried again later.
CODES: dict[type[DefenseLibError], int] = {TrainingDivergedError: 1, BusyError: 75}
# What a command line is refused with; typer brings its own copy of click, or not, by its version.
Usage: type[Exception] = typer.BadParameter.__bases__[0]


class Commands(TyperGroup):
    """Turns an error that a user can mend into one line and an exit code, without a traceback."""

    def make_context(self, *given: Any, **more: Any) -> Any:
        try:
            return super().make_context(*given, **more)
        except Usage as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise
            raise _refused(_message(error), 2) from None

    def invoke(self, ctx: Any) -> Any:
        from defenselib.report.execute import NotebookFailedError

        try:
            return super().invoke(ctx)
        except NotebookFailedError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except Usage as error:
            raise _refused(_message(error), 2) from None
        except DefenseLibError as error:
            raise _refused(str(error), CODES.get(type(error), 2)) from None
        except KeyboardInterrupt:
            raise _refused("interrupted", 130) from None


def _message(error: Exception) -> str:
    return str(getattr(error, "format_message", error.__str__)())


def _refused(message: str, code: int) -> typer.Exit:
    typer.echo(f"error: {visible(' '.join(message.split()))}", err=True)
    return typer.Exit(code)


app = typer.Typer(
    cls=Commands,
    help="Training-time backdoor defenses, and the book that reproduces five papers on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run_command)
app.command("scan")(scan_command)
app.command("defend")(defend_command)
app.command()(reproduce)
app.command("profile")(profile_command)
for command in (results.status, results.data, results.keep, results.clean):
    app.command()(command)
app.add_typer(batch.commands)
