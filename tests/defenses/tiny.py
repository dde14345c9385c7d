"""For each defense the smallest settings in which everything it does still happens, and what its parameters need.

A new defense adds its lines here; tests/defenses/test_every_defense.py then covers it.
"""

from typing import Any

from defenselib import data
from defenselib.data.types import PoisonedDataset
from defenselib.defenses import Defense
from defenselib.experiments import clean


def granted(defense: Defense, poisoned: PoisonedDataset, device: str = "cpu") -> dict[str, Any]:
    """The clean samples of a defense, as a `Context` takes them."""
    request = defense.clean_request()
    if request is None:
        return {}
    other = data.load_dataset(request.source, limit=64, seed=1).train.to(device) if request.source else None
    given, index = clean.serve(request, poisoned, 0, other)
    return {"clean": given, "clean_index": index}


# 64 images of 10 classes, two iterations or so of each stage.
TINY: dict[str, dict[str, Any]] = {
    "none": {"epochs": 2, "batch_size": 32},
    "ft": {"clean_share": 0.3, "epochs": 2, "batch_size": 10},
    "fp": {"clean_share": 0.6, "epochs": 2, "batch_size": 10, "step_ratio": 0.2, "holdout": 0.5},
    "nad": {"clean_share": 0.3, "epochs": 2, "teacher_epochs": 2, "batch_size": 10, "learning_rate": 0.1},
    "anp": {
        "clean_share": 0.6, "iterations": 3, "batch_size": 8, "learning_rate": 1.0, "holdout": 0.5, "acc_drop": 0.8,
    },
    "mcr": {
        "clean_share": 0.3, "epochs": 2, "curve_epochs": 2, "batch_size": 10, "curve_batch_size": 10,
        "curve_learning_rate": 0.01,
    },
    "abl": {
        "isolation_epochs": 1, "finetuning_epochs": 2, "unlearning_epochs": 1, "isolated_share": 0.1, "batch_size": 16,
        "milestones": (1,), "gamma": 2.0,
    },
    "cbd": {"backdoor_epochs": 1, "epochs": 2, "batch_size": 16, "milestones": (1,)},
    "spectral": {"epochs": 2, "batch_size": 16, "milestones": (1,)},
    "dbd": {
        "simclr_epochs": 2, "simclr_batch_size": 32, "linear_epochs": 1, "linear_batch_size": 32, "epochs": 2,
        "rampup": 2, "iterations": 2, "batch_size": 8,
    },
    "dbd-meta-split": {
        "simclr_epochs": 2, "simclr_batch_size": 32, "linear_epochs": 1, "linear_batch_size": 32, "split_epochs": 1,
        "epochs": 2, "rampup": 2, "iterations": 2, "batch_size": 8, "virtual_batch_size": 32, "virtual_layers": 1,
    },
    "simclr-baseline": {
        "epochs": 3, "batch_size": 32, "warmup": 1, "linear_epochs": 2, "linear_batch_size": 32,
        "linear_learning_rate": 0.5,
    },
    "supcon-baseline": {
        "epochs": 3, "batch_size": 32, "warmup": 1, "linear_epochs": 2, "linear_batch_size": 32,
        "linear_learning_rate": 0.5,
    },
    "asd": {
        "seeds_per_class": 2, "growth_per_class": 1, "growth_every": 1, "stage1_end": 2, "stage2_end": 3, "epochs": 4,
        "rampup": 4, "iterations": 2, "batch_size": 8, "virtual_batch_size": 32, "virtual_layers": 1,
    },
    "dst": {
        "clean_share": 0.5, "poison_share": 0.1, "sd_epochs": 1, "sd_tuning_epochs": 2, "sd_batch_size": 16,
        "epochs": 3, "batch_size": 32, "warmup": 1, "linear_epochs": 2, "linear_batch_size": 32,
        "linear_learning_rate": 0.5,
    },
    "dbr": {
        "clean_share": 0.5, "poison_share": 0.1, "sd_epochs": 1, "sd_tuning_epochs": 2, "sd_batch_size": 16,
        "rounds": 2, "batch_size": 16, "learning_rate": 0.01,
    },
    "vab": {
        "warmup_epochs": 2, "threshold": 0.5, "victim_batch_size": 32, "victim_interval": 1, "clean_epochs": 1,
        "epochs": 3, "batch_size": 16, "milestones": (1,),
    },
    "adv-train": {"epochs": 2, "batch_size": 32, "steps": 2},
    "aabl": {"naive_epochs": 1, "split_steps": 2, "epochs": 2, "batch_size": 32, "steps": 2},
    "bsd": {
        "warmup_epochs": 1, "altruistic_batch_size": 32, "stage1_end": 1, "pool_epochs": 1, "stage2_end": 3,
        "epochs": 4, "rampup": 4, "iterations": 1, "batch_size": 8,
    },
}  # fmt: skip

# Mixtures that are never apart, and ones that always are.
_NEVER_APART: dict[str, Any] = {"warmup": "automatic", "automatic_epochs": 2, "separation": 1000.0}
_APART: dict[str, Any] = {**_NEVER_APART, "separation": 0.0}

_CRITIC: dict[str, Any] = {"disentangle": True}

# Enough samples of BSD's target for distances to rank; a pool of nearly all, in which both models predict it somewhere.
_BSD_TARGET = {"pseudo_target": 3, "beta": 0.5, "warmup_epochs": 6, "altruistic_learning_rate": 0.01}
_BSD_SEEN = {**_BSD_TARGET, "alpha": 0.95}

# A pool so small, and models so far trained, that one class falls behind.
_BSD_POOL = {"alpha": 0.6, "beta": 0.6, "warmup_epochs": 6}

# Clean samples of another data set; one stage of the pre-training is as short as it can be.
_SEEDED: dict[str, Any] = {"seed_source": "shapes", "transfer_epochs": 1}

# Settings beside which a hyper-parameter is tried, where it has no effect in the tiny ones (milestones of a schedule
# that has none), as (base, other): both are fitted and must differ.
BESIDE: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("none", "milestones"): ({"schedule": "step", "milestones": (1,)}, {"schedule": "step", "milestones": (2,)}),
    ("asd", "seed_source"): ({}, _SEEDED),
    ("asd", "transfer_epochs"): (_SEEDED, {**_SEEDED, "transfer_epochs": 2}),
    ("asd", "linear_epochs"): (_SEEDED, {**_SEEDED, "linear_epochs": 2}),
    ("cbd", "disentangle_weight"): (_CRITIC, {**_CRITIC, "disentangle_weight": 0.1}),
    ("cbd", "critic_learning_rate"): (_CRITIC, {**_CRITIC, "critic_learning_rate": 0.1}),
    ("cbd", "critic_milestones"): (_CRITIC, {**_CRITIC, "critic_milestones": (1,)}),
    ("cbd", "critic_dropout"): (_CRITIC, {**_CRITIC, "critic_dropout": 0.5}),
    ("fp", "ratio"): ({"stop": "ratio", "ratio": 0.2}, {"stop": "ratio", "ratio": 0.6}),
    ("anp", "threshold"): ({"stop": "threshold", "threshold": 0.9}, {"stop": "threshold", "threshold": 1.0}),
    ("none", "schedule"): ({"schedule": "constant"}, {"schedule": "cosine"}),
    ("adv-train", "milestones"): ({"schedule": "step", "milestones": (1,)}, {"schedule": "step", "milestones": (2,)}),
    ("adv-train", "schedule"): ({"schedule": "constant"}, {"schedule": "cosine"}),
    ("aabl", "milestones"): ({"schedule": "step", "milestones": (1,)}, {"schedule": "step", "milestones": (2,)}),
    ("aabl", "schedule"): ({"schedule": "constant"}, {"schedule": "cosine"}),
    # A step as long as the ball's radius or longer ends at its border whatever its length.
    ("aabl", "split_step"): ({"split_step": 0.5}, {"split_step": 0.25}),
    ("aabl", "split_steps"): ({"split_step": 0.5}, {"split_step": 0.5, "split_steps": 1}),
    ("aabl", "bins"): ({"bins": 2}, {"bins": 3}),
    ("aabl", "lowest"): ({"lowest": 0.1}, {"lowest": 0.9}),
    ("aabl", "highest"): ({"highest": 0.9}, {"highest": 0.2}),
    ("vab", "automatic_epochs"): (_NEVER_APART, {**_NEVER_APART, "automatic_epochs": 3}),
    ("vab", "separation"): (_NEVER_APART, _APART),
    ("vab", "margin"): (_APART, {**_APART, "margin": 1.5}),
    ("vab", "mixing_alpha"): ({"augmentation": "mixup"}, {"augmentation": "mixup", "mixing_alpha": 0.2}),
    ("vab", "attentive_share"): (
        {"augmentation": "attentive-cutmix"},
        {"augmentation": "attentive-cutmix", "attentive_share": 0.6},
    ),
    ("bsd", "lga_gamma"): ({"target_vote": "isolation"}, {"target_vote": "isolation", "lga_gamma": 50.0}),
    ("bsd", "isolation"): ({"target_vote": "isolation"}, {"target_vote": "isolation", "isolation": 0.2}),
    ("bsd", "distance"): (_BSD_TARGET, {**_BSD_TARGET, "distance": "max"}),
    ("bsd", "completion"): (_BSD_POOL, {**_BSD_POOL, "completion": False}),
    ("bsd", "completion_count"): ({"beta": 0.5}, {"beta": 0.5, "completion_count": "predictions"}),
    ("bsd", "dropping"): (_BSD_SEEN, {**_BSD_SEEN, "dropping": False}),
}
