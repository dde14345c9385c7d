"""The defenses that are offered for data of one's own: what each needs, what its suspects are, and its score.

Offered are those that train on the suspect data; repairs of a finished model are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from defenselib.defenses import DEFENSES
from defenselib.errors import InvalidValueError, unknown

Scores = Mapping[str, Tensor]


@dataclass(frozen=True)
class Method:
    """A defense as it is offered.

    suspects: what the set of samples that it gives back is, in words. score: from the scores that it reports (by name,
    each (N,)) the one by which it judges, higher is more suspicious; None where it has none. score_words: what that is.
    passes: its hyper-parameters that count passes over the data, or moments in them. batches: batch sizes of passes
    whose number is tied to something else. stages: of its `Context`, in order, with the names that
    `experiments.schedule` has for what is done in them.
    """

    words: str
    stages: Mapping[str, tuple[str, ...]]
    passes: tuple[str, ...]
    suspects: str = ""
    score: Callable[[Scores], Tensor] | None = None
    score_words: str = ""
    batches: tuple[str, ...] = ()


def _least(name: str) -> Callable[[Scores], Tensor]:
    return lambda scores: -scores[name].float()


def _most(name: str) -> Callable[[Scores], Tensor]:
    return lambda scores: scores[name].float()


_SPLIT_STAGES = {"implant": ("implant",), "spread": ("spread",)}
_SPLIT_PASSES = ("sd_epochs", "sd_tuning_epochs", "sd_horizon")
_FCT = "how far transformations move its features (FCT)"

METHODS: Mapping[str, Method] = {
    "bsd": Method(
        words="bi-perspective splitting (Shen et al., 2025)",
        stages={
            "warmup": ("altruist, warm-up",),
            "bsd": ("altruist, main loop", "until OSS", "first pools", "completion", "drop"),
        },
        passes=("warmup_epochs",),
        batches=("altruistic_batch_size",),
        suspects="not in the clean pool of the last round",
        score=lambda scores: scores["loss"].float() - scores["altruistic_loss"].float(),
        score_words="loss of the main model minus loss of the model that was let be poisoned",
    ),
    "asd": Method(
        words="adaptive splitting (Gao et al., 2023)",
        stages={"asd": ("class-aware", "class-agnostic", "meta-split", "one virtual model")},
        passes=("virtual_epochs",),
        suspects="not in the clean pool of the last round",
        score=_most("final_loss"),
        score_words="symmetric cross-entropy of its label",
    ),
    "vab": Method(
        words="the Victim and the Beneficiary (Zhu et al., 2023)",
        stages={
            "warmup": ("Victim, first epoch",),
            "clean": ("Beneficiary, clean", "Victim, later"),
            "suppression": ("Beneficiary, suppression",),
        },
        passes=("warmup_epochs", "clean_epochs", "epochs", "milestones", "victim_interval"),
        suspects="the Victim is suspiciously sure about it",
        score=_least("entropy"),
        score_words="minus the entropy of the Victim's prediction",
    ),
    "dst": Method(
        words="distinguishment and secure training (Chen et al., 2022)",
        stages={**_SPLIT_STAGES, "ss-ctl": ("semi-contrast",), "linear": ("linear",)},
        passes=(*_SPLIT_PASSES, "epochs", "warmup", "linear_epochs"),
        suspects="among those that are most sensitive to transformations",
        score=_most("fct"),
        score_words=_FCT,
    ),
    "dbr": Method(
        words="distinguishment and backdoor removal (Chen et al., 2022)",
        stages={"before: train": ("before: train",), **_SPLIT_STAGES, "removal": ("unlearn", "relearn")},
        passes=(*_SPLIT_PASSES, "rounds"),
        suspects="among those that are most sensitive to transformations",
        score=_most("fct"),
        score_words=_FCT,
    ),
    "aabl": Method(
        words="adversarially robust anti-backdoor learning (Zhao and Wressnegger, 2024)",
        stages={"naive": ("naive",), "split": (), "adversarial": ("adversarial",)},
        passes=("naive_epochs", "epochs", "milestones"),
        suspects="resists a small perturbation, and was dropped",
        score=_least("vulnerability"),
        score_words="minus its loss under a small perturbation",
    ),
    "abl": Method(
        words="anti-backdoor learning (Li et al., 2021)",
        stages={"isolate": ("isolate",), "finetune": ("finetune",), "unlearn": ("unlearn",)},
        passes=("isolation_epochs", "finetuning_epochs", "milestones", "unlearning_epochs"),
        suspects="isolated: learned fastest of all",
        score=_least("isolation_loss"),
        score_words="minus its loss after a short training under gradient ascent",
    ),
    "dbd": Method(
        words="decoupling-based defense (Huang et al., 2022)",
        stages={"simclr": ("simclr",), "linear": ("linear",), "dbd": ("mixmatch",)},
        passes=("simclr_epochs", "simclr_warmup", "linear_epochs"),
        suspects="not in the clean half of the last round",
        score=_most("final_loss"),
        score_words="symmetric cross-entropy of its label",
    ),
    "cbd": Method(
        words="causality-inspired defense (Zhang et al., 2023)",
        stages={"backdoor": ("backdoor",), "train": ("train",)},
        passes=("backdoor_epochs", "epochs", "milestones"),
        score=_least("weight"),
        score_words="minus its weight in the loss of the clean model",
    ),
    "spectral": Method(
        words="spectral signatures (Tran et al., 2018)",
        stages={"before: train": ("before: train",), "train": ("retrain",)},
        passes=("epochs", "milestones"),
        suspects="largest signatures of its class, and was dropped",
        score=_most("spectral_signature"),
        score_words="spectral signature of its features",
    ),
    "none": Method(words="no defense", stages={"train": ("train",)}, passes=("epochs", "milestones")),
}


def needs_clean(name: str) -> bool:
    """Whether a defense asks for images that somebody vouches for."""
    return DEFENSES[name]().clean_request() is not None


def offered(clean: bool) -> tuple[str, ...]:
    """Names of the defenses that can be chosen with clean images at hand, or without."""
    return tuple(name for name in METHODS if clean or not needs_clean(name))


def check_defense(name: str, clean: bool) -> Method:
    """The method called `name`. Errors: UnknownNameError; InvalidValueError for one that needs clean images."""
    if name in DEFENSES and name not in METHODS:
        raise InvalidValueError(
            f"defense {name!r} is not offered for data of your own; choose one of {', '.join(offered(clean))}"
        )
    if name not in METHODS:
        raise unknown("defense", name, offered(clean))
    if needs_clean(name) and not clean:
        raise InvalidValueError(
            f"defense {name!r} needs images that you vouch for: give --clean DIR, with some of every class; without "
            f"them there are {', '.join(offered(clean))}"
        )
    return METHODS[name]
