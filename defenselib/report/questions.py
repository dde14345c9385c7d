"""The page "Questions that others asked": what the kept results say to public questions about the authors' codes."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from defenselib.experiments import Experiment, default_stores
from defenselib.experiments.measure.separation import poisoned_in, separation
from defenselib.experiments.result import Result
from defenselib.report.html import Html

PROFILES = ("laptop", "gpu")


def _kept(attack: str, defense: str, paper: str, seed: int) -> Iterator[Result]:
    """The kept results of a cell, at each profile that has one."""
    store = default_stores()
    for profile in PROFILES:
        cell = Experiment(attack=attack, defense=defense, paper=paper, profile=profile, seed=seed)
        found = store.get(cell.resolve())
        if found is not None:
            yield found


def _answer(sentences: list[str], asked: str) -> Html:
    told = " ".join(sentences) if sentences else f"Not run here yet: {asked}."
    return Html(f"<p>{escape(told)}</p>")


def distances(seed: int = 0) -> Html:
    """How many of FCT's distances are zero after the tuning, and how well they rank poison (D-BR, BadNets)."""
    said = []
    for result in _kept("badnets", "dbr", "dst_dbr", seed):
        starts = ("scores/fct_before/", "scores/fct/")
        named = [next((key for key in result.arrays if key.startswith(start)), "") for start in starts]
        if not all(named):
            continue
        before, after = (np.asarray(result.arrays[key], np.float64) for key in named)
        poisoned = poisoned_in(result, len(after))
        auc = [separation(values[poisoned], values[~poisoned]) for values in (before, after)]
        clean, poison = ((after[part] == 0).sum() for part in (~poisoned, poisoned))
        said.append(
            f"At {result.profile}, of {len(after):,} images: poison is above clean samples with an AUC of {auc[0]:.3f} "
            f"before the fine-tuning and of {auc[1]:.3f} after it. Then {clean:,} clean and {poison:,} poisoned ones "
            f"have a distance of exactly 0; the poisoned ones' median is {np.median(after[poisoned]):,.4g}."
        )
    return _answer(said, "D-BR under BadNets")


def unlearning(seed: int = 0) -> Html:
    """ACC and ASR of ABL through its last stage (BadNets, ASD's preset)."""
    said = []
    for result in _kept("badnets", "abl", "asd", seed):
        frame = result.history_frame()
        before = frame[frame["stage"] != "unlearn"].iloc[-1]
        steps = frame[frame["stage"] == "unlearn"]
        course = "; ".join(f"{acc:.1f} / {asr:.1f}" for acc, asr in zip(steps["acc"], steps["asr"], strict=True))
        found, isolated = result.metrics["suspects_poisoned"], result.metrics["isolated"]
        said.append(
            f"At {result.profile} the isolated part holds {found:.0f} poisoned samples of {isolated:.0f}. ACC / ASR "
            f"are {before.acc:.1f} / {before.asr:.1f} before the unlearning and, epoch by epoch, {course} in it."
        )
    return _answer(said, "ABL under BadNets")


def linear_stage(seed: int = 0) -> Html:
    """ASR of DBD after its second stage, whose linear layer sees all labels, and at the end."""
    said = []
    for attack, name in (("badnets", "BadNets"), ("blend", "Blend"), ("wanet", "WaNet")):
        for result in _kept(attack, "dbd", "asd", seed):
            frame = result.history_frame()
            last = frame[frame["stage"] == "linear"].iloc[-1]
            said.append(
                f"At {result.profile} under {name}, ACC / ASR are {last.acc:.1f} / {last.asr:.1f} after the linear "
                f"stage and {result.acc:.1f} / {result.asr:.1f} at the end."
            )
    return _answer(said, "DBD")
