"""The Victim of V&B (Zhu et al., ICCV 2023, Sec. 3.3, App. A.3): a network that is poisoned on purpose and tells which
samples it is suspiciously sure about.

Symbols of the paper: e = entropy, t_f = threshold, mu_1 and sigma_1 = mean and deviation of the lower component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.errors import TrainingDivergedError
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.supervised import supervised_epoch
from defenselib.models import Classifier

PLAIN = Augment(padding=0, flip=False)


def entropy(logits: Tensor) -> Tensor:
    """-sum_k p_k log p_k with p = softmax(logits), in nats (Eq. 1). (N, C) to (N,)."""
    log_p = F.log_softmax(logits.float(), 1)
    return -(log_p.exp() * log_p).sum(1)


def min_max(values: Tensor) -> Tensor:
    """Shifted and scaled to [0, 1]; equal values become 0. (N,) to (N,)."""
    low, high = values.aminmax()
    return (values - low) / (high - low + 1e-12)


def suppress(labels: Tensor, probabilities: Tensor) -> Tensor:
    """clip(labels - probabilities, 0, 1) (Eq. 10); the rows are not normalised again. (N, C) each."""
    return (labels - probabilities).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Mixture:
    """Two normal distributions, the one of lower mean first: means, deviations, weights."""

    mean: tuple[float, float]
    sd: tuple[float, float]
    weight: tuple[float, float]

    def below(self, deviations: float) -> float:
        """mu_1 + deviations * sigma_1."""
        return self.mean[0] + deviations * self.sd[0]

    def separated(self, deviations: float) -> bool:
        """Whether mu_1 + deviations * sigma_1 < mu_2."""
        return self.below(deviations) < self.mean[1]

    def density(self, values: ArrayLike) -> np.ndarray:
        """Weighted densities of both components, (2, N)."""
        x = np.asarray(values, dtype=np.float64)
        mean, sd, weight = (np.array(item)[:, None] for item in (self.mean, self.sd, self.weight))
        return np.asarray(weight * np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi)))


def fit_mixture(values: Tensor, seed: int) -> Mixture:
    """Fit a two-component Gaussian mixture to `values` (N,) by expectation maximisation (App. A.3)."""
    from sklearn.mixture import GaussianMixture  # a second to import, with SciPy's statistics

    found = GaussianMixture(2, random_state=seed % 2**32, max_iter=500).fit(values.double().cpu().numpy()[:, None])
    low, high = np.argsort(found.means_[:, 0])
    means, sds = found.means_[:, 0], np.sqrt(found.covariances_[:, 0, 0])

    def pair(items: np.ndarray) -> tuple[float, float]:
        return float(items[low]), float(items[high])

    return Mixture(pair(means), pair(sds), pair(found.weights_))


@dataclass
class Victim:
    """F_v, its optimizer, and in `memory` what it said last: all that a resumed run needs.

    memory: logits (N, C) of all samples as they are, entropy (N,) smoothed over the evaluations, suspicious bool (N,),
    rounds: evaluations so far, threshold: t_f of the last split.
    """

    model: Classifier
    optimizer: torch.optim.Optimizer
    batch_size: int
    smoothing: float
    train: ImageSet
    context: Context
    memory: dict[str, Tensor] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        return int(self.memory["rounds"])

    @property
    def threshold(self) -> float:
        """t_f of the last split; NaN where a mixture made it."""
        return float(self.memory["threshold"])

    @property
    def fixed(self) -> bool:
        """Whether a threshold has made the last split."""
        return "threshold" in self.memory and not math.isnan(self.threshold)

    @property
    def suspicious(self) -> Tensor:
        """D_s: int64 positions, ascending."""
        return self.memory["suspicious"].nonzero().squeeze(1)

    @property
    def credible(self) -> Tensor:
        """D_c, the rest."""
        return (~self.memory["suspicious"]).nonzero().squeeze(1)

    def train_epoch(self) -> float:
        """One epoch on the suspicious samples, all of them at first, without augmentation (Eq. 2): the mean loss."""
        chosen = self.train if "suspicious" not in self.memory else self.train.select(self.suspicious)
        if not len(chosen):
            return 0.0  # the threshold lies below every sample: nothing to learn from
        return supervised_epoch(
            self.model, self.optimizer, chosen, self.context, PLAIN, self.batch_size, stream="victim"
        )

    def judge(self) -> Tensor:
        """Look at every sample in evaluation mode: the entropies of this look alone, in nats, (N,)."""
        logits = infer(self.model, self.train.images, self.context, lambda found, _: found)
        seen = entropy(logits)
        before = self.memory.get("entropy", seen)
        rounds = self.memory.get("rounds", torch.zeros((), dtype=torch.int64)) + 1
        smooth = torch.lerp(before, seen, self.smoothing)
        self.memory |= {"logits": logits, "entropy": smooth, "rounds": rounds}
        return seen

    def normalised(self) -> Tensor:
        """e: the smoothed entropies scaled to [0, 1], (N,)."""
        return min_max(self.memory["entropy"])

    def probabilities(self, temperature: float) -> Tensor:
        """softmax(logits / temperature) of the last look, (N, C)."""
        return (self.memory["logits"] / temperature).softmax(1)

    def update(self) -> None:
        """An epoch on the suspicious samples, a look, a new split by the same threshold."""
        self.train_epoch()
        self.judge()
        self.split(self.threshold)

    def report(self, stage: str, scores: bool = False) -> None:
        """Tell whoever watches the pools that hold now, and the entropies behind them."""
        if scores:
            self.context.observe("scores", name="entropy", epoch=self.rounds, values=self.normalised())
        self.context.observe("split", stage=stage, epoch=self.rounds, clean=self.credible, poison=self.suspicious)

    def split(self, threshold: float) -> None:
        """Suspicious is who lies below the threshold (Sec. 3.3)."""
        self._choose(self.normalised() < threshold, threshold)

    def split_by(self, mixture: Mixture) -> None:
        """Suspicious is who more probably belongs to the lower component (App. A.3)."""
        values = self.normalised()
        low, high = mixture.density(values.cpu().numpy())
        self._choose(torch.from_numpy(low > high).to(values.device), float("nan"))

    def _choose(self, suspicious: Tensor, threshold: float) -> None:
        if bool(suspicious.all()):
            raise TrainingDivergedError(
                "the Victim is as sure about every sample, so that no credible one is left; lower threshold"
            )
        self.memory |= {"suspicious": suspicious, "threshold": torch.tensor(threshold)}
