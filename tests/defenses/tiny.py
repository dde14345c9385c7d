"""For each defense the smallest settings in which everything it does still happens, and what its parameters need.

A new defense adds its lines here; tests/defenses/test_every_defense.py then covers it.
"""

from typing import Any

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
    "adv-train": {"epochs": 2, "batch_size": 32, "steps": 2},
    "bsd": {
        "warmup_epochs": 1, "altruistic_batch_size": 32, "stage1_end": 1, "pool_epochs": 1, "stage2_end": 3,
        "epochs": 4, "rampup": 4, "iterations": 1, "batch_size": 8,
    },
}  # fmt: skip

_CRITIC: dict[str, Any] = {"disentangle": True}

# A target that both models of BSD predict somewhere, and enough samples of it for distances to rank.
_BSD_TARGET = {"pseudo_target": 3, "beta": 0.5, "warmup_epochs": 6, "altruistic_learning_rate": 0.01}

# Settings beside which a hyper-parameter is tried, where it has no effect in the tiny ones (milestones of a schedule
# that has none), as (base, other): both are fitted and must differ.
BESIDE: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("none", "milestones"): ({"schedule": "step", "milestones": (1,)}, {"schedule": "step", "milestones": (2,)}),
    ("cbd", "disentangle_weight"): (_CRITIC, {**_CRITIC, "disentangle_weight": 0.1}),
    ("cbd", "critic_learning_rate"): (_CRITIC, {**_CRITIC, "critic_learning_rate": 0.1}),
    ("cbd", "critic_milestones"): (_CRITIC, {**_CRITIC, "critic_milestones": (1,)}),
    ("cbd", "critic_dropout"): (_CRITIC, {**_CRITIC, "critic_dropout": 0.5}),
    ("fp", "ratio"): ({"stop": "ratio", "ratio": 0.2}, {"stop": "ratio", "ratio": 0.6}),
    ("anp", "threshold"): ({"stop": "threshold", "threshold": 0.9}, {"stop": "threshold", "threshold": 1.0}),
    ("none", "schedule"): ({"schedule": "constant"}, {"schedule": "cosine"}),
    ("adv-train", "milestones"): ({"schedule": "step", "milestones": (1,)}, {"schedule": "step", "milestones": (2,)}),
    ("adv-train", "schedule"): ({"schedule": "constant"}, {"schedule": "cosine"}),
    ("bsd", "lga_gamma"): ({"target_vote": "isolation"}, {"target_vote": "isolation", "lga_gamma": 50.0}),
    ("bsd", "isolation"): ({"target_vote": "isolation"}, {"target_vote": "isolation", "isolation": 0.2}),
    ("bsd", "distance"): (_BSD_TARGET, {**_BSD_TARGET, "distance": "max"}),
    ("bsd", "completion"): ({"alpha": 0.9, "beta": 0.9}, {"alpha": 0.9, "beta": 0.9, "completion": False}),
    ("bsd", "completion_count"): ({"beta": 0.5}, {"beta": 0.5, "completion_count": "predictions"}),
    ("bsd", "dropping"): (_BSD_TARGET, {**_BSD_TARGET, "dropping": False}),
}
