"""The claims of BSD's tables, by exhibit (Shen et al., ICML 2025)."""

from __future__ import annotations

from defenselib.papers.bsd import checks
from defenselib.papers.bsd import checks_parts as parts
from defenselib.papers.bsd.checks import ADVANCE, NAMES
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW, DER_HIGH

LOW, HIGH = f"<= {ASR_LOW:g} %", f">= {ASR_HIGH:g} %"
_BEST_CELLS = Claim(
    "best-cells",
    "BSD's DER is the highest, or shares the first place, in every cell.",
    "Tables 1 to 3",
    checks.best_in_every_cell,
)
_LOW = Claim("low", f"Under BSD every ASR is low ({LOW}).", "Sec. 5.2, 5.5", checks.asr_low)
_SENSITIVE = Claim(
    "sensitive",
    f"The baseline is sensitive to its setting: under one attack at least, the ASR moves by {ADVANCE:g} points.",
    "App. D.9",
    checks.sensitive,
)


TABLE_1 = (
    *(
        Claim(f"leads-{dataset}", f"On {name} BSD has the highest average DER.", "Sec. 5.2", checks.leads(dataset))
        for dataset, name in NAMES.items()
    ),
    Claim(
        "over-asd",
        "BSD's average DER is at least ASD's, on every data set.",
        "Sec. 5.2",
        checks.everywhere(*(checks.leads(dataset, 0.0, ("asd", "bsd")) for dataset in NAMES)),
    ),
    _BEST_CELLS,
    _LOW,
    Claim(
        "keeps-acc",
        f"BSD costs at most {ACC_MARGIN:g} points of ACC (the largest printed loss is 0.3).",
        "Table 1",
        checks.keeps_accuracy,
    ),
    Claim("dbd", "On CIFAR-10 DBD has a slight edge in ASR, and a lower ACC.", "Sec. 5.2", checks.dbd_trades),
    Claim(
        "abl",
        f"ABL underfits under WaNet on CIFAR-10: it loses more than {ACC_MARGIN:g} points there, not under the others.",
        "Sec. 5.2",
        checks.abl_underfits,
    ),
    Claim("repairs", "BSD has a higher ACC than FP and NAD and no higher ASR.", "Sec. 5.2", checks.above_repairs),
    Claim(
        "over-20",
        f"BSD surpasses existing defenses by over {ADVANCE:g} points of average DER, here on every data set.",
        "Abstract",
        checks.everywhere(*(checks.leads(dataset, ADVANCE) for dataset in NAMES)),
    ),
)
TABLE_2 = (
    Claim("leads", "BSD has the best average DER.", "Sec. 5.2", checks.leads("cifar10")),
    _BEST_CELLS,
    _LOW,
    Claim(
        "dbd-fails",
        f"DBD fails on the three clean-label attacks (ASR {HIGH}).",
        "Sec. 5.2",
        checks.fails_on("dbd", checks.CLEAN_LABEL),
    ),
    Claim(
        "over-20",
        f"BSD surpasses existing defenses by over {ADVANCE:g} points of average DER.",
        "Abstract",
        checks.leads("cifar10", ADVANCE),
    ),
)
TABLE_3 = (
    Claim("leads", "With MobileNet-v2 too BSD has the best average DER.", "Sec. 5.3", checks.leads("cifar10")),
    _BEST_CELLS,
    _LOW,
    Claim("keeps-acc", f"BSD costs at most {ACC_MARGIN:g} points of ACC.", "Table 3", checks.keeps_accuracy),
    Claim("asd-fails", f"ASD fails with MobileNet-v2 (ASR {HIGH}).", "Table 3", checks.fails_on("asd")),
)
TABLE_4 = (
    Claim(
        "every-target",
        f"Whatever the target, the ASR is low ({LOW}) and the DER high (>= {DER_HIGH:g}).",
        "Sec. 5.5",
        checks.every_target,
    ),
)
TABLE_5 = (
    Claim(
        "cost",
        f"BSD costs about as much as ASD or less (at most {checks.FASTER:g} times as much).",
        "Sec. 5.6",
        checks.cheaper,
    ),
    Claim(
        "dbd-slowest",
        "DBD is the slowest of the three.",
        "Table 5",
        checks.everywhere(*(checks.dbd_slowest(dataset) for dataset in NAMES)),
    ),
)
TABLE_6 = (
    Claim("init", "Without the initialisation the backdoor returns.", "Sec. 5.7", parts.init_needed),
    Claim("comp", "Without class completion the ACC falls.", "Sec. 5.7", parts.completion_needed),
    Claim("drop", "Without selective drop the ASR is higher.", "Sec. 5.7", parts.drop_helps),
)
TABLE_7 = (
    Claim("robust", "For 0.3 <= alpha <= 0.7 at beta 0.2 the ASR stays low.", "Sec. 5.7", parts.robust_range),
    Claim(
        "large-alpha",
        "Large alpha costs ACC: 0.9 has less than the default under every attack.",
        "Table 7",
        parts.large_alpha,
    ),
    Claim("large-beta", "alpha = beta = 0.7 has the worst DER of all under WaNet.", "Table 7", parts.large_beta),
)
TABLE_8 = (
    Claim("early", "After 5 epochs there is no poison among the isolated.", "Table 8", parts.isolation_early),
    Claim("usual", "After 15 and 25 epochs the vote is right.", "App. D.3", parts.isolation_usual),
    Claim("later", "Longer warm-ups isolate less poison than 15 epochs.", "Table 8", parts.isolation_later),
)
TABLE_9 = (
    Claim("leads", "BSD has a better average DER than V&B, D-ST and D-BR.", "App. D.4", checks.newer_baselines),
    Claim("vab-sig", f"V&B struggles with SIG (ASR {HIGH}).", "App. D.4", checks.fails_on("vab", ("sig",))),
    Claim("dst-sig", f"D-ST fails on SIG (ASR {HIGH}).", "Table 9", checks.fails_on("dst", ("sig",))),
    _LOW,
)
TABLE_10 = tuple(
    Claim(
        f"clean-{dataset}",
        f"Nothing poisoned, {NAMES[dataset]}: BSD costs at most {ACC_MARGIN:g} points of ACC, has more than ASD, and "
        "fewer images with the trigger go to the target class than under either.",
        "App. D.5",
        checks.nothing_poisoned(dataset),
    )
    for dataset in ("cifar10", "gtsrb")
)
TABLE_11 = (Claim("found", "The target label is found, whichever it is.", "App. D.6", parts.always_right),)
TABLE_12 = (
    Claim(
        "all-to-all",
        f"BSD brings the ASR to the level of chance (<= {2 * ASR_LOW:g} %) and has a better DER than ASD.",
        "App. D.8",
        checks.all_to_all,
    ),
)
SEARCHES = (_SENSITIVE,)
TEXT_1 = (Claim("adaptive", f"BSD resists the adaptive attack (ASR {LOW}).", "App. D.7", checks.adaptive),)
