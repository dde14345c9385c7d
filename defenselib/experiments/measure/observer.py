"""Watches a training run with the ground truth that the defense does not have, and writes down what figures need."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from defenselib.data.subset import spread_samples
from defenselib.data.types import PoisonedDataset
from defenselib.defenses.base import Fitted
from defenselib.errors import check_choice
from defenselib.learning.evaluation import evaluate

# ASD's "hard" samples: the 5,000 of largest loss among the clean ones of CIFAR-10's 50,000 (ASD Fig. 5b).
HARD_SHARE = 0.1
EVENTS = ("epoch", "split", "scores", "features", "kept", "target")
Probe = Callable[[nn.Module], dict[str, float]]
Watch = Callable[["Observer", Any, str, int], None]  # the observer, the model, stage and epoch


class Observer:
    """Receives a method's events, keeps a history and arrays; draws nothing, changes nothing.

    "epoch" (model, stage, epoch, numbers): a history row with ACC and ASR on `history_test` test images (spread
    evenly over the test set) and the numbers of the split reported before it. "split" (clean: int64 positions,
    scores (N,) or None): clean_size, clean_poisoned, clean_purity, hard_clean (of the tenth of clean samples with the
    largest scores, how many are in the pool). With `poison` (positions believed to be poisoned) the row and the metrics
    get clean_precision and poison_precision: percent of truly clean samples in the one, truly poisoned ones in the
    other; the metrics also clean_size, clean_poisoned and poison_size. A split with a `name` is a trial beside the
    method: its two precisions become the metrics `clean_precision/NAME` and `poison_precision/NAME`, nothing else.
    "scores" (name, epoch, values (N,)): the array `scores/NAME/EPOCH`. "features" (name, values (N, D), labels (N,)):
    the metric `d_intra/NAME`, the squared distance between the mean of the clean and the mean of the poisoned samples
    of a label (D-ST Eq. 6), mean over the labels that have both. "kept" (index, numbers): of a
    defense that drops samples before it trains, in percent: gamma (kept of all), rho_vul (poisoned of the kept),
    benign_kept, poison_kept, and its own numbers. "target" (guess): the class that a defense takes for the target.

    Raises UnknownNameError for another event.

    probe: further numbers of the model for every history row. watch: is called after every one, to keep more.
    """

    def __init__(
        self,
        poisoned: PoisonedDataset,
        history_test: int = 2000,
        bf16: bool = False,
        probe: Probe | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.history: list[dict[str, Any]] = []
        self.metrics: dict[str, float] = {}
        self.seconds = 0.0
        self._poisoned = poisoned
        self._glance = _thinned(poisoned, history_test) if history_test else None
        self._bf16 = bf16
        self._probe = probe
        self._watch = watch
        self._split: dict[str, Any] = {}
        self._pools: dict[str, Tensor] = {}
        self._scores: dict[str, Tensor] = {}

    def __call__(self, event: str, **what: Any) -> None:
        started = time.monotonic()
        handler = getattr(self, f"_on_{check_choice('event', event, EVENTS)}")
        with torch.no_grad():
            handler(**what)
        self.seconds += time.monotonic() - started

    def _on_epoch(self, model: nn.Module, stage: str, epoch: int, **numbers: Any) -> None:
        row: dict[str, Any] = {"stage": stage, "epoch": int(epoch)}
        if self._glance is not None:
            row |= self._look(model, self._glance)
        if self._probe is not None:
            row |= self._probe(model)
        row |= {key: float(value) for key, value in numbers.items()}
        self.history.append(row | self._split)
        self._split = {}
        if self._watch is not None:
            self._watch(self, model, stage, epoch)

    def _look(self, model: nn.Module, glance: PoisonedDataset) -> dict[str, float]:
        seen = evaluate(model, glance, bf16=self._bf16)
        return {"acc": seen.acc, "asr": seen.asr}

    def _on_split(
        self,
        clean: Tensor,
        epoch: int,
        scores: Tensor | None = None,
        poison: Tensor | None = None,
        name: str = "",
        **_: Any,
    ) -> None:
        poisoned = self._poisoned.is_poisoned
        precision = {} if poison is None else self._precisions(clean, poison)
        if name:
            self.metrics |= {f"{key}/{name}": value for key, value in precision.items()}
            return
        pool = torch.zeros_like(poisoned)
        pool[clean.to(pool.device)] = True
        size, bad = int(pool.sum()), int((pool & poisoned).sum())
        self._split = {
            "clean_size": size,
            "clean_poisoned": bad,
            "clean_purity": 1.0 - bad / size if size else float("nan"),
            **precision,
        }
        if poison is not None:
            counts = {"clean_size": float(size), "clean_poisoned": float(bad), "poison_size": float(len(poison))}
            self.metrics |= precision | counts
        if scores is not None:
            benign = torch.nonzero(~poisoned).squeeze(1)
            order = scores.to(pool.device)[benign].argsort(descending=True, stable=True)
            hard = benign[order[: round(HARD_SHARE * len(poisoned))]]
            self._split["hard_clean"] = int(pool[hard].sum())
        self._pools = {str(int(epoch)): pool.cpu()} | {k: v for k, v in self._pools.items() if k in self._epochs()}

    def _precisions(self, clean: Tensor, poison: Tensor) -> dict[str, float]:
        poisoned = self._poisoned.is_poisoned
        shares = {"clean_precision": ~poisoned[clean.to(poisoned.device)]}
        shares["poison_precision"] = poisoned[poison.to(poisoned.device)]
        return {key: 100 * right.double().mean().item() for key, right in shares.items()}

    def _on_kept(self, index: Tensor, **numbers: float) -> None:
        flags = self._poisoned.is_poisoned
        bad, all_bad = int(flags[index.to(flags.device)].sum()), int(flags.sum())
        self.metrics |= {
            "gamma": 100.0 * len(index) / len(flags),
            "rho_vul": 100.0 * bad / max(1, len(index)),
            "benign_kept": 100.0 * (len(index) - bad) / max(1, len(flags) - all_bad),
            "poison_kept": 100.0 * bad / all_bad if all_bad else float("nan"),
            **{key: float(value) for key, value in numbers.items()},
        }

    def _on_features(self, name: str, values: Tensor, labels: Tensor, **_: Any) -> None:
        poisoned = self._poisoned.is_poisoned.to(values.device)
        both = labels[poisoned].unique()
        means = [[values[(labels == label) & part].mean(0) for part in (poisoned, ~poisoned)] for label in both]
        apart = [(bad - good).square().sum() for bad, good in means]
        found = torch.stack(apart) if apart else values.new_full((1,), float("nan"))
        self.metrics[f"d_intra/{name}"] = float(found[found.isfinite()].mean())

    def _on_target(self, guess: int) -> None:
        self.metrics["target_guess"] = float(guess)

    def _on_scores(self, name: str, epoch: int, values: Tensor, **_: Any) -> None:
        # A sixteen-bit float has three digits, enough for a histogram, and makes files that can be committed.
        self._scores[f"{name}/{int(epoch)}"] = values.detach().float().clamp(-6e4, 6e4).half().cpu()

    def _epochs(self) -> set[str]:
        return {key.rpartition("/")[2] for key in self._scores}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`scores/NAME/EPOCH` float16 (N,); with them `is_poisoned` and `in_pool/EPOCH`, bool packed to bits
        (`numpy.unpackbits(..., count=N)`)."""
        if not self._scores:
            return {}
        result = {f"scores/{key}": value.numpy() for key, value in self._scores.items()}
        result["is_poisoned"] = np.packbits(self._poisoned.is_poisoned.cpu().numpy())
        for epoch, pool in self._pools.items():
            if epoch in self._epochs():
                result[f"in_pool/{epoch}"] = np.packbits(pool.numpy())
        return result

    @staticmethod
    def arrays_of(fitted: Fitted) -> dict[str, NDArray[Any]]:
        """What the defense itself gave back: `fitted/NAME`, and `suspects`, int32 positions."""
        arrays = {f"fitted/{name}": value.detach().cpu().numpy() for name, value in fitted.arrays.items()}
        if fitted.suspects is not None:
            arrays["suspects"] = fitted.suspects.cpu().to(torch.int32).numpy()
        return arrays

    def metrics_of(self, fitted: Fitted) -> dict[str, float]:
        """The defense's own numbers, and how many of its suspects are poisoned."""
        metrics = {name: float(value) for name, value in fitted.metrics.items()}
        if fitted.suspects is not None:
            metrics["suspects_poisoned"] = float(self._poisoned.is_poisoned[fitted.suspects].sum())
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Everything seen so far, for checkpoints."""
        return {
            "history": self.history,
            "metrics": self.metrics,
            "seconds": self.seconds,
            "split": self._split,
            "pools": self._pools,
            "scores": self._scores,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = list(state["history"])
        self.metrics = dict(state["metrics"])
        self.seconds = float(state["seconds"])
        self._split = dict(state["split"])
        self._pools = {key: value.cpu() for key, value in state["pools"].items()}
        self._scores = {key: value.cpu() for key, value in state["scores"].items()}


def _thinned(poisoned: PoisonedDataset, n: int) -> PoisonedDataset:
    """The same with n test images, and that share of the triggered ones."""
    share = min(1.0, n / max(1, len(poisoned.test)))
    test, triggered = (
        spread_samples(data, round(share * len(data))) for data in (poisoned.test, poisoned.triggered_test)
    )
    return replace(poisoned, test=test, triggered_test=triggered)
