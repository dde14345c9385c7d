"""What the authors of D-ST and D-BR say, as statements on the frames of their exhibits (Chen et al., NeurIPS 2022).

Not all of them hold on the printed numbers themselves (`exhibits.on_print`). Bounds at laptop and elsewhere: see
`statements.low`; where the paper gives no number, those named here.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import pandas as pd

from defenselib.papers.kit.claims import Claim, Point, Statement
from defenselib.papers.kit.compound import Check, along, both, combined, most, one, one_each
from defenselib.papers.kit.frame import parts_of_averages
from defenselib.papers.kit.statements import change, every, leads, low
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW
from defenselib.papers.kit.view import View, other_than

REMOVALS = ("ft", "anp", "nad", "mcr", "abl")
DIRTY = ("badnets", "badnets-all2all", "trojan", "blend-strip", "blend-kitty")
PATCHES, WHOLE = ("badnets", "badnets-all2all", "trojan", "clb"), ("blend-strip", "blend-kitty", "sig")
CLEAN_LABEL = ("sig", "clb")
MARKEDLY, BARELY = 5.0, 2.0  # points of ACC, or of ASR
APART, MIXED = 90.0, 75.0  # percent of pairs in which poison scores higher: from here it stands apart; up to here not
GATHERED, SCATTERED = 90.0, 50.0  # percent of poisoned samples whose nearest neighbour is poisoned as well
PURE = 99.0  # percent
UNFOUND = 20.0  # percent of poison among the suspects, twice what chance gives
LAST = 20.0  # rounds of D-BR
GAP = "acc - asr"


def gap(inner: Statement) -> Statement:
    """On ACC minus ASR, by which the paper tells which method is better (Sec. 4.2)."""
    return combined(GAP, {"acc": 1.0, "asr": -1.0}, inner)


def keeps(defense: str, printed: float, axis: str = "defense", plain: str = "none", **where: object) -> Statement:
    """Every ACC is at most so many points below the undefended model's: 5 at laptop, elsewhere as many as printed."""
    return change("acc", axis, plain, defense, ">=", (-ACC_MARGIN, -printed), **where)


def _averages(view: View) -> list[Point]:
    """Is each average the mean of its rows? Half a unit of the last digit, and as much again for what was rounded
    before it was averaged."""
    points = []
    for position, parts in parts_of_averages(pd.DataFrame(view.rows)).items():
        row, mean = view.rows[position], fmean(view.rows[part]["reproduced"] for part in parts)
        where = {name: row[name] for name in ("dataset", "poisoning_rate", "defense", "metric")}
        said = row["reproduced"]
        value = f"printed {said:.2f}, recomputed {mean:.2f}"
        points.append(Point("true" if math.isclose(mean, said, abs_tol=0.0101) else "false", value, where))
    return points


# Of the printed numbers alone: where numbers are reproduced, their averages are made here.
AVERAGES = Claim(
    "averages", "The averages are the means of the rows above them.", "last row", Check("to 0.01", _averages)
)
SUCCESSFUL = Claim(
    "attacks-85", "Only attacks that succeed without defense are reported.", "Sec. 4.2, App. D",
    every("asr", ">", 85.0, defense="none"),
)  # fmt: skip
TABLE_1 = (
    Claim("dst-low", "D-ST's ASR is extremely low.", "Sec. 4.2", every("asr", "<=", low(6.40), defense="dst")),
    Claim("dst-acc", "D-ST's ACC is high: above that of features learned without labels, and on average near that of "
          "features learned with all labels.", "Sec. 4.2",
          both(change("acc", "defense", "simclr-baseline", "dst", ">", 0.0),
               keeps("dst", 1.77, plain="supcon-baseline", dataset="cifar10", attack="average"),
               keeps("dst", 3.33, plain="supcon-baseline", dataset="cifar100", attack="average"))),
    Claim("dbd-fails", "DBD fails in most attacks.", "Sec. 4.2", most(every("asr", ">=", ASR_HIGH, defense="dbd"))),
    Claim("dst-best", "In every row D-ST is better than the others.", "Table 1, boldface",
          gap(leads(GAP, "dst", ("simclr-baseline", "supcon-baseline", "dbd")))),
    Claim("simclr-patches", "Features learned without labels may give a low ASR: under triggers of a few pixels they "
          "do, in some cases on CIFAR-10 a very low one.", "Sec. 4.2, Table 1",
          both(every("asr", "<", 20.0, defense="simclr-baseline", attack=PATCHES),
               one(every("asr", "<", 5.0, defense="simclr-baseline", dataset="cifar10")))),
    Claim("simclr-whole", "They do not under triggers that cover the image.", "Table 1",
          every("asr", ">=", 95.0, defense="simclr-baseline", attack=WHOLE)),
    Claim("supcon-high", "Features learned with all labels bring a high ASR.", "Sec. 4.2",
          every("asr", ">=", (ASR_HIGH, 57.39), defense="supcon-baseline")),
    *(Claim(f"labels-help-{name}", f"On {words} learning without labels sacrifices ACC.", "Sec. 4.2",
            change("acc", "defense", "simclr-baseline", "supcon-baseline", ">", MARKEDLY, dataset=name))
      for name, words in (("cifar10", "CIFAR-10"), ("cifar100", "CIFAR-100"))),
)  # fmt: skip
C10: dict[str, Any] = {"dataset": "cifar10"}
C100: dict[str, Any] = {"dataset": "cifar100"}
MEAN10, MEAN100 = {**C10, "attack": "average"}, {**C100, "attack": "average"}
TABLE_2 = (
    SUCCESSFUL,
    Claim("dbr-below-1", "On CIFAR-10 D-BR reduces the ASR to less than 1 % on all attacks.", "Sec. 4.2",
          every("asr", "<", low(1.0), defense="dbr", **C10)),
    Claim("dbr-acc", "On CIFAR-10 D-BR keeps the ACC as large as that of the backdoored model.", "Sec. 4.2",
          keeps("dbr", 1.12, **C10)),
    Claim("each-fails", "On CIFAR-10 some attack disables each of the other methods.", "Sec. 4.2",
          one_each("defense", every("asr", ">", ASR_HIGH, defense=REMOVALS, **C10))),
    Claim("acc-lost", "On CIFAR-10 all others but FT and MCR reduce the mean ACC markedly.", "Sec. 4.2",
          both(*(change("acc", "defense", "none", name, op, -MARKEDLY, **MEAN10)
                 for name, op in (("anp", "<"), ("nad", "<"), ("abl", "<"), ("ft", ">="), ("mcr", ">="))))),
    Claim("anp-works", "On CIFAR-10 ANP defends against Trojan and Blend.", "Sec. 4.2",
          every("asr", "<", low(1.0), defense="anp", attack=("trojan", "blend-strip", "blend-kitty"), **C10)),
    Claim("anp-fails", "On CIFAR-10 ANP fails under the clean-label attacks.", "Sec. 4.2",
          every("asr", ">", 10.0, defense="anp", attack=CLEAN_LABEL, **C10)),
    Claim("dbr-best", "In every row on CIFAR-10 D-BR is better than the others.", "Table 2, boldface",
          gap(leads(GAP, "dbr", REMOVALS, dataset="cifar10"))),
    Claim("ft-nad-100", "On CIFAR-100 FT and NAD keep the ACC and fail to reduce the ASR.", "Sec. 4.2",
          both(every("acc", ">", 68.0, defense=("ft", "nad"), **C100),
               every("asr", ">=", (ASR_HIGH, 74.83), defense=("ft", "nad"), **MEAN100))),
    Claim("anp-abl-100", "On CIFAR-100 ANP and ABL reduce the mean ASR to less than 0.1 % and sacrifice too much ACC.",
          "Sec. 4.2", both(every("asr", "<", low(0.1), defense=("anp", "abl"), **MEAN100),
                           *(change("acc", "defense", "none", name, "<", -MARKEDLY, **MEAN100)
                             for name in ("anp", "abl")))),
    Claim("mcr-100", "On CIFAR-100 MCR fails under Blend-Kitty only.", "Sec. 4.2",
          both(every("asr", ">", (ASR_LOW, 20.0), defense="mcr", attack="blend-kitty", **C100),
               every("asr", "<", low(0.5), defense="mcr", attack=other_than("blend-kitty", "average"), **C100))),
    Claim("mcr-best-100", "Of the other methods MCR performs best on CIFAR-100.", "Sec. 4.2",
          gap(leads(GAP, "mcr", REMOVALS, dataset="cifar100", attack="average"))),
    Claim("dbr-72", "On CIFAR-100 D-BR keeps the ACC higher than 72 %.", "Sec. 4.2",
          every("acc", ">", 72.0, defense="dbr", **C100)),
    Claim("dbr-100", "On CIFAR-100 D-BR reduces the ASR to almost 0 %.", "Sec. 4.2",
          every("asr", "<=", low(0.25), defense="dbr", **C100)),
)  # fmt: skip
TABLE_3 = (
    Claim("ctl-low", "CTL guarantees a low ASR.", "Sec. 4.3", every("asr", "<=", low(4.88), extractor="ctl")),
    Claim("ctl-acc", "CTL pays with a low ACC.", "Sec. 4.3", change("acc", "extractor", "ctl", "ss-ctl", ">", 0.0)),
    Claim("s-ctl-acc", "S-CTL brings a high ACC, as all labels are used.", "Sec. 4.3",
          leads("acc", "s-ctl", ("ctl", "ss-ctl"), axis="extractor")),
    Claim("s-ctl-clean", "With S-CTL the ASR is almost 100 % under the clean-label attacks.", "Sec. 4.3",
          every("asr", ">=", (95.0, 98.34), extractor="s-ctl", attack=CLEAN_LABEL)),
    Claim("s-ctl-dirty", "With S-CTL the ASR is almost 0 % under dirty-label attacks.", "Sec. 4.3",
          every("asr", "<=", low(0.73), extractor="s-ctl", attack=DIRTY)),
    Claim("ss-ctl-low", "SS-CTL has a low ASR under every attack.", "Sec. 4.3",
          every("asr", "<=", low(6.40), extractor="ss-ctl")),
)  # fmt: skip
TABLE_5 = (
    SUCCESSFUL,
    Claim("dbr-imagenet", "On ImageNet D-BR performs steadily well on all attacks.", "App. D",
          every("asr", "<=", low(0.09), defense="dbr")),
    Claim("abl-best", "Of the other methods ABL performs best.", "App. D",
          gap(leads(GAP, "abl", ("ft", "nad"), attack="average"))),
    Claim("abl-strip", "ABL fails under Blend-Strip only.", "App. D",
          both(every("asr", ">=", ASR_HIGH, defense="abl", attack="blend-strip"),
               every("asr", "<=", low(1.0), defense="abl", attack=other_than("blend-strip", "average")))),
)  # fmt: skip
TABLE_6 = (
    SUCCESSFUL,
    *(Claim(f"{name}-{rate:g}", f"With {100 * rate:g} % of the data poisoned {words}'s ASR is low.", "App. G",
            every("asr", "<=", low(most_printed), defense=name, poisoning_rate=rate))
      for rate, name, words, most_printed in ((0.05, "dbr", "D-BR", 4.22), (0.05, "dst", "D-ST", 9.44),
                                              (0.2, "dbr", "D-BR", 7.42), (0.2, "dst", "D-ST", 1.29))),
    Claim("acc-20", "With 20 % poisoned D-BR keeps the ACC barely unchanged.", "App. G",
          change("acc", "defense", "none", "dbr", ">=", (-BARELY, -1.24), poisoning_rate=0.2)),
    Claim("acc-5", "With 5 % poisoned D-BR loses a mere 2.62 points of mean ACC.", "App. G",
          change("acc", "defense", "none", "dbr", ">=", -2.62, poisoning_rate=0.05, attack="average")),
    Claim("dst-acc", "D-ST trains a clean model from scratch, with an ACC near that of the backdoored one.", "App. G",
          keeps("dst", 2.87)),
    Claim("rates", "Both methods do slightly worse with 5 % poisoned than with 20 %.", "App. G",
          gap(change(GAP, "poisoning_rate", 0.05, 0.2, ">", 0.0, attack="average", defense=("dbr", "dst")))),
)  # fmt: skip
TABLE_7 = (
    Claim("clean-pure", "The clean-precision is about 100 % on every network.", "App. H",
          every("clean_precision", ">=", 99.9)),
    Claim("large-features", "The poison-precision is lower where features are large.", "App. H",
          both(*(change("poison_precision", "model", large, small, ">", 0.0)
                 for large in ("resnet50", "densenet161") for small in ("resnet18", "vgg19")))),
    Claim("dbr-models", "D-BR reduces the ASR to almost 0 % on every network.", "App. H",
          every("asr", "<=", low(0.40), defense="dbr")),
    Claim("drop-models", "D-BR's ACC drops by 2.41 points at most.", "App. H",
          change("acc", "defense", "none", "dbr", ">=", -2.41)),
    Claim("dst-models", "D-ST trains a secure model from scratch on both networks.", "App. H",
          both(every("asr", "<=", low(5.89), defense="dst", model=("resnet18", "resnet50")),
               keeps("dst", 0.56, model=("resnet18", "resnet50")))),
)  # fmt: skip
FIGURE_1 = (
    Claim("moves", "Transformations change the features of poisoned samples much more than those of clean ones.",
          "Sec. 1, Fig. 1", every("separation", ">=", APART)),
    Claim("gathers", "Poisoned samples gather in feature space.", "Sec. 1, Fig. 1",
          every("gathered", ">=", GATHERED, version="original")),
    Claim("scatters", "Once transformed they gather no longer.", "Sec. 1, Fig. 1",
          every("gathered", "<=", SCATTERED, version="transformed")),
)  # fmt: skip
FIGURE_3 = (
    Claim("fct-apart", "FCT is distributed differently over poisoned and clean samples.", "Sec. 3.2, Fig. 3",
          every("separation", ">=", APART, moment="after")),
)  # fmt: skip
FIGURE_4 = (
    Claim("fct", "With FCT the ASR is extremely low on all attacks.", "Sec. 4.3",
          every("asr", "<", low(0.5), score="fct")),
    Claim("fct-best", "FCT performs better than the other scores.", "Sec. 4.3",
          gap(leads(GAP, "fct", ("spectral", "sce", "loss-ascent"), axis="score"))),
    *(Claim(name, f"With {words} the ASR exceeds the ACC under BadNets, Blend and CL.", "Sec. 4.3",
            combined("asr - acc", {"asr": 1.0, "acc": -1.0},
                     every("asr - acc", ">", 0.0, score=name, attack=("badnets", "blend-strip", "clb"))))
      for name, words in (("spectral", "spectral signatures"), ("sce", "DBD's loss"))),
    Claim("loss-ascent", "ABL's loss fails under Blend only.", "Sec. 4.3",
          both(every("asr", ">", ASR_LOW, score="loss-ascent", attack="blend-strip"),
               every("asr", "<=", ASR_LOW, score="loss-ascent", attack=other_than("blend-strip")))),
)  # fmt: skip
FIGURE_5 = (
    Claim("unlearn", "Pure unlearning lowers the ASR effectively and hardly maintains the ACC.", "Sec. 4.3",
          both(along("epoch", "last", every("asr", "<=", ASR_LOW, steps="unlearn")),
               change("acc", "epoch", 0.0, LAST, "<", -MARKEDLY, steps="unlearn"))),
    Claim("relearn", "Pure relearning keeps the ACC high and takes a tiny effect on the ASR.", "Sec. 4.3",
          both(change("acc", "epoch", 0.0, LAST, ">=", -ACC_MARGIN, steps="relearn"),
               change("asr", "epoch", 0.0, LAST, ">=", -ASR_LOW, steps="relearn"))),
    Claim("both", "In turn they converge to a high ACC and a low ASR.", "Sec. 4.3",
          both(change("acc", "epoch", 0.0, LAST, ">=", -ACC_MARGIN, steps="both"),
               along("epoch", "last", every("asr", "<", low(1.0), steps="both")))),
)  # fmt: skip
WEIGHTS = (0.001, 0.01, 0.1, 1.0)
FIGURE_6 = (
    Claim("zero", "Any weight of the second term reduces the ASR.", "Sec. 4.3",
          leads("asr", 0.0, WEIGHTS, axis="poison_weight")),
    Claim("weight-costs", "As the weight grows the ACC falls.", "Sec. 4.3",
          change("acc", "poison_weight", WEIGHTS[0], WEIGHTS[-1], "<", 0.0)),
)  # fmt: skip
FIGURE_7 = (
    Claim("cluster", "In a backdoored model poisoned samples are congregated into one cluster.", "App. A.1, Fig. 7",
          every("gathered", ">=", GATHERED)),
)  # fmt: skip
FIGURE_8 = (
    Claim("dirty-before", "Before the fine-tuning dirty-label poison stands apart.", "App. A.1",
          every("separation", ">=", APART, moment="before", attack=DIRTY)),
    Claim("clean-before", "Clean-label poison is mixed up with clean samples then.", "App. A.1",
          every("separation", "<=", MIXED, moment="before", attack=CLEAN_LABEL)),
    Claim("clean-after", "After the fine-tuning clean-label poison stands apart as well.", "App. A.1",
          every("separation", ">=", APART, moment="after", attack=CLEAN_LABEL)),
    Claim("dirty-gain", "The fine-tuning boosts the separation of dirty-label poison too.", "App. A.1",
          change("separation", "moment", "before", "after", ">=", 0.0, attack=DIRTY)),
)  # fmt: skip
FIGURE_11 = (
    Claim("pairs-pure", "Most pairs of transformations give a precision of 100 %.", "App. E",
          both(*(most(every(name, ">=", PURE, attack=attack))
                 for name in ("clean_precision", "poison_precision") for attack in ("badnets", "blend-strip")))),
    Claim("flip-flip", "Flipping twice, which changes nothing, gives an extremely low poison-precision.", "App. E",
          every("poison_precision", "<", UNFOUND, first="flip", second="flip")),
    Claim("erase", "Erasing as the second transformation is slightly worse than the others.", "App. E",
          along("first", "mean", both(*(change("poison_precision", "second", other, "erase", "<", 0.0)
                                        for other in ("rotate", "affine", "crop", "blur"))))),
)  # fmt: skip
FIGURE_12 = (
    Claim("sig", "Under SIG the clean-precision is high.", "App. E", every("clean_precision", ">", PURE)),
)  # fmt: skip
FIGURE_13 = (
    Claim("clean-0", "Samples believed to be clean boost the ACC, which may be extremely low without them.", "App. F",
          both(change("acc", "clean_share", 0.0, 0.2, ">", MARKEDLY), one(every("acc", "<", 50.0, clean_share=0.0)))),
    Claim("clean-80", "Too large a share raises the ASR.", "App. F", change("asr", "clean_share", 0.2, 0.8, ">", 0.0)),
    Claim("poison-0", "Samples believed to be poisoned lower the ASR, which may be extremely high without them.",
          "App. F", both(change("asr", "poison_share", 0.0, 0.1, "<", -MARKEDLY),
                         one(every("asr", ">=", ASR_HIGH, poison_share=0.0)))),
    Claim("poison-20", "Too many of them cost ACC.", "App. F", change("acc", "poison_share", 0.05, 0.2, "<", 0.0)),
)  # fmt: skip
