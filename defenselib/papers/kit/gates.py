"""What must hold before an attack success rate says anything about a defense.

A model that never names the target class has an ASR of 0, and so has every defense against an attack that never
worked. Both would pass for a defense that works. So, in percent:

- the attack took: the undefended model at the same profile has an ASR of at least 85. Where labels are kept, or the
  paper itself prints less than 85, half of what it prints is enough, if that is at least 50 and 30 points above what
  the same trigger does to a clean model.
- the target class lives: its recall under the defense is at least 30, and at least half of the undefended model's.
- no class is dead: none has a recall below 5 where the undefended model's is above 30. An accuracy says so; with no
  single target (all-to-all) it closes the gate as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from defenselib.experiments.result import Result

TOOK, TOOK_LEAST, RISE = 85.0, 50.0, 30.0  # percent; points above the clean model
TARGET_LEAST, TARGET_SHARE = 30.0, 0.5
DEAD, ALIVE = 5.0, 30.0


@dataclass(frozen=True)
class Gate:
    """closed: why neither a low ASR nor a DER counts, empty if they do. dead: classes that are gone. took: whether the
    attack did."""

    closed: str = ""
    dead: tuple[int, ...] = ()
    took: bool = True

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
    return not asr < max(TOOK_LEAST, printed / 2)


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
        return Gate("needs the undefended model under the same attack, which was not run", took=False)
    recall, before = _recall(defended), _recall(undefended)
    dead = tuple(
        place for place, (now, then) in enumerate(zip(recall, before, strict=True)) if now < DEAD and then > ALIVE
    )
    reasons = [took(fmean([one.asr for one in undefended]), printed, clean_label, clean_asr)]
    target = defended[0].experiment["target"]
    if target is None and dead:
        reasons.append(f"classes {', '.join(map(str, dead))} are below {DEAD:g} %")
    if target is not None:
        now, then = recall[target], before[target]
        if now < max(TARGET_LEAST, TARGET_SHARE * then):
            reasons.append(f"the target class is right in {now:.1f} % (undefended {then:.1f} %)")
    return Gate("; ".join(filter(None, reasons)), dead, took=not reasons[0])


def _recall(results: Sequence[Result]) -> list[float]:
    """Percent by class, mean over the seeds."""
    return [fmean(values) for values in zip(*(one.per_class for one in results), strict=True)]
