"""Which gate stands before the numbers of a cell: from its undefended model, a clean one, and what the paper prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from defenselib.attacks import ATTACKS
from defenselib.papers.kit import printed
from defenselib.papers.kit.frame import mean_of
from defenselib.papers.kit.gates import Gate, examine
from defenselib.papers.kit.grid import Answer, Grid
from defenselib.papers.kit.request import Cell

SAME_DATA = ("rate", "target", "attack_args", "model")
Before = Callable[[Cell], tuple[Cell, ...]]


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
    return printed.undefended(paper, references, cell.dataset, name, "asr", same)


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
