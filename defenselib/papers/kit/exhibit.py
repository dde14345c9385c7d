"""What a paper is to this book: exhibits that know their printed numbers, their cells and their claims.

To add an exhibit, name its cells: a `Table` maps a row of its CSV to the `Cell` that answers it, a `Series` lists its
cells and says what to read from their results. Everything else (look-up, running, thinning, averages, verdicts,
profiles side by side) is here and in `frame.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from defenselib.errors import check_choice
from defenselib.papers.kit import best, printed, times
from defenselib.papers.kit import claims as claims_module
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.grid import Cell, Grid, Request, Thin, checked_request
from defenselib.papers.kit.spread import SeedRule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from defenselib.experiments.result import Result

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """What a paper's exhibits share.

    seeds: the seeds of a cell at a profile. thin: by profile, what is computed where nobody asks for more.
    reference: the table whose undefended models other tables are judged against, or several, the first that prints
    one for the row.
    """

    seeds: SeedRule = lambda cell, profile: (0,)
    thin: Mapping[str, Thin] = field(default_factory=dict)
    reference: str | tuple[str, ...] = ""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A table or figure of a paper. This base has no code behind it: its frame says `not in this version yet`."""

    paper: str
    key: str
    setting: Setting = Setting()
    plot: str = ""
    checks: tuple[Claim, ...] = ()

    @property
    def info(self) -> dict[str, Any]:
        """kind, title, shows, datasets, attacks, defenses, metrics, numbers, needs: from the paper's exhibits.csv."""
        return cast("dict[str, Any]", printed.exhibits(self.paper).loc[self.key].to_dict())

    @property
    def title(self) -> str:
        return str(self.info["title"])

    @property
    def status(self) -> str:
        """`available`, `nothing to run`, or `not in this version yet`."""
        return "nothing to run" if "nothing to run" in self.info["needs"] else "not in this version yet"

    @property
    def command(self) -> str:
        """The command that regenerates it, with the whole notebook of its paper."""
        return f"defenselib reproduce --paper {self.paper} --profile laptop"

    def reproduce(
        self,
        profile: str = "smoke",
        run: bool = False,
        datasets: Sequence[str] | None = None,
        attacks: Sequence[str] | None = None,
        defenses: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        store: Any = None,
    ) -> pd.DataFrame:
        """Printed and reproduced numbers side by side: the rows of the CSV, all of them and in order.

        profile: one of the profiles, or `best`: for every row the best evidence there is (paper, gpu, laptop; never
        smoke). run: compute what the store lacks. datasets, attacks, defenses, seeds: only these are looked up and
        computed; the other rows stay and say so. store: where results are read from and written to.

        Columns: those of the CSV with `value` named published (a dash is NaN), then reproduced (mean over seeds, NaN
        where not run), n (seeds), sd (over seeds), verdict (agrees, differs, not run), profile, ran_on, reason (why
        there is no number or no verdict, or which seeds are missing). Percent, seconds or counts as `metric` says.
        Raises UnknownNameError or InvalidValueError for a name that neither profile nor paper knows.
        """
        request = checked_request(self.paper, profile, run, datasets, attacks, defenses, seeds, store)
        return self._evidence(_requests(request))["best"] if profile == "best" else self._reproduce(request)

    def evidence(self, store: Any = None) -> dict[str, pd.DataFrame]:
        """The frames of every profile that counts (paper, gpu, laptop) and of `best`, as `reproduce` gives them, with
        each cell looked up once."""
        request = checked_request(self.paper, "best", False, None, None, None, None, store)
        return self._evidence(_requests(request))

    def draw(self, frame: pd.DataFrame) -> Figure:
        """The figure of `frame`, as `reproduce` gave it."""
        # Loaded when something is drawn: reproducing needs no plotting library, and report/ stands above papers/.
        from importlib import import_module

        figures = import_module("defenselib.plots.drawings")
        drawers = {**figures.DRAWERS, **figures.DIAGRAMS}
        return cast("Figure", drawers[check_choice("drawing", self.plot or "dots", drawers)](frame, self.title))

    def claims(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The exhibit's claims on `frame`: columns claim, statement, source, outcome, numbers, profile."""
        return claims_module.table_of(self.checks, frame)

    def grid(self, request: Request) -> Grid:
        declared = self.setting.thin.get(request.profile, Thin())
        return Grid(self.paper, request, self.setting.seeds, declared)

    def _reproduce(self, request: Request) -> pd.DataFrame:
        return frames.unanswered(self._printed(), request.profile, self.status)

    def _evidence(self, requests: Mapping[str, Request]) -> dict[str, pd.DataFrame]:
        levels = {name: self._reproduce(request) for name, request in requests.items()}
        return {**levels, "best": best.best_rows(levels)}

    def _printed(self) -> pd.DataFrame:
        if self.key in printed.tables(self.paper):
            return printed.table(self.paper, self.key)
        return frames.empty_rows([{}])


def _requests(request: Request) -> dict[str, Request]:
    """The request at every profile that counts, best first."""
    return {name: replace(request, profile=name, run=False) for name in claims_module.RANK}


def metric_of(row: Row, result: Result) -> float:
    """The number of a result that a row asks for: acc, asr, ra, seconds or hours of the result, or one of its metrics.

    DER is no number of a single result: a table takes it seed by seed, with the undefended model (`Table.before`).
    """
    name = str(row["metric"])
    if name in ("seconds", "hours"):
        return times.counted(result, result.seconds / (3600 if name == "hours" else 1))
    value = getattr(result, name, None) if name in ("acc", "asr", "ra") else result.metrics.get(name)
    return float("nan") if value is None else float(value)


def plain_cell(row: Row) -> Cell:
    """The cell of a row that is fixed by data set, attack and defense alone."""
    return Cell(str(row["dataset"]), str(row["attack"]), str(row["defense"]))


def undefended(cell: Cell) -> Cell:
    """The undefended model of a cell: the same poisoned data, the same network."""
    asked = {key: cell.options[key] for key in ("rate", "target", "attack_args", "model") if key in cell.options}
    return Cell(cell.dataset, cell.attack, "none", asked)


@dataclass(frozen=True, kw_only=True)
class Table(Exhibit):
    """A table: every row of the CSV is one number of one cell; rows of attack, data set or target `average` are means
    of the others.

    cell: the cell that answers a row; None, or the reason in words, for a row that nothing answers. value: the number
    it takes from a result. before: the undefended cell that a row's DER and drop of ACC are taken against. instead: a
    cell whose result holds the same number, for where that one was run and this one was not.
    """

    cell: Callable[[Row], Cell | str | None] = plain_cell
    value: Callable[[Row, Result], float] = metric_of
    before: Callable[[Cell], Cell] = undefended
    instead: Callable[[Row], Cell] | None = None

    @property
    def status(self) -> str:
        return "available"

    def _reproduce(self, request: Request) -> pd.DataFrame:
        rows = self._printed()
        found = frames.answered(rows, self.grid(request), self.cell, self.value, self.before, self.instead)
        reference = self.setting.reference or self.key
        references = (reference,) if isinstance(reference, str) else reference
        return frames.judged(rows, found, self.paper, references, request.profile)


@dataclass(frozen=True, kw_only=True)
class Series(Exhibit):
    """A figure: cells, and what to read from the results of each as rows (variant, metric, reproduced, n, sd).

    The paper prints no number of a figure, so `published` is NaN and no row has a verdict: the claims judge.
    """

    cells: tuple[Cell, ...]
    measure: Callable[[Cell, tuple[Result, ...]], list[dict[str, Any]]]

    @property
    def status(self) -> str:
        return "available"

    def _reproduce(self, request: Request) -> pd.DataFrame:
        return pd.concat(self._parts(request), ignore_index=True)

    def _parts(self, request: Request) -> list[pd.DataFrame]:
        grid = self.grid(request)
        return [frames.measured(cell, grid, self.measure, request.profile) for cell in self.cells]

    def _evidence(self, requests: Mapping[str, Request]) -> dict[str, pd.DataFrame]:
        levels = {name: self._parts(request) for name, request in requests.items()}
        joined = {name: pd.concat(parts, ignore_index=True) for name, parts in levels.items()}
        return {**joined, "best": best.best_parts(levels)}


@dataclass(frozen=True)
class Paper:
    """A paper: key, title, exhibits in the paper's order."""

    key: str
    title: str
    exhibits: tuple[Exhibit, ...]

    def exhibit(self, key: str) -> Exhibit:
        """The exhibit called `table-2`, `figure-3`, ...; an unknown key raises and names the nearest."""
        found = {exhibit.key: exhibit for exhibit in self.exhibits}
        return found[check_choice(f"exhibit of {self.key!r}:", key, found)]

    def overview(self) -> pd.DataFrame:
        """Every table and figure of the paper: kind, title, status, what it needs, and the command for it."""
        rows = [
            {
                "exhibit": exhibit.key,
                "title": exhibit.title,
                "status": exhibit.status,
                "needs": exhibit.info["needs"],
                "command": "" if exhibit.status == "nothing to run" else exhibit.command,
            }
            for exhibit in self.exhibits
        ]
        return pd.DataFrame(rows)


def complete(key: str, written: Sequence[Exhibit] = ()) -> Paper:
    """The paper with every exhibit of its exhibits.csv: those `written`, the others listed as not there yet."""
    by_key = {exhibit.key: exhibit for exhibit in written}
    keys = list(printed.exhibits(key).index)
    for name in by_key:
        check_choice(f"exhibit of {key!r}:", name, keys)
    exhibits = tuple(by_key.get(name) or Exhibit(paper=key, key=name) for name in keys)
    return Paper(key, printed.TITLES[key], exhibits)
