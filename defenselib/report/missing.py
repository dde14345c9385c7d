"""One line in place of an empty table or figure: what was not run, and what it would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from defenselib import papers
from defenselib.experiments.store import Store, default_stores
from defenselib.papers import plan as plans
from defenselib.papers.costs import kind_of
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.grid import LEFT_OUT
from defenselib.papers.planned import Plan, Planned
from defenselib.plots import words
from defenselib.report.html import Html


@dataclass(frozen=True)
class Lacking:
    """What an exhibit lacks at a profile. trainings: cells that are missing, each seed once, with the models they start
    from; there: those that are not. seconds: of the missing ones on `machine`, one after the other. guessed: how many
    of them by other methods or machines. reasons: why numbers have no training at this profile, most frequent first."""

    profile: str
    machine: str
    trainings: int
    there: int
    seconds: float
    guessed: int
    reasons: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """ "48 trainings, about 9 hours"."""
        return f"{words.plural(self.trainings, 'training')}, {time(self.seconds, self.guessed, self.trainings)}"


def lacking(paper: str, exhibit: str, profile: str = "laptop", store: Store | None = None) -> Lacking:
    """What would have to be trained for an exhibit, what is thinned out at the profile included. machine: the kind that
    most results of the profile come from. Errors: UnknownNameError."""
    made = _plan(paper, profile, store, [exhibit])
    reasons = tuple(reason.removeprefix(LEFT_OUT) for reason, _ in Counter(made.left_out).most_common())
    return _lacking(made.cells, profile, made.machine, reasons)


def of_paper(paper: str, profile: str = "laptop", store: Store | None = None) -> dict[str, Lacking]:
    """`lacking` of each exhibit of a paper, by its key and without reasons; those that lack nothing are left out."""
    made = _plan(paper, profile, store)
    labels = dict.fromkeys(label for cell in made.missing for label in cell.exhibits)
    mine = {label: [cell for cell in made.cells if label in cell.exhibits] for label in labels}
    return {label.partition(" ")[2]: _lacking(cells, profile, made.machine) for label, cells in mine.items()}


def _plan(paper: str, profile: str, store: Store | None, exhibits: list[str] | None = None) -> Plan:
    where = store or default_stores()
    machine = usual_machine(profile, where)
    return plans.make([paper], [profile], store=where, machine=machine, everything=True, exhibits=exhibits)


def _lacking(cells: Sequence[Planned], profile: str, machine: str, reasons: tuple[str, ...] = ()) -> Lacking:
    lost = Plan(tuple(cells)).missing
    seconds, guessed = sum(cell.seconds for cell in lost), sum(bool(cell.guess) for cell in lost)
    return Lacking(profile, machine, len(lost), len(cells) - len(lost), seconds, guessed, reasons)


def usual_machine(profile: str, store: Store) -> str:
    """The kind of machine that most results of a profile were made on; of all profiles, where it has none."""
    results = list(store.results())
    mine = [result for result in results if result.profile == profile]
    counted = Counter(kind_of(result.machine) for result in mine or results)
    return min(counted, key=lambda kind: (-counted[kind], kind), default="unknown")


def command(paper: str, exhibits: Iterable[str], profile: str) -> str:
    """The two commands that run what exhibits lack at a profile, with what is left out unasked."""
    named = " ".join(f"--exhibit {key}" for key in exhibits)
    return (
        f"defenselib plan --paper {paper} {named} --profile {profile} --all --output plan.json"
        " && defenselib batch plan.json"
    )


def line(paper: str, exhibit: str, profile: str = "laptop", store: Store | None = None) -> Html:
    """ "Table 13: not run at profile laptop. 40 of its 44 trainings are missing, about 2 hours on one AMD EPYC: how".
    Errors: UnknownNameError."""
    shown = papers.get(paper).exhibit(exhibit)
    said, does = _said(shown, lacking(paper, exhibit, profile, store), store)
    code = f": <code>{escape(command(paper, [exhibit], profile))}</code>" if does else "."
    return Html(f'<p class="missing-line"><b>{escape(words.exhibit(exhibit))}</b>: {escape(said)}{code}</p>')


def _said(exhibit: Exhibit, found: Lacking, store: Store | None) -> tuple[str, bool]:
    """What is missing in words, and whether a command changes it."""
    if exhibit.status != "available":
        return exhibit.status, False
    ran = exhibit.reproduce(profile=found.profile, store=store)["reproduced"].notna()
    state = "not run" if not ran.any() else "run" if ran.all() else "run in part"
    why = f" ({'; '.join(found.reasons)})" if found.reasons else ""
    state = f"{state} at profile {found.profile}{why}"
    whole = found.there + found.trainings
    if not found.trainings:
        return f"{state}; {'all of its trainings are there' if whole else 'no training answers it there'}", False
    missing = f"All {whole} trainings are" if whole > 1 else "Its one training is"
    if found.there:
        missing = f"{found.trainings} of its {whole} trainings {'is' if found.trainings == 1 else 'are'}"
    return (
        f"{state}. {missing} missing, {time(found.seconds, found.guessed, found.trainings)} on one {found.machine}",
        True,
    )


def time(seconds: float, guessed: int, trainings: int) -> str:
    """ "about 9 hours", or "at a guess 9 hours" where most of the trainings are guessed."""
    return f"{'at a guess' if 2 * guessed > trainings else 'about'} {duration(seconds)}"


def duration(seconds: float) -> str:
    """ "40 minutes", "9 hours", "3 days": what a reader plans with."""
    if seconds < 5400:
        return words.plural(max(1, round(seconds / 60)), "minute")
    if seconds < 48 * 3600:
        return words.plural(round(seconds / 3600), "hour")
    return words.plural(round(seconds / 86400), "day")
