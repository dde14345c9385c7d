"""Which training answers a number of BSD's tables (Shen et al., ICML 2025)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from defenselib.attacks import ATTACKS
from defenselib.papers.bsd import printed as bsd_printed
from defenselib.papers.kit import exhibit as base
from defenselib.papers.kit.grid import Cell

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

Row = Mapping[str, Any]
Answerer = Callable[[Row], Cell | str | None]
USUAL_MODEL = "resnet18"  # which a profile may replace by its own
FORCED = 3  # Fig. 10: the label that BSD is made to take for the target; also the papers' usual target
WARMUP = 45  # Table 8: the longest warm-up; an epoch of it does not depend on how many follow
NO_BENCH = "BackdoorBench's default setting, which the paper does not describe"
WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "init": {"initial_pool": "random"},
    "comp": {"completion": False},
    "drop": {"dropping": False},
}
# Table 13, 14: BackdoorBench's defaults are those of the method here; the rest of the paper prunes a fixed share.
FP_BENCH: Mapping[str, Any] = {"layer": "linear", "stop": "accuracy", "epochs": 100, "schedule": "cosine"}


def settings(variant: object) -> dict[str, str]:
    """ "alpha=0.3;beta=0.2" as a dictionary; empty for a missing variant."""
    return dict(part.split("=", 1) for part in variant.split(";")) if isinstance(variant, str) else {}


def usual(row: Row, **options: Any) -> Cell:
    """The cell of a row: its network, target and rate where they are not the attack's usual ones, and `options`."""
    plan = ATTACKS[row["attack"]].presets["bsd"].plan if row["attack"] in ATTACKS else None
    if row["model"] != USUAL_MODEL:
        options["model"] = row["model"]
    target, rate = str(row["target"]), row["poisoning_rate"]
    if target.replace(".0", "").isdigit() and plan is not None and int(float(target)) != plan.target:
        options["target"] = int(float(target))
    if plan is not None and rate == rate and float(rate) != plan.rate:
        options["rate"] = float(rate)
    return Cell(str(row["dataset"]), str(row["attack"]), str(row["defense"]), options)


def searched(table: str) -> Answerer:
    """Tables 2 and 3: the baselines print the best of their searches, at the setting found best there."""

    def cell(row: Row) -> Cell:
        chosen = bsd_printed.best_setting(table, str(row["defense"]), str(row["attack"]))
        found = search({**row, "variant": chosen}) if chosen else usual(row)
        return usual(row) if isinstance(found, str) else found

    return cell


def search(row: Row) -> Cell | str:
    """Tables 13 to 20."""
    ((name, value),) = settings(row["variant"]).items()
    if name == "prune_ratio":
        return usual(row, defense_args=FP_BENCH if value == "default" else {"ratio": float(value)})
    if name == "beta":
        # BackdoorBench's weights are the defaults here. A single printed weight stands for both stages.
        return usual(row) if value == "default" else usual(row, defense_args={"beta": (float(value),) * 2})
    if name == "gamma" and value != "default":
        return usual(row, defense_args={"gamma": float(value)})
    return usual(row) if value == "default2" else NO_BENCH


def ablated(row: Row) -> Cell:
    """Tables 6 and 7."""
    chosen = settings(row["variant"])
    if "without" in chosen:
        return usual(row, defense_args=WITHOUT[chosen["without"]])
    if "alpha" in chosen:
        return usual(row, defense_args={name: float(value) for name, value in chosen.items()})
    return usual(row)


def timed(row: Row) -> Cell:
    """Table 5, and the time column of Table 9: the attack is not stated, BadNets is the natural choice."""
    return usual({**row, "attack": "badnets"}) if row["metric"] == "hours" else usual(row)


def isolated(row: Row) -> Cell:
    """Table 8: one long warm-up answers for every length."""
    return usual(row, defense_args={"target_vote": "isolation", "warmup_epochs": WARMUP}, stop_after="warmup")


def isolation_of(row: Row, result: Result) -> float:
    """After so many epochs of local gradient ascent: poisoned samples among the isolated, or is the vote right."""
    last = int(settings(row["variant"])["warmup_epochs"]) - 1
    found = [entry for entry in result.history if entry["stage"] == "warmup" and entry["epoch"] == last]
    if not found:
        return float("nan")
    if row["metric"] == "correct":
        return float(found[0]["vote"] == result.experiment["target"])
    return float(result.poisoned_count - found[0]["clean_poisoned"])


def guessed(row: Row) -> Cell:
    """Table 11: the warm-up alone."""
    return usual(row, stop_after="warmup")


def guess_of(row: Row, result: Result) -> float:
    """Whether the target label was found."""
    guess = result.metrics.get("target_guess")
    return float("nan") if guess is None else float(guess == result.experiment["target"])


def all_to_all(row: Row) -> Cell:
    """Table 12: OSS with every class as target, no stage 3 (App. D.8)."""
    found = Cell(str(row["dataset"]), str(row["attack"]), str(row["defense"]))
    return (
        Cell(found.dataset, found.attack, "bsd", {"defense_args": {"all_to_all": True}})
        if found.defense == "bsd"
        else found
    )


def before_at_3(cell: Cell) -> Cell:
    """Table 4: every DER is taken against the undefended model of target 3, as its printed numbers are."""
    return base.undefended(Cell(cell.dataset, cell.attack, cell.defense))
