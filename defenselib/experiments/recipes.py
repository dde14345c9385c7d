"""What papers set otherwise than a method's defaults, on a data set or in their own training of the undefended model.

The defaults of a method are those of its paper on CIFAR-10. `OWN` holds what the same paper uses on other data sets and
applies always; `PAPERS` what another paper (`Experiment(paper=...)`) uses. "*" is every data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Recipe = Mapping[str, Mapping[str, Any]]

# Crops of random size, as DBD's code augments ImageNet, from which ASD and BSD take their settings there.
_PHOTOS: Mapping[str, Any] = {"crop": "resized"}
# DBD's own settings on its subset of ImageNet.
_DBD_IMAGENET: Mapping[str, Any] = {"epochs": 80, "rampup": 80, "lambda_u": 6, **_PHOTOS}
# BSD App. B.3, "as in ASD": the undefended models on ImageNet and VGGFace2.
_90_EPOCHS: Mapping[str, Any] = {
    "epochs": 90, "batch_size": 256, "weight_decay": 1e-4, "milestones": (30, 60), **_PHOTOS
}  # fmt: skip

_AS_DBD = ("imagenet-30", "imagenet-subset", "vggface2")

OWN: Mapping[str, Recipe] = {
    "dbd": dict.fromkeys(("imagenet-12", "imagenet-30", "imagenet-200", "imagenet-subset", "vggface2"), _DBD_IMAGENET),
    # ASD Sec. 5.1: T3 = 100 on GTSRB; the ramp of lambda_u has the length of the run.
    "asd": {"gtsrb": {"epochs": 100, "rampup": 100}, **dict.fromkeys(_AS_DBD, _PHOTOS)},
    # A-ABL Sec. 6: half the budget "due to its larger image size".
    "aabl": {"tiny-imagenet": {"split_eps": 1.0, "split_step": 1.0, "padding": 8}},
    # BSD App. B.4: on "lightweight" sets such as GTSRB the altruistic model is trained as the main model is.
    "bsd": {"gtsrb": {"altruistic_update": "mixmatch"}, **dict.fromkeys(_AS_DBD, _PHOTOS)},
    # D-ST's code: a believed sample's positives are all samples of its label, believed or not (text: Eq. 2).
    "dst": {"*": {"positives": "label"}},
    # V&B Sec. 4.1: a longer warm-up to a higher threshold, small batches.
    "vab": {"imagenet-12": {"warmup_epochs": 6, "threshold": 0.4, "batch_size": 16, "victim_batch_size": 16}},
}

# ABL as ASD (App. N) and BSD (App. B.4) run it; gamma, which both search, stays the default.
_ABL_20_70_5: Recipe = {"*": {"isolation_epochs": 20, "finetuning_epochs": 70}}

# BSD App. B.4, for ASD's tables too: the last convolution loses a fixed share (searched from 0.2 to 0.9, or
# BackdoorBench's defaults; 0.5 is the middle), then ten epochs at one rate.
_FP_10: Recipe = {
    "*": {"layer": "convolution", "stop": "ratio", "epochs": 10, "schedule": "constant"},
    "imagenet-30": {"learning_rate": 0.1},
    "imagenet-subset": {"learning_rate": 0.1},
}
# The same: a teacher of ten epochs at these rates; beta, which both search, stays the default.
_NAD_10: Recipe = {"imagenet-30": {"learning_rate": 0.1}, "imagenet-subset": {"learning_rate": 0.1}}

# D-ST/D-BR Sec. 4.1: the repairs get 1 % of the training set.
_ONE_PERCENT: Recipe = {"*": {"clean_share": 0.01}}

# D-ST/D-BR App. C.5: images of ImageNet are turned and flipped but not cropped, those of CIFAR-100 cropped and turned.
_TURNED: Mapping[str, Any] = {"padding": 0, "degrees": 20.0}
_DBR_CIFAR100: Recipe = {"cifar100": {"degrees": 15.0}}
# D-BR's code on its subset of ImageNet, where training starts from pretrained weights (not done here).
_DBR_IMAGENET: Recipe = {
    "imagenet-200": {"epochs": 25, "learning_rate": 0.001, "weight_decay": 1e-4, "milestones": (15, 20), **_TURNED}
}

PAPERS: Mapping[str, Mapping[str, Recipe]] = {
    # ASD's undefended model is the default of "none": 200 epochs, SGD 0.1, weight decay 5e-4, drops at 100 and 150.
    "asd": {"none": dict.fromkeys(_AS_DBD, _90_EPOCHS), "fp": _FP_10, "nad": _NAD_10, "abl": _ABL_20_70_5},
    "bsd": {
        "none": dict.fromkeys(_AS_DBD, _90_EPOCHS),
        "fp": _FP_10,
        "nad": _NAD_10,
        "abl": _ABL_20_70_5,
        # BSD App. B.4 states the last stage's epochs; lambda_u ramps over all of them; the rest is DBD's.
        "dbd": {"*": {"epochs": 200, "rampup": 200}, "imagenet-30": {"epochs": 90, "rampup": 90}},
    },
    # V&B App. A.2: drops every 50 epochs, a weaker decay; crops are padded with zeros, as in its code.
    "vab": {
        "none": {
            "*": {"milestones": (50, 100, 150), "weight_decay": 1e-4, "padding_mode": "zeros"},
            "imagenet-12": {"batch_size": 16},
        },
    },
    # As A-ABL's own last stage, with which it is compared.
    "aabl": {"adv-train": {"tiny-imagenet": {"padding": 8}}},
    "dst_dbr": {
        # The model that D-BR repairs (authors' code); the schedule is the default one, here as on CIFAR.
        "none": {"*": {"learning_rate": 0.01}, **_DBR_CIFAR100, **_DBR_IMAGENET},
        "dbr": {**_DBR_CIFAR100, "imagenet-200": _TURNED},
        "ft": _ONE_PERCENT,
        "nad": _ONE_PERCENT,
        # As in ANP's own paper (Sec. 4.1): smaller batches, a larger rate, a fixed threshold.
        "anp": {"*": {"clean_share": 0.01, "batch_size": 128, "learning_rate": 0.2, "stop": "threshold"}},
        # App. C.4: t = 0.3, here counted from the backdoored end; the paper does not say.
        "mcr": {"*": {"clean_share": 0.01, "t": 0.3}},
    },
}


def recipe(defense: str, dataset: str, paper: str | None) -> dict[str, Any]:
    """Overrides of `defense`'s defaults on `dataset` in `paper`."""
    result: dict[str, Any] = {}
    for table in (OWN.get(defense, {}), PAPERS.get(paper or "", {}).get(defense, {})):
        result |= {**table.get("*", {}), **table.get(dataset, {})}
    return result
