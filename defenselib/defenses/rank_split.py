"""Cutting a training set by the rank of a score into clean, poisoned and uncertain samples (D-ST/D-BR, Alg. 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.errors import InvalidValueError

TIES = ("shuffle", "threshold")


@dataclass(frozen=True)
class Split:
    """The three parts of a training set, sorted int64 positions, and the scores (N,) that made it: high is poison."""

    clean: Tensor
    poison: Tensor
    uncertain: Tensor
    scores: Tensor

    def metrics(self, labels: Tensor, classes: int) -> dict[str, float]:
        """The scores between which the parts lie, and how many labels have no sample in the clean part."""
        counts = torch.bincount(labels[self.clean], minlength=classes)
        found = {"classes_not_in_clean": float((counts == 0).sum())}
        if len(self.clean):
            found["gamma_c"] = self.scores[self.clean].max().item()
        if len(self.poison):
            found["gamma_p"] = self.scores[self.poison].min().item()
        return found


def split_by_rank(
    values: Tensor, clean_share: float, poison_share: float, ties: str, generator: torch.Generator
) -> Split:
    """The lowest share is clean, the highest poisoned, the rest uncertain (Alg. 1, lines 7 to 17).

    ties "shuffle": exactly floor(share * N) samples each, equal values in random order. "threshold": as the algorithm
    is printed, all values up to the one at rank clean_share * N, and of the others all from the one at rank
    (1 - poison_share) * N on: with many equal values far more than the shares. Raises InvalidValueError for NaN.
    """
    n, device = len(values), values.device
    if values.isnan().any():
        raise InvalidValueError("a score is NaN; lower sd_learning_rate or use fp32")
    # The small number undoes what binary fractions lose: 0.29 * 100 is 28.999...
    few, many = (int(share * n + 1e-9) for share in (clean_share, poison_share))
    part = torch.zeros(n, dtype=torch.int64, device=device)
    if ties == "shuffle":
        mixed = torch.randperm(n, generator=generator, device=device)
        order = mixed[values[mixed].argsort(stable=True)]
        part[order[:few]], part[order[n - many :]] = 1, 2
    else:
        ranked = values.sort().values
        if many:
            part[values >= ranked[n - many]] = 2
        if few:
            part[values <= ranked[min(few, n - 1)]] = 1
    clean, poison, uncertain = (torch.nonzero(part == which).squeeze(1) for which in (1, 2, 0))
    return Split(clean, poison, uncertain, values)
