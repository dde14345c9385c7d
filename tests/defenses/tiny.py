"""For each defense the smallest settings in which everything it does still happens, and what its parameters need.

A new defense adds its lines here; tests/defenses/test_every_defense.py then covers it.
"""

from typing import Any

# 64 images of 10 classes, two iterations or so of each stage.
TINY: dict[str, dict[str, Any]] = {
    "none": {"epochs": 2, "batch_size": 32},
    "asd": {
        "seeds_per_class": 2, "growth_per_class": 1, "growth_every": 1, "stage1_end": 2, "stage2_end": 3, "epochs": 4,
        "rampup": 4, "iterations": 2, "batch_size": 8, "virtual_batch_size": 32, "virtual_layers": 1,
    },
}  # fmt: skip

# Settings beside which a hyper-parameter is tried, where it has no effect in the tiny ones (milestones of a schedule
# that has none), as (base, other): both are fitted and must differ.
BESIDE: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("none", "milestones"): ({"schedule": "step", "milestones": (1,)}, {"schedule": "step", "milestones": (2,)}),
    ("none", "schedule"): ({"schedule": "constant"}, {"schedule": "cosine"}),
}
