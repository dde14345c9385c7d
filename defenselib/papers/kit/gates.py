"""What must hold before an attack success rate says anything about a defense.

A model that never names the target class has an ASR of 0, and so has every defense against an attack that never
worked. Both would pass for a defense that works. So, in percent:

- the attack took: the undefended model at the same profile has an ASR of at least 85. Where labels are kept, or the
  paper itself prints less than 85, at least 50 and 30 points above what the same trigger does to a clean model are
  enough. What a method found of the poison (`verdict.OF_POISON`) needs it too: what no network learns is no backdoor.
- the target class lives: its recall under the defense is at least 30, and at least half of the undefended model's.
- no class is dead: none has a recall below 5 where the undefended model's is above 30. An accuracy says so; with no
  single target (all-to-all) it closes the gate as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from defenselib.attacks import ATTACKS
from defenselib.experiments.result import Result
from defenselib.papers.kit.frame import mean_of
from defenselib.papers.kit.grid import Answer, Grid
from defenselib.papers.kit.printed import undefended as undefended_in_print
from defenselib.papers.kit.request import Cell
from defenselib.papers.kit.verdict import OF_POISON, TOOK

TOOK_LEAST, RISE = 50.0, 30.0  # percent; points above the clean model
TARGET_LEAST, TARGET_SHARE = 30.0, 0.5
DEAD, ALIVE = 5.0, 30.0
SAME_DATA = ("rate", "target", "attack_args", "model")
Before = Callable[[Cell], tuple[Cell, ...]]


@dataclass(frozen=True)
class Gate:
    """missed: why the attack did not take, empty if it did. dying: what else keeps a low ASR or a DER from counting.
    dead: classes that are gone."""

    missed: str = ""
    dying: str = ""
    dead: tuple[int, ...] = ()

    @property
    def took(self) -> bool:
        return not self.missed

    @property
    def closed(self) -> str:
        """Why neither a low ASR nor a DER counts, empty if they do."""
        return "; ".join(filter(None, (self.missed, self.dying)))

    def of(self, metric: str) -> str:
        """Why a number of this metric does not count, or does not if it is low (ASR); empty if it does."""
        if metric == "der":
            return "; ".join(filter(None, (self.closed, self.words)))
        return self.closed if metric == "asr" else self.missed if metric in OF_POISON else ""

    @property
    def words(self) -> str:
        """What an accuracy must say: "2 classes are at 0: 3, 5"."""
        listed = ", ".join(map(str, self.dead))
        return f"{len(self.dead)} class{'es' * (len(self.dead) > 1)} below {DEAD:g} %: {listed}" if self.dead else ""


def undecided(asr: float, printed: float, clean_label: bool) -> bool:
    """Whether only what the trigger does to a clean model says if an attack of this undefended ASR took; with NaN,
    whether it may come to that. printed, clean_label: as those of `took`."""
    if asr >= TOOK or math.isnan(printed) or not (clean_label or printed < TOOK):
        return False
    return not asr < TOOK_LEAST


def took(asr: float, printed: float, clean_label: bool, clean_asr: Callable[[], float]) -> str:
    """Why an attack of this undefended ASR did not take; empty if it did. printed: the paper's ASR of it (NaN: none).
    clean_asr: the trigger's rate on a model without poison, asked only where it decides."""
    if asr >= TOOK:
        return ""
    reaches = f"the attack reaches {asr:.1f} % without defense"
    if not undecided(asr, printed, clean_label):
        return reaches
    clean = clean_asr()
    if math.isnan(clean):
        return f"{reaches}; what its trigger does to a clean model was not run"
    return "" if asr - clean >= RISE else f"{reaches}, {clean:.1f} % on a clean model"


def examine(
    defended: Sequence[Result],
    undefended: Sequence[Result],
    printed: float,
    clean_label: bool,
    clean_asr: Callable[[], float],
) -> Gate:
    """The gate of a defended cell: its results, those of the undefended model, the ASR that the paper prints for it."""
    if not defended or not undefended:
        return Gate("needs the undefended model under the same attack, which was not run")
    recall, before = _recall(defended), _recall(undefended)
    dead = tuple(
        place for place, (now, then) in enumerate(zip(recall, before, strict=True)) if now < DEAD and then > ALIVE
    )
    missed = took(fmean([one.asr for one in undefended]), printed, clean_label, clean_asr)
    target, dying = defended[0].experiment["target"], ""
    if target is None and dead:
        dying = f"classes {', '.join(map(str, dead))} are below {DEAD:g} %"
    if target is not None:
        now, then = recall[target], before[target]
        if now < max(TARGET_LEAST, TARGET_SHARE * then):
            dying = f"the target class is right in {now:.1f} % (undefended {then:.1f} %)"
    return Gate(missed, dying, dead)


def _recall(results: Sequence[Result]) -> list[float]:
    """Percent by class, mean over the seeds."""
    return [fmean(values) for values in zip(*(one.per_class for one in results), strict=True)]


def undefended(cell: Cell) -> Cell:
    """The undefended model of a cell: the same poisoned data, the same network."""
    return Cell(cell.dataset, cell.attack, "none", {k: cell.options[k] for k in SAME_DATA if k in cell.options})


def undefended_alone(cell: Cell) -> tuple[Cell, ...]:
    """The usual `Before`: this model and no other."""
    return (undefended(cell),)


def triggered(cell: Cell) -> Cell:
    """The trigger of a cell on a model without poison."""
    plain = undefended(cell)
    return Cell(plain.dataset, plain.attack, "none", {**plain.options, "rate": 0.0})


def keeps_labels(cell: Cell) -> bool:
    """Whether the attack of a cell poisons without touching a label."""
    kind = ATTACKS.get(cell.attack)
    return kind is not None and kind.clean_label


def printed_rate(paper: str, references: Sequence[str], cell: Cell) -> float:
    """The ASR without defense that the paper prints for a cell, in the first of the tables that does; else NaN."""
    name = cell.options.get("attack_args", {}).get("preset", cell.attack)
    asked = {"poisoning_rate": cell.options.get("rate"), "model": cell.options.get("model")}
    same = {column: value for column, value in asked.items() if value is not None}
    return undefended_in_print(paper, references, cell.dataset, name, "asr", same)


class Gating:
    """The undefended models and gates of an exhibit at one profile, each looked up once.

    before: the undefended cells of a cell, of which the first that has results counts: the same training, with more or
    less measured. references: tables that print undefended models.
    """

    def __init__(self, paper: str, references: Sequence[str], grid: Grid, before: Before = undefended_alone) -> None:
        self.paper = paper
        self.references = references
        self.grid = grid
        self.before = before
        self._gates: dict[Cell, Gate] = {}

    def plain(self, cell: Cell) -> Answer:
        """The undefended model's results."""
        cells = self.before(cell)
        # One by one: where they are to be run, the first is enough.
        answers = (self.grid.answer(one, partner=True) for one in cells)
        return next((one for one in answers if one.results), None) or self.grid.answer(cells[0], partner=True)

    def gate(self, cell: Cell, answer: Answer) -> Gate:
        """Open for an undefended model, and where nothing is attacked."""
        if "none" in (cell.defense, cell.attack) or not answer.results:
            return Gate()
        if cell not in self._gates:
            clean = triggered(cell)
            self._gates[cell] = examine(
                answer.results,
                self.plain(cell).results,
                printed_rate(self.paper, self.references, cell),
                keeps_labels(cell),
                lambda: mean_of(result.asr for result in self.grid.answer(clean, partner=True).results),
            )
        return self._gates[cell]
