"""What V&B's authors say, exhibit by exhibit (Zhu et al., ICCV 2023).

Some statements do not hold in the paper's own tables: `claims.as_printed` shows which.
"""

from __future__ import annotations

from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.compound import along, both, most
from defenselib.papers.kit.statements import change, every, leads, low
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW
from defenselib.papers.kit.view import other_than

CIFAR, IMAGENET = "cifar10", "imagenet-12"
RIVALS = ("fp", "nad", "abl", "dbd")
FULL = 95.0  # Sec. 4.2
FLAT = 10.0  # points of ASR that are no more than "slightly fluctuates"
MOST = 50.0  # percent of the poison
LARGEST = 1.13  # ASR in Table 1
OTHER_MIXES = ("mixup", "cutmix", "attentive-cutmix")


TABLE_1 = (
    Claim("attacks-work", "Without a defense every attack but SIG succeeds almost always.", "Sec. 4.2",
          every("asr", ">=", FULL, defense="none", attack=other_than("sig"))),
    Claim("attacks-high", "Without a defense every attack succeeds.", "Table 1",
          every("asr", ">=", ASR_HIGH, defense="none")),
    Claim("vab-low", "Under V&B every ASR is low.", "Sec. 4.2, Table 1",
          every("asr", "<=", low(LARGEST), defense="vab")),
    Claim("vab-acc", "V&B costs about one point of BA, whatever the attack.", "Sec. 4.2",
          change("acc", "defense", "none", "vab", ">=", (-ACC_MARGIN, -1.05))),
    Claim("acc-best", "V&B has the highest BA of the five defenses under every attack.", "Table 1",
          leads("acc", "vab", RIVALS)),
    Claim("asr-best", "V&B has the lowest ASR of the five under every attack but WaNet and CL-16.", "Sec. 4.2",
          leads("asr", "vab", RIVALS, lowest=True, attack=other_than("wanet", "cl-16"))),
    Claim("second-best", "Under WaNet DBD has the lower ASR, under CL-16 ABL has; V&B has the higher BA of the two.",
          "Sec. 4.2", both(
              change("asr", "defense", "vab", "dbd", "<", attack="wanet"),
              change("asr", "defense", "vab", "abl", "<", attack="cl-16"),
              change("acc", "defense", "dbd", "vab", ">", attack="wanet"),
              change("acc", "defense", "abl", "vab", ">", attack="cl-16"))),
    Claim("others-fail", "ABL fails under Dynamic and Blend, DBD under CL-16, FP under SIG.", "Table 1", both(
        every("asr", ">", ASR_LOW, defense="abl", attack=("dynamic", "blend")),
        every("asr", ">", ASR_LOW, defense="dbd", attack="cl-16"),
        every("asr", ">", ASR_LOW, defense="fp", attack="sig"))),
)  # fmt: skip
TABLE_2 = (
    Claim("acc-best", "V&B has the highest BA of the five defenses under every attack.", "Sec. 4.2",
          leads("acc", "vab", RIVALS)),
    Claim("asr-best", "V&B has the lowest ASR of the five under every attack but WaNet.", "Sec. 4.2",
          leads("asr", "vab", RIVALS, lowest=True, attack=other_than("wanet"))),
    Claim("second-best", "Under WaNet DBD has the lower ASR, and V&B the higher BA.", "Sec. 4.2", both(
        change("asr", "defense", "vab", "dbd", "<", attack="wanet"),
        change("acc", "defense", "dbd", "vab", ">", attack="wanet"))),
    Claim("beats-undefended", "V&B's BA exceeds that of the undefended model under every attack.", "Sec. 4.2",
          change("acc", "defense", "none", "vab", ">")),
)  # fmt: skip
TABLE_3 = (
    Claim("all-hold", "Every augmentation holds BadNets and Blend.", "Sec. 4.3",
          every("asr", "<=", low(4.62), defense="vab", attack=("badnets", "blend"))),
    Claim("only-attentionmix", "Only AttentionMix holds Dynamic and WaNet (the others' printed numbers are doubtful).",
          "Sec. 4.3", both(
              every("asr", "<=", low(LARGEST), attack=("dynamic", "wanet"), augmentation="attentionmix"),
              every("asr", ">", ASR_LOW, attack=("dynamic", "wanet"), augmentation=OTHER_MIXES))),
)  # fmt: skip
F, AT, SST, S, ALL = "F", "F+AT", "F+AT+SST", "F+AT+SST+S(suspicious)", "all"
TABLE_4 = (
    Claim("filter-fails", "Filtering alone fails under Blend, WaNet and Dynamic.", "Sec. 4.4",
          every("asr", ">=", ASR_HIGH, attack=("blend", "wanet", "dynamic"), components=F)),
    Claim("at-asr", "AttentionMix lowers the ASR of filtering.", "Sec. 4.4", change("asr", "components", F, AT, "<")),
    Claim("at-acc", "AttentionMix costs BA.", "Sec. 4.4", change("acc", "components", F, AT, "<")),
    Claim("sst-acc", "Semi-supervised training raises the BA.", "Sec. 4.4", change("acc", "components", AT, SST, ">")),
    Claim("sst-asr", "Semi-supervised training lowers the ASR under WaNet and Dynamic.", "Sec. 4.4",
          change("asr", "components", AT, SST, "<", attack=("wanet", "dynamic"))),
    Claim("sst-rebound", "Under BadNets, Blend and CL-16 the ASR rebounds.", "Sec. 4.4",
          change("asr", "components", AT, SST, ">", attack=("badnets", "blend", "cl-16"))),
    Claim("suspicious", "Suppressing the labels of suspicious samples lowers the ASR.", "Sec. 4.4",
          change("asr", "components", SST, S, "<")),
    Claim("credible", "Suppressing those of credible samples too lowers it further.", "Sec. 4.4",
          change("asr", "components", S, ALL, "<")),
)  # fmt: skip
TABLE_6 = (
    Claim("automatic-asr", "With the automatic warm-up every ASR is low.", "App. A.3",
          every("asr", "<=", low(2.51), warmup="automatic")),
    Claim("automatic-acc", "It costs little BA.", "App. A.3",
          change("acc", "warmup", "original", "automatic", ">=", (-ACC_MARGIN, -2.95))),
)  # fmt: skip
TABLE_7 = (
    Claim("stage-3-acc", "Stage 3 raises the BA in all cases.", "App. A.5",
          change("acc", "after_stage", 2.0, 3.0, ">")),
    Claim("stage-3-asr", "Stage 3 lowers the ASR in all cases.", "App. A.5",
          change("asr", "after_stage", 2.0, 3.0, "<")),
)  # fmt: skip
FIGURE_1 = (
    Claim("lower", "After the warm-up poisoned samples have the lower mean entropy under every attack.", "Fig. 1",
          along("epoch", "last", change("entropy", "group", "poisoned", "benign", ">"))),
    Claim("filtered", "A fixed threshold on the entropy filters most of the poison.", "Sec. 3.3, Fig. 1",
          every("caught", ">", MOST)),
)  # fmt: skip
FIGURE_3 = (
    Claim("falls", "On CIFAR-10 the BA is lower at the largest mixing threshold than at the smallest.", "Sec. 4.4",
          change("acc", "t_m", 0.1, 0.5, "<", dataset=CIFAR)),
    Claim("flat-asr", "The ASR hardly moves with the mixing threshold.", "Sec. 4.4",
          along("t_m", "span", every("asr", "<=", FLAT, dataset=CIFAR))),
    Claim("flat-acc", "On the ImageNet subset the BA moves little.", "Sec. 4.4",
          along("t_m", "span", every("acc", "<=", 2.0, dataset=IMAGENET))),
)  # fmt: skip
FIGURE_4 = (
    Claim("separated", "On CIFAR-10 the components are apart: μ₁ + 3 σ₁ < μ₂.", "App. A.3",
          every("apart", ">", 0.0, dataset=CIFAR)),
    Claim("threshold", "On CIFAR-10 μ₁ + σ₁ is about 0.2 after the warm-up.", "App. A.3", both(
        every("threshold", ">=", 0.1, dataset=CIFAR), every("threshold", "<=", 0.3, dataset=CIFAR))),
)  # fmt: skip
FIGURE_6 = (
    Claim("most-low", "Most attacks stay low at every rate.", "App. A.4",
          most(along("poisoning_rate", "max", every("asr", "<=", low(1.0))))),
    Claim("falls", "At the largest rate every BA is lower than at the smallest.", "App. A.4",
          change("acc", "poisoning_rate", 0.1, 0.5, "<")),
)  # fmt: skip
TEXT = (
    Claim("low", "The largest ASR of V&B over the seven attacks is close to 1 %.", "Sec. 4.2",
          every("asr", "<=", low(LARGEST), defense="vab", scope="all attacks")),
)  # fmt: skip
