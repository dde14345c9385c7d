"""What V&B's authors say, exhibit by exhibit (Zhu et al., ICCV 2023).

Some statements do not hold in the paper's own tables: `claims.as_printed` shows which.
"""

from __future__ import annotations

from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW
from defenselib.papers.vab.checks import (
    CIFAR,
    IMAGENET,
    about,
    behind,
    benign_above,
    every,
    falls,
    flat,
    leads,
    most_low,
    moves,
    only_attention_mix,
    others_fail,
    separated,
    small_drop,
    variant,
)

SLACK = 1.0  # points within which an ASR counts as equal: at 0.6 % one image in ten thousand decides the order
FULL = 95.0  # Sec. 4.2
FLAT = 10.0  # points of ASR that are no more than "slightly fluctuates"


F, AT, SST, S, ALL = (
    variant("components", name) for name in ("F", "F+AT", "F+AT+SST", "F+AT+SST+S(suspicious)", "all")
)
ALL_ATTACKS = ("badnets", "blend", "dynamic", "wanet", "sig", "cl-16", "cl-32")
TABLE_1 = (
    Claim(
        "attacks-work",
        f"Without a defense every attack but SIG reaches {FULL:g} % (Table 1 itself prints 94.73 for CL-32).",
        "Sec. 4.2",
        every("asr", FULL, 100.0, defense="none", attack=tuple(name for name in ALL_ATTACKS if name != "sig")),
    ),
    Claim(
        "attacks-high",
        f"Without a defense every attack has an ASR of at least {ASR_HIGH:g} %.",
        "Table 1",
        every("asr", ASR_HIGH, 100.0, defense="none", attack=ALL_ATTACKS),
    ),
    Claim(
        "vab-low",
        f"Under V&B every ASR is low (<= {ASR_LOW:g} %; the largest printed one is 1.13 %).",
        "Sec. 4.2, Table 1",
        every("asr", 0.0, ASR_LOW, defense="vab"),
    ),
    Claim("vab-acc", f"V&B costs at most {ACC_MARGIN:g} points of BA (printed: about one).", "Sec. 4.2", small_drop),
    Claim(
        "acc-best", "V&B has the highest BA of the five defenses under every attack.", "Table 1", leads("acc", CIFAR)
    ),
    Claim(
        "asr-best",
        "V&B has the lowest ASR of the five under every attack but WaNet and CL-16.",
        "Sec. 4.2",
        leads("asr", CIFAR, ("wanet", "cl-16")),
    ),
    Claim(
        "second-best",
        "Under WaNet DBD has the lower ASR, under CL-16 ABL has.",
        "Sec. 4.2",
        behind(CIFAR, {"wanet": "dbd", "cl-16": "abl"}),
    ),
    Claim(
        "others-fail",
        f"ABL fails under Dynamic and Blend, DBD under CL-16, FP under SIG (ASR > {ASR_LOW:g} %).",
        "Table 1",
        others_fail,
    ),
)
TABLE_2 = (
    Claim(
        "acc-best",
        "V&B has the highest BA of the five defenses under every attack.",
        "Sec. 4.2",
        leads("acc", IMAGENET),
    ),
    Claim(
        "asr-best",
        "V&B has the lowest ASR of the five under every attack but WaNet.",
        "Sec. 4.2",
        leads("asr", IMAGENET, ("wanet",)),
    ),
    Claim("second-best", "Under WaNet DBD has the lower ASR.", "Sec. 4.2", behind(IMAGENET, {"wanet": "dbd"})),
    Claim(
        "beats-undefended",
        "V&B's BA exceeds that of the undefended model under every attack (Table 2 itself says otherwise for Blend).",
        "Sec. 4.2",
        moves("acc", 1, {"defense": "none"}, {"defense": "vab"}),
    ),
)
TABLE_3 = (
    Claim(
        "all-hold",
        f"Every augmentation holds BadNets and Blend (ASR <= {ASR_LOW:g} %).",
        "Sec. 4.3",
        every("asr", 0.0, ASR_LOW, defense="vab", attack=("badnets", "blend")),
    ),
    Claim(
        "only-attentionmix",
        f"Only AttentionMix holds Dynamic and WaNet (ASR <= {ASR_LOW:g} %; the others' printed numbers are doubtful).",
        "Sec. 4.3",
        only_attention_mix,
    ),
)
TABLE_4 = (
    Claim(
        "filter-fails",
        f"Filtering alone fails under Blend, WaNet and Dynamic (ASR >= {ASR_HIGH:g} %).",
        "Sec. 4.4",
        every("asr", ASR_HIGH, 100.0, attack=("blend", "wanet", "dynamic"), **F),
    ),
    Claim(
        "at-asr",
        f"AttentionMix lowers the ASR of filtering, or leaves it within {SLACK:g} point.",
        "Sec. 4.4",
        moves("asr", -1, F, AT, SLACK),
    ),
    Claim("at-acc", "AttentionMix costs BA.", "Sec. 4.4", moves("acc", -1, F, AT)),
    Claim("sst-acc", "Semi-supervised training raises the BA.", "Sec. 4.4", moves("acc", 1, AT, SST)),
    Claim(
        "sst-asr",
        "Semi-supervised training lowers the ASR under WaNet and Dynamic.",
        "Sec. 4.4",
        moves("asr", -1, AT, SST, attack=("wanet", "dynamic")),
    ),
    Claim(
        "sst-rebound",
        "Under BadNets, Blend and CL-16 the ASR rebounds.",
        "Sec. 4.4",
        moves("asr", 1, AT, SST, attack=("badnets", "blend", "cl-16")),
    ),
    Claim(
        "suspicious",
        f"Suppressing the labels of suspicious samples lowers the ASR, or leaves it within {SLACK:g} point.",
        "Sec. 4.4",
        moves("asr", -1, SST, S, SLACK),
    ),
    Claim(
        "credible",
        f"Suppressing those of credible samples too lowers it further, or leaves it within {SLACK:g} point.",
        "Sec. 4.4",
        moves("asr", -1, S, ALL, SLACK),
    ),
)
_ORIGINAL, _AUTOMATIC = variant("warmup", "original"), variant("warmup", "automatic")
TABLE_6 = (
    Claim(
        "automatic-asr",
        f"With the automatic warm-up every ASR is low (<= {ASR_LOW:g} %; the largest printed one is 2.51 %).",
        "App. A.3",
        every("asr", 0.0, ASR_LOW, **_AUTOMATIC),
    ),
    Claim(
        "automatic-acc",
        f"It costs at most {ACC_MARGIN:g} points of BA (printed: 2.95).",
        "App. A.3",
        moves("acc", 1, _ORIGINAL, _AUTOMATIC, ACC_MARGIN),
    ),
)
_STAGE_2, _STAGE_3 = variant("after_stage", "2"), variant("after_stage", "3")
TABLE_7 = (
    Claim("stage-3-acc", "Stage 3 raises the BA in all cases.", "App. A.5", moves("acc", 1, _STAGE_2, _STAGE_3)),
    Claim("stage-3-asr", "Stage 3 lowers the ASR in all cases.", "App. A.5", moves("asr", -1, _STAGE_2, _STAGE_3)),
)
FIGURE_1 = (
    Claim(
        "lower",
        "After the warm-up poisoned samples have the lower mean entropy under every attack.",
        "Fig. 1",
        benign_above,
    ),
)
FIGURE_3 = (
    Claim("falls", "On CIFAR-10 the BA is lower at the largest t_m than at the smallest.", "Sec. 4.4", falls),
    Claim("flat-asr", f"The ASR moves by no more than {FLAT:g} points.", "Sec. 4.4", flat(CIFAR, "asr", FLAT)),
    Claim("flat-acc", "On the ImageNet subset the BA moves little (2 points).", "Sec. 4.4", flat(IMAGENET, "acc", 2.0)),
)
FIGURE_4 = (
    Claim("separated", "On CIFAR-10 the components are apart: mu_1 + 3 sigma_1 < mu_2.", "App. A.3", separated),
    Claim(
        "threshold",
        "On CIFAR-10 mu_1 + sigma_1 is about 0.2 after the warm-up (0.1 to 0.3).",
        "App. A.3",
        about(0.2, 0.1, dataset=CIFAR, metric="threshold"),
    ),
)
FIGURE_6 = (
    Claim("most-low", f"Most attacks stay low (ASR <= {ASR_LOW:g} %) at every rate.", "App. A.4", most_low),
    Claim("falls", "At the largest rate every BA is lower than at the smallest.", "App. A.4", falls),
)
TEXT = (
    Claim(
        "low",
        f"The largest ASR of V&B over the seven attacks is low (<= {ASR_LOW:g} %; the text says close to 1 %).",
        "Sec. 4.2",
        every("asr", 0.0, ASR_LOW, variant="scope=all attacks"),
    ),
)
