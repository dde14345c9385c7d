"""What a paper is to this book: exhibits that know their printed numbers, their cells and their claims.

To add an exhibit, name its cells: a `Table` maps a row of its CSV to the `Cell` that answers it, a `Series` lists its
cells and says what to read from their results. Everything else (look-up, running, thinning, averages, gates, verdicts,
claims) is in this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from defenselib.errors import check_choice
from defenselib.experiments.result import Result
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed, verdict
from defenselib.papers.kit.claims import RANK, Claim, table_of
from defenselib.papers.kit.gates import Before, Gate, Gating, undefended_alone
from defenselib.papers.kit.grid import Grid, mode_of
from defenselib.papers.kit.kept import Frames, kept
from defenselib.papers.kit.request import AXES, Cell, Request, SeedRule, Thin, checked_request, one_seed
from defenselib.papers.titles import TITLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawer = Callable[[pd.DataFrame, str], "Figure"]


@dataclass(frozen=True)
class Setting:
    """What a paper's exhibits share.

    seeds: the seeds of a cell at a profile. thin: by profile, what is computed where nobody asks for more.
    reference: the table whose undefended models other tables are judged against, or several, the first that prints
    one for the row.
    """

    seeds: SeedRule = one_seed
    thin: Mapping[str, Thin] = field(default_factory=dict)
    reference: str | tuple[str, ...] = ""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A table or figure of a paper. This base has no code behind it: its frame says that nothing is to be run.

    plot: draws its frame; None where there is nothing to draw.
    """

    paper: str
    key: str
    setting: Setting = Setting()
    plot: Drawer | None = None
    checks: tuple[Claim, ...] = ()
    _frames: Frames = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def info(self) -> dict[str, Any]:
        """kind, title, shows, datasets, attacks, defenses, metrics, numbers, needs: from the paper's exhibits.csv."""
        return cast("dict[str, Any]", printed.exhibits(self.paper).loc[self.key].to_dict())

    @property
    def title(self) -> str:
        return str(self.info["title"])

    @property
    def references(self) -> tuple[str, ...]:
        """The tables that print the undefended models of this one."""
        named = self.setting.reference or self.key
        return (named,) if isinstance(named, str) else named

    @property
    def status(self) -> str:
        """`available`, `nothing to run`, or `not in this version yet`."""
        if type(self) is not Exhibit:
            return "available"
        return "nothing to run" if "nothing to run" in self.info["needs"] else "not in this version yet"

    @property
    def command(self) -> str:
        """The command that regenerates it, with the notebook of its paper."""
        return f"defenselib reproduce --paper {self.paper} --profile laptop -p exhibits={self.key}"

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

        profile: one of the profiles, or `best`: the one profile (of paper, gpu, laptop) that answers most of the
        exhibit. run: compute what the store lacks. datasets, attacks, defenses, seeds: only these are looked up and
        computed; the other rows stay and say so. store: where results are read from and written to.

        Columns: those of the CSV with `value` named published (a dash is NaN), then reproduced (mean over seeds, NaN
        where not run), n (seeds), sd (over seeds), verdict (see `verdict`), profile, ran_on, reason (why there is no
        number or no verdict, or which seeds are missing), gate (why a low ASR or a DER does not count), spread (what
        chance alone moves, in points), by_seed, source (copies of the data set), and the exhibit's own axes. Percent,
        seconds or counts as `metric` says. Raises UnknownNameError or InvalidValueError for a name that neither profile
        nor paper knows.
        """
        request = checked_request(self.paper, profile, run, (datasets, attacks, defenses), seeds, store)
        if profile == "best":
            return best_of(self._levels(request))
        return self._named(kept(self._frames, request, self._reproduce))

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame, which says in its `attrs` of which exhibit it is."""
        frame.attrs = {"paper": self.paper, "exhibit": self.key}
        return frame

    def evidence(self, store: Any = None) -> dict[str, pd.DataFrame]:
        """The frames of every profile that counts (paper, gpu, laptop), as `reproduce` gives them."""
        return self._levels(checked_request(self.paper, "best", store=store))

    def draw(self, frame: pd.DataFrame) -> Figure:
        """The figure of `frame`, as `reproduce` gave it."""
        if self.plot is None:
            raise LookupError(f"nothing is drawn of {self.key} of {self.paper!r}")
        return self.plot(frame, self.title)

    def claims(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The exhibit's claims on `frame`, see `claims.table_of`."""
        return table_of(self.checks, frame)

    def grid(self, request: Request, everything: bool = False, sources: dict[str, str] | None = None) -> Grid:
        """everything: also what the paper leaves out at a profile. sources: see `Grid`."""
        declared = Thin() if everything else self.setting.thin.get(request.profile, Thin())
        return Grid(self.paper, request, self.setting.seeds, declared, sources)

    def _levels(self, request: Request) -> dict[str, pd.DataFrame]:
        asked = {name: replace(request, profile=name, run=False) for name in RANK}
        return {name: self._named(kept(self._frames, one, self._reproduce)) for name, one in asked.items()}

    def _reproduce(self, request: Request) -> pd.DataFrame:
        return frames.unanswered(self._printed(), request.profile, self.status)

    def _printed(self) -> pd.DataFrame:
        if self.key in printed.tables(self.paper):
            return printed.table(self.paper, self.key)
        return frames.rows_of([{}])


def best_of(levels: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The frame of the one profile that answers most: numbers that agree or differ first, then all that were run; of
    equals the first. No row of another profile stands in it."""

    def answers(frame: pd.DataFrame) -> tuple[int, int]:
        decided = frame["verdict"].isin([verdict.AGREES, verdict.DIFFERS])
        return int(decided.sum()), int(frame["reproduced"].notna().sum())

    return max(levels.values(), key=answers)


@dataclass(frozen=True, kw_only=True)
class Drawing(Exhibit):
    """A figure of images or boxes: nothing is counted, so the frame has one row without a number."""

    def _reproduce(self, request: Request) -> pd.DataFrame:
        return frames.unanswered(self._printed(), request.profile, "a picture: it holds no number")


@dataclass(frozen=True, kw_only=True)
class Series(Exhibit):
    """A figure: cells, and what to read from the results of each as rows (metric, axes, reproduced, n, sd).

    axes: what a cell itself says of where its rows stand ({"eps": 2.0}), also of one that was not run. before: see
    `Table`. The paper prints no number of a figure, so `published` is NaN and no row has a verdict: the claims judge.
    """

    cells: tuple[Cell, ...]
    measure: Callable[[Cell, tuple[Result, ...]], list[dict[str, Any]]]
    axes: Callable[[Cell], Mapping[str, Any]] = lambda cell: {}
    before: Before = undefended_alone

    def _reproduce(self, request: Request) -> pd.DataFrame:
        grid = self.grid(request)
        gating = Gating(self.paper, self.references, grid, self.before)
        found = [row for cell in self.cells for row in self._rows(cell, grid, gating)]
        rows = frames.rows_of(found)
        chance = frames.spreads(rows["metric"], found)
        found = [{**row, "spread": chance.get(str(row.get("metric")), 0.0)} for row in found]
        return frames.finish(rows, found, request.profile)

    def where(self, cell: Cell) -> dict[str, Any]:
        """What a cell itself says of where its rows stand."""
        names = {axis: getattr(cell, axis) for axis in AXES}
        asked = {"target": cell.options.get("target"), "poisoning_rate": cell.options.get("rate")}
        return {**names, **asked, **self.axes(cell)}

    def _rows(self, cell: Cell, grid: Grid, gating: Gating) -> list[dict[str, Any]]:
        """The rows of one cell; without a result one that says why."""
        where = self.where(cell)
        answer = grid.answer(cell)
        points = self.measure(cell, answer.results) if answer.results else []
        if not points:
            reason = answer.reason or "the result does not hold what the figure shows"
            said = verdict.NOT_COMPARABLE if answer.results else verdict.NOT_RUN
            made = {"verdict": said, "reason": reason, "results": frames.hashes_of(answer.results)}
            return [{**where, **frames.entry([]), **made}]
        machines = ", ".join(dict.fromkeys(map(frames.machine_of, answer.results)))
        reason = "; ".join(filter(None, (answer.reason, frames.NO_NUMBER)))
        added: dict[str, Any] = {"ran_on": machines, "verdict": verdict.NOT_COMPARABLE, "reason": reason}
        added |= {"source": frames.sources_of(answer.results), "results": frames.hashes_of(answer.results)}
        gate = Gate() if mode_of(grid.request.profile) == "none" else gating.gate(cell, answer)
        return [{**where, **point, **added, "gate": gate.of(str(point["metric"]))} for point in points]


@dataclass(frozen=True)
class Paper:
    """A paper: key, title, exhibits in the paper's order; those that nobody wrote are listed as not there yet."""

    key: str
    written: tuple[Exhibit, ...]

    @property
    def title(self) -> str:
        return TITLES[self.key]

    @cached_property
    def exhibits(self) -> tuple[Exhibit, ...]:
        by_key = {exhibit.key: exhibit for exhibit in self.written}
        keys = list(printed.exhibits(self.key).index)
        for name in by_key:
            check_choice(f"exhibit of {self.key!r}:", name, keys)
        return tuple(by_key.get(name) or Exhibit(paper=self.key, key=name) for name in keys)

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
