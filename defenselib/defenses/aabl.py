"""A-ABL: adversarially robust anti-backdoor learning (Zhao, Wressnegger, AISec 2024).

Symbols of the paper: D_vul = the samples kept after the split, D_rob = those removed (the suspects), gamma = the share
kept, bounded by lowest and highest; epsilon of the split = split_eps, of adversarial training = eps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.defenses.aabl_split import SPLITS, NaiveTraining, Vulnerability, keep_vulnerable
from defenselib.defenses.adv_train import Adversarial, AdversarialTraining
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.distinguish import Distinguishing
from defenselib.defenses.none import Undefended
from defenselib.errors import InvalidValueError, check_choice
from defenselib.learning.context import Context
from defenselib.learning.settings import part_of
from defenselib.models import Classifier

TRAININGS = ("adversarial", "naive")
# Table 4: what D-ST's first module believes to be clean, and that with what it is uncertain about.
DST_PARTS = ("dst-clean", "dst-clean-uncertain")


@dataclass(frozen=True, kw_only=True)
class AABL(Adversarial):
    """Drop what resists a small perturbation, then train adversarially on the rest (A-ABL Sec. 5).

    Stages: "naive" trains a model on everything by Adam; "split" scores every sample by its symmetric cross-entropy
    under iFGSM and removes those below Otsu's threshold; "adversarial" trains a new model on the others by PGD, as
    `adv-train` does on all. training: "naive" puts plain training in the place of the last stage (Table 2; stage
    "train"). split: "ifgsm"; an augmentation (Table 5); or "dst-clean" and "dst-clean-uncertain", parts of D-ST's split
    without a naive model (Table 4), where ties stay together as the sizes in that table imply. eps and step, split_eps
    and split_step are in grey levels of 255; lowest and highest bound the share that is kept.

    Where the paper is silent: batches of 128, SGD with momentum 0.9 and weight decay 5e-4, random crop and flip in both
    trainings, Adam without weight decay, SCE weights as in ASD, Otsu over 256 bins, images as stored in the split.
    """

    name = "aabl"

    naive_epochs: int = 20
    naive_learning_rate: float = 0.001
    split: str = "ifgsm"
    split_eps: float = 2.0
    split_step: float = 2.0
    split_steps: int = 5
    sce_alpha: float = 0.1
    sce_beta: float = 1.0
    bins: int = 256
    lowest: float = 0.1
    highest: float = 0.9
    training: str = "adversarial"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.naive()
        check_choice("split", self.split, (*SPLITS, *DST_PARTS))
        self.vulnerability()
        check_choice("training", self.training, TRAININGS)
        if not 0.0 < self.lowest <= self.highest <= 1.0:
            raise InvalidValueError(
                f"lowest {self.lowest} and highest {self.highest} must lie in (0, 1], lowest not above highest"
            )
        if self.bins < 2:
            raise InvalidValueError(f"bins is {self.bins}, it must be at least 2")

    def naive(self) -> NaiveTraining:
        """The settings of the first stage."""
        return NaiveTraining(
            self.naive_epochs, self.naive_learning_rate, self.batch_size, self.padding, self.padding_mode
        )

    def vulnerability(self) -> Vulnerability:
        """The score of the second stage."""
        split = "ifgsm" if self.split in DST_PARTS else self.split
        return Vulnerability(split, self.split_eps, self.split_step, self.split_steps, self.sce_alpha, self.sce_beta)

    def last_stage(self) -> AdversarialTraining | Undefended:
        """What the samples kept are trained with."""
        return part_of(self, AdversarialTraining) if self.training == "adversarial" else part_of(self, Undefended)

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        if self.split in DST_PARTS:
            kept = self.clean_by_dst(train, build_model, context)
        else:
            kept = self.vulnerable(self.naive().fit(train, build_model, context), train, context)
        fitted = self.last_stage().fit(train.select(kept).channels_last(), build_model, context)
        removed = train.labels.new_ones(len(train)).index_fill(0, kept, 0)
        fitted.suspects = removed.nonzero().flatten()
        return fitted

    def clean_by_dst(self, train: ImageSet, build_model: BuildModel, context: Context) -> Tensor:
        """Positions that D-ST believes to be clean, or does not suspect, int64, sorted (Table 4)."""
        parts = Distinguishing(ties="threshold").distinguish(train, build_model, context)
        index = parts.clean if self.split == "dst-clean" else torch.cat([parts.clean, parts.uncertain]).sort().values
        context.observe("kept", index=index)
        return index

    def vulnerable(self, naive: Classifier, train: ImageSet, context: Context) -> Tensor:
        """Positions of D_vul, int64, sorted (Sec. 5.2)."""
        split: dict[str, Tensor] = {}  # part of the state: a run killed in the last stage keeps its split
        for epoch in context.epochs("split", 1, model=naive, split=split):
            scores = self.vulnerability()(naive, train, context)
            kept = keep_vulnerable(scores, self.lowest, self.highest, self.bins)
            split["kept"] = kept.index
            context.observe("scores", name="vulnerability", epoch=epoch, values=scores)
            context.observe("split", stage="split", epoch=epoch, clean=kept.index, scores=scores)
            context.observe("epoch", stage="split", epoch=epoch, model=naive)
            numbers = {"otsu_gamma": kept.otsu_gamma, "cut": kept.cut, "otsu_cut": kept.otsu_cut}
            context.observe("kept", index=kept.index, **numbers)
        return split["kept"]
