"""What the authors of D-ST and D-BR say, as checks on the frames of their exhibits (Chen et al., NeurIPS 2022).

Those on tables are held against the printed numbers themselves as well (`dst_dbr_printed`): not all of them hold.
"""

from __future__ import annotations

from defenselib.papers.dst_dbr import checks as tables
from defenselib.papers.dst_dbr import figure_checks as figures
from defenselib.papers.dst_dbr.checks import BARELY, CLEAN_LABEL, DIRTY, MARKEDLY, PATCHES, REMOVALS, WHOLE
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.verdict import ASR_HIGH, ASR_LOW

TABLE_1 = (
    Claim("dst-low", f"D-ST's ASR is low under every attack (<= {ASR_LOW:g} %).", "Sec. 4.2",
          tables.below(ASR_LOW, defense="dst")),
    Claim("dbd-fails", "DBD fails in most attacks.", "Sec. 4.2", tables.dbd_fails),
    Claim("dst-best", "In every row D-ST has the largest ACC minus ASR.", "Table 1, boldface",
          tables.leads("dst", ("simclr-baseline", "supcon-baseline", "dbd"))),
    Claim("simclr-patches", "Features learned without labels give a low ASR under patch triggers (< 20 %).", "Sec. 4.2",
          tables.below(20.0, PATCHES, defense="simclr-baseline")),
    Claim("simclr-whole", "They do not under triggers that cover the image (ASR >= 95 %).", "Table 1",
          tables.above(95.0, WHOLE, defense="simclr-baseline")),
    Claim("supcon-high", f"Features learned with all labels bring a high ASR (>= {ASR_HIGH:g} %).", "Sec. 4.2",
          tables.above(ASR_HIGH, defense="supcon-baseline")),
    *(Claim(f"labels-help-{name}", f"On {words} labels raise the baselines' mean ACC by over {MARKEDLY:g} points.",
            "Sec. 4.2", tables.labels_help(name))
      for name, words in (("cifar10", "CIFAR-10"), ("cifar100", "CIFAR-100"))),
)  # fmt: skip
TABLE_2 = (
    Claim("dbr-below-1", "On CIFAR-10 D-BR's ASR is below 1 % under all attacks.", "Sec. 4.2",
          tables.below(1.0, defense="dbr", dataset="cifar10")),
    Claim("dbr-acc", "On CIFAR-10 D-BR keeps the mean ACC of the backdoored model (within 1 point).", "Sec. 4.2",
          tables.mean_drop(1.0, dataset="cifar10")),
    Claim("each-fails", f"Every other method leaves an ASR above {ASR_HIGH:g} % under some attack on CIFAR-10.",
          "Sec. 4.2", tables.each_fails_once),
    Claim("acc-lost", f"All others but FT and MCR lose markedly in mean ACC on CIFAR-10 (over {MARKEDLY:g} points).",
          "Sec. 4.2", tables.most_lose_accuracy),
    Claim("anp-works", "ANP defends CIFAR-10 against Trojan and Blend (ASR < 1 %).", "Sec. 4.2",
          tables.below(1.0, ("trojan", "blend-strip", "blend-kitty"), defense="anp", dataset="cifar10")),
    Claim("anp-fails", "ANP fails under the clean-label attacks (ASR > 10 %).", "Sec. 4.2",
          tables.above(10.0, CLEAN_LABEL, defense="anp", dataset="cifar10")),
    Claim("dbr-best", "In every row on CIFAR-10 D-BR has the largest ACC minus ASR.", "Table 2, boldface",
          tables.leads("dbr", REMOVALS, dataset="cifar10")),
    Claim("ft-nad-100", f"On CIFAR-100 FT and NAD keep the ACC (> 68 %) and leave an ASR of {ASR_HIGH:g} % or more.",
          "Sec. 4.2", tables.keeps_backdoor),
    Claim("anp-abl-100", "On CIFAR-100 ANP and ABL bring the mean ASR below 0.1 %, at the cost of much ACC.",
          "Sec. 4.2", tables.cost_of_low_asr),
    Claim("mcr-100", "On CIFAR-100 MCR fails under Blend-Kitty only (ASR > 10 %).", "Sec. 4.2",
          tables.only("mcr", "blend-kitty", ASR_LOW, dataset="cifar100")),
    Claim("dbr-72", "On CIFAR-100 D-BR keeps the ACC higher than 72 %.", "Sec. 4.2",
          tables.above(72.0 + 1e-9, metric="acc", defense="dbr", dataset="cifar100")),
    Claim("dbr-100", "On CIFAR-100 D-BR reduces the ASR to almost 0 % (< 1 %).", "Sec. 4.2",
          tables.below(1.0, defense="dbr", dataset="cifar100")),
)  # fmt: skip
TABLE_3 = (
    Claim("ctl-low", f"CTL guarantees a low ASR (<= {ASR_LOW:g} %).", "Sec. 4.3",
          tables.below(ASR_LOW, variant="extractor=ctl")),
    Claim("ctl-acc", "CTL has less ACC than SS-CTL under every attack.", "Sec. 4.3", tables.contrast_costs),
    Claim("s-ctl-clean", "With S-CTL the ASR is almost 100 % under SIG and CL (>= 95 %).", "Sec. 4.3",
          tables.above(95.0, CLEAN_LABEL, variant="extractor=s-ctl")),
    Claim("s-ctl-dirty", "With S-CTL the ASR is almost 0 % under dirty-label attacks (< 1 %).", "Sec. 4.3",
          tables.below(1.0, DIRTY, variant="extractor=s-ctl")),
    Claim("ss-ctl-low", f"SS-CTL has a low ASR under every attack (<= {ASR_LOW:g} %).", "Sec. 4.3",
          tables.below(ASR_LOW, variant="extractor=ss-ctl")),
)  # fmt: skip
TABLE_5 = (
    Claim("dbr-imagenet", "On ImageNet D-BR's ASR is almost 0 % under all attacks (< 1 %).", "App. D",
          tables.below(1.0, defense="dbr")),
    Claim("abl-best", "Of the other methods ABL does best (mean ACC minus mean ASR).", "App. D", tables.best_of_others),
    Claim("abl-strip", "ABL fails under Blend-Strip only.", "App. D", tables.only("abl", "blend-strip", ASR_LOW)),
)  # fmt: skip
TABLE_6 = (
    Claim("attacks-85", "Only attacks whose ASR without defense is above 85 % are reported.", "Sec. 4.2, App. D",
          tables.above(85.0 + 1e-9, defense="none")),
    *(Claim(f"{name}-{rate:g}", f"At a rate of {100 * rate:g} % {words}'s ASR is low under every attack.", "App. G",
            tables.below(ASR_LOW, defense=name, poisoning_rate=rate))
      for rate in (0.05, 0.2) for name, words in (("dbr", "D-BR"), ("dst", "D-ST"))),
    Claim("acc-20", f"At 20 % D-BR keeps the mean ACC barely unchanged (within {BARELY:g} points).", "App. G",
          tables.mean_drop(BARELY, poisoning_rate=0.2)),
    Claim("acc-5", "At 5 % D-BR loses 2.62 points of mean ACC, no more.", "App. G",
          tables.mean_drop(2.62 + 1e-6, poisoning_rate=0.05)),
    Claim("rates", "Both methods do worse at 5 % than at 20 % (mean ACC minus mean ASR).", "App. G",
          tables.rates_compare),
)  # fmt: skip
TABLE_7 = (
    Claim("clean-pure", "The clean-precision is about 100 % on every network (>= 99.9 %).", "App. H",
          tables.models_within("clean_precision", 99.9, True)),
    Claim("large-features", "The poison-precision is low where features are large.", "App. H",
          tables.large_features_lose),
    Claim("dbr-models", "D-BR reduces the ASR from 100 % to almost 0 % on every network (< 1 %).", "App. H",
          tables.models_within("asr", 1.0, False, defense="dbr")),
    Claim("drop-models", "D-BR's ACC falls by 2.41 points at most.", "App. H", tables.largest_drop),
    Claim("densenet-8832", "The penultimate features of DenseNet-161 have 8832 entries.", "Table 7",
          tables.pooled_features),
)  # fmt: skip
FIGURE_1 = (
    Claim("moves", "Transformations move the features of poisoned samples further than those of clean ones.",
          "Sec. 1, Fig. 1", figures.moves),
)  # fmt: skip
FIGURE_3 = (
    Claim("fct-apart", f"FCT tells poisoned from clean samples (higher in {figures.APART:g} % of pairs).",
          "Sec. 3.2, Fig. 3", figures.apart("after")),
)  # fmt: skip
FIGURE_4 = (
    Claim("fct", f"With FCT the ASR is low under all attacks (<= {ASR_LOW:g} %; printed: < 0.5 %).", "Sec. 4.3",
          figures.fct_works),
    *(Claim(name, f"With {words} the ASR exceeds the ACC under BadNets, Blend and CL.", "Sec. 4.3",
            figures.metric_fails(name))
      for name, words in (("spectral", "spectral signatures"), ("sce", "DBD's loss"))),
    Claim("loss-ascent", "ABL's loss fails under Blend only.", "Sec. 4.3", figures.ascent_fails_once),
)  # fmt: skip
FIGURE_5 = (
    Claim("unlearn", "Pure unlearning lowers the ASR, and the ACC with it.", "Sec. 4.3", figures.unlearning),
    Claim("relearn", "Pure relearning keeps the ACC and hardly lowers the ASR.", "Sec. 4.3", figures.relearning),
    Claim("both", "In turn they end at a high ACC and a low ASR.", "Sec. 4.3", figures.alternating),
)  # fmt: skip
FIGURE_6 = (
    Claim("zero", "Without the second term the ASR is higher than at any positive weight.", "Sec. 4.3",
          figures.zero_is_worst),
    Claim("weight-costs", "As the weight grows the ACC falls.", "Sec. 4.3", figures.weight_costs),
)  # fmt: skip
FIGURE_8 = (
    Claim("dirty-before", "Dirty-label poison stands apart before the fine-tuning.", "App. A.1",
          figures.apart("before", DIRTY)),
    Claim("clean-before", f"Clean-label poison does not (higher in at most {figures.MIXED:g} % of pairs).", "App. A.1",
          figures.mixed_before),
    Claim("clean-after", "After the fine-tuning clean-label poison stands apart as well.", "App. A.1",
          figures.apart("after", CLEAN_LABEL)),
    Claim("dirty-gain", "The fine-tuning boosts the separation of dirty-label poison too.", "App. A.1",
          figures.tuning_helps(DIRTY)),
)  # fmt: skip
FIGURE_11 = (
    Claim("pairs-pure", "Most pairs of transformations give 100 % precision (median >= 99 %).", "App. E",
          figures.mostly_pure),
    Claim("flip-flip", "Flipping twice, which changes nothing, gives the lowest poison-precision.", "App. E",
          figures.identity_fails),
    Claim("erase", "Erasing as the second transformation is slightly worse than the others.", "App. E",
          figures.erase_second),
)  # fmt: skip
FIGURE_12 = (
    Claim("sig", "Under SIG the clean-precision exceeds 99 % and the poison-precision is low.", "App. E",
          figures.sig_pairs),
)  # fmt: skip
FIGURE_13 = (
    Claim("clean-0", f"Without clean samples the ACC is much lower (over {MARKEDLY:g} points).", "App. F",
          figures.share_matters("acc", "clean_share", 0.0, 0.2, True, MARKEDLY)),
    Claim("clean-80", "A clean share of 80 % raises the ASR.", "App. F",
          figures.share_matters("asr", "clean_share", 0.2, 0.8, True)),
    Claim("poison-0", f"Without poisoned samples the ASR stays higher (over {MARKEDLY:g} points).", "App. F",
          figures.share_matters("asr", "poison_share", 0.0, 0.1, False, MARKEDLY)),
    Claim("poison-20", "A poison share of 20 % costs ACC.", "App. F",
          figures.share_matters("acc", "poison_share", 0.01, 0.2, False)),
)  # fmt: skip
