"""What papers set otherwise than a method's defaults, on a data set or in their own training of the undefended model.

The defaults of a method are those of its paper on CIFAR-10. `OWN` holds what the same paper uses on other data sets and
applies always; `PAPERS` what another paper (`Experiment(paper=...)`) uses. "*" is every data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Recipe = Mapping[str, Mapping[str, Any]]

OWN: Mapping[str, Recipe] = {
    # ASD Sec. 5.1: T3 = 100 on GTSRB; the ramp of lambda_u has the length of the run.
    "asd": {"gtsrb": {"epochs": 100, "rampup": 100}},
}

PAPERS: Mapping[str, Mapping[str, Recipe]] = {
    # ASD's undefended model is the default of "none": 200 epochs, SGD 0.1, weight decay 5e-4, drops at 100 and 150.
    "asd": {},
    "bsd": {},
}


def recipe(defense: str, dataset: str, paper: str | None) -> dict[str, Any]:
    """Overrides of `defense`'s defaults on `dataset` in `paper`."""
    result: dict[str, Any] = {}
    for table in (OWN.get(defense, {}), PAPERS.get(paper or "", {}).get(defense, {})):
        result |= {**table.get("*", {}), **table.get(dataset, {})}
    return result
