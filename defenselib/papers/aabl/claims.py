"""What A-ABL's authors say, as checks on the frames of their tables (Zhao and Wressnegger, AISec 2024).

Some statements do not hold in the paper's own tables: `claims.as_printed` shows which.
"""

from __future__ import annotations

from collections.abc import Callable

from defenselib.papers.kit.claims import Claim, Missing, Numbers
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW, POISON_LEFT

EASY = ("badnets", "trojan", "clb", "iab")  # category A
HARD = ("blend", "ssba", "wanet")  # category B
BOTH = (*EASY, *HARD)
OTHERS = ("abl", "dbd", "dst", "cbd")
DATASETS = ("cifar10", "gtsrb", "tiny-imagenet")
FAILURE = 90.0  # caption of Table 3
SURVIVES = 90.0
NEAR_RHO = 2.0  # points around the poisoning rate

Check = Callable[[Numbers], tuple[bool, str]]


def listed(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())


def cells(numbers: Numbers, **where: object) -> dict[str, float]:
    """The numbers that `where` names, by all that tells them apart."""
    found = numbers.select(**where)
    if found.empty:
        raise Missing(f"needs {', '.join(str(value) for value in where.values())}")
    names = ("dataset", "model", "attack", "defense", "poisoning_rate", "variant")
    told = [name for name in names if found[name].nunique(dropna=False) > 1] or ["attack"]
    labels = found[told].astype(object).fillna("").astype(str).agg(" ".join, axis=1)
    return dict(zip(labels, found["reproduced"].astype(float), strict=True))


def every(low: float, high: float, **where: object) -> Check:
    """All numbers that `where` names lie in [low, high]."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        values, wanted = cells(numbers, **where), len(Numbers(numbers.frame, numbers.frame).select(**where))
        outside = {name: value for name, value in values.items() if not low <= value <= high}
        words = (
            f"outside: {listed(outside)}" if outside else f"{min(values.values()):.2f} to {max(values.values()):.2f}"
        )
        return not outside, f"{len(values)} of {wanted} cells; {words}"

    return check


def benign_kept(numbers: Numbers) -> tuple[bool, str]:
    """gamma (1 - rho_vul) / (1 - rho), rho = 5 % for CLB, which poisons half of a class of ten, else 10 %."""
    gammas, coverage = numbers.many(dataset="cifar10", metric="gamma", attack=BOTH)
    kept = {}
    for name, gamma in gammas.items():
        attack = name.split("/")[1]
        rho_vul = numbers.one(dataset="cifar10", metric="rho_vul", attack=attack)
        kept[attack] = gamma * (100 - rho_vul) / (95 if attack == "clb" else 90)
    return min(kept.values()) > 85, f"{coverage}: {listed(kept)}"


def lowest(attack: str) -> Check:
    """A-ABL's ASR in the rows `average` or `worst` is below that of every other defense, on each data set."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        holds, words = True, []
        for dataset in DATASETS:
            try:
                found = {
                    name: numbers.one(dataset=dataset, attack=attack, metric="asr", defense=name)
                    for name in (*OTHERS, "adv-train", "aabl")
                }
            except Missing:
                continue
            holds &= min(found, key=lambda name: found[name]) == "aabl"
            words.append(f"{dataset}: {listed(found)}")
        if not words:
            raise Missing(f"needs the {attack} of every defense")
        return holds, "; ".join(words)

    return check


def close(metric: str) -> Check:
    """A-ABL minus adversarial training, mean over the cells that both have."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        mine, _ = numbers.many(defense="aabl", metric=metric, attack=("none", *BOTH))
        other, _ = numbers.many(defense="adv-train", metric=metric, attack=("none", *BOTH))
        pairs = [mine[name] - other[name.replace("/aabl", "/adv-train")] for name in mine
                 if name.replace("/aabl", "/adv-train") in other]  # fmt: skip
        if not pairs:
            raise Missing(f"needs {metric} of both in one cell")
        mean = sum(pairs) / len(pairs)
        return abs(mean) <= ACC_MARGIN, f"{mean:+.2f} points of {metric.upper()} over {len(pairs)} cells"

    return check


def others_fail(numbers: Numbers) -> tuple[bool, str]:
    worst = {}
    for name in OTHERS:
        values, _ = numbers.many(defense=name, metric="asr", attack=BOTH)
        worst[name] = max(values.values())
    return min(worst.values()) > FAILURE, f"highest ASR: {listed(worst)}"


def split_variants(metric: str) -> Callable[[Numbers], dict[str, dict[str, float]]]:
    def found(numbers: Numbers) -> dict[str, dict[str, float]]:
        return {
            split: {name.split("/")[1]: value
                    for name, value in numbers.many(variant=f"split={split}", metric=metric)[0].items()}
            for split in ("ifgsm", "randaugment", "autoaugment", "automix")
        }  # fmt: skip

    return found


def smaller_subset(numbers: Numbers) -> tuple[bool, str]:
    found = split_variants("gamma")(numbers)
    mine = found.pop("ifgsm")
    bad = [f"{attack} {split}" for split, row in found.items() for attack, value in row.items()
           if attack in mine and value >= mine[attack]]  # fmt: skip
    return not bad, ", ".join(bad) or f"{', '.join(f'{s}: {max(r.values()):.1f} at most' for s, r in found.items())}"


def best_on_easy(numbers: Numbers) -> tuple[bool, str]:
    found = split_variants("rho_vul")(numbers)
    mine = {attack: value for attack, value in found.pop("ifgsm").items() if attack in EASY}
    bad = [f"{attack} {split} {row[attack]:.2f} against {mine[attack]:.2f}" for split, row in found.items()
           for attack in mine if attack in row and row[attack] < mine[attack]]  # fmt: skip
    return not bad, ", ".join(bad) or listed(mine)


def near_no_attack(metric: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        drops = {}
        for model in ("vgg16", "mobilenet_v2", "densenet121"):
            try:
                plain = numbers.one(model=model, attack="none", metric=metric)
                values, _ = numbers.many(model=model, attack=BOTH, metric=metric)
            except Missing:
                continue
            drops[model] = plain - min(values.values())
        if not drops:
            raise Missing(f"needs {metric} with and without attack")
        return max(drops.values()) <= ACC_MARGIN, f"largest drop in points: {listed(drops)}"

    return check


def costs_accuracy(numbers: Numbers) -> tuple[bool, str]:
    few, _ = numbers.many(poisoning_rate=0.01, metric="acc")
    many, _ = numbers.many(poisoning_rate=0.2, metric="acc")
    drops = {name.split("/")[1]: few[name] - many[name] for name in few if name in many}
    if not drops:
        raise Missing("needs ACC at both rates")
    return min(drops.values()) > 0, f"drop in points: {listed(drops)}"


TABLE_1 = (
    Claim("easy-removed", "nearly all category A poison is isolated: at most 1 % of D_vul on every data set",
          "Sec. 6.1", every(0, POISON_LEFT, metric="rho_vul", attack=EASY)),
    Claim("hard-stays", "on CIFAR-10 category B poison stays: rho_vul is within 2 points of rho = 10 %", "Sec. 6.2",
          every(10 - NEAR_RHO, 10 + NEAR_RHO, metric="rho_vul", attack=HARD, dataset="cifar10")),
    Claim("hard-stays-everywhere", "rho_vul of category B 'remains nearly equal' to rho on every data set", "Sec. 6.2",
          every(10 - NEAR_RHO, 10 + NEAR_RHO, metric="rho_vul", attack=HARD)),
    Claim("gamma", "on CIFAR-10 D_vul holds more than 76 % of the data", "Sec. 6.1",
          every(76, 100, metric="gamma", dataset="cifar10", attack=BOTH)),
    Claim("benign-kept", "on CIFAR-10 more than 85 % of the benign samples are kept", "Sec. 6.1", benign_kept),
)  # fmt: skip
TABLE_2 = (
    Claim("easy-gone", "the split eliminates category A: naive training on D_vul leaves ASR at most 10 %", "Sec. 6.1",
          every(0, ASR_LOW, metric="asr", attack=EASY)),
    Claim("hard-there", "the split does not stop category B: ASR at least 50 %", "Sec. 6.1",
          every(ASR_HIGH, 100, metric="asr", attack=HARD)),
)  # fmt: skip
TABLE_3 = (
    Claim("adv-easy", "adversarial training alone leaves category A 'nearly 100 %': ASR at least 90 %", "Sec. 6.2",
          every(SURVIVES, 100, metric="asr", defense="adv-train", attack=EASY)),
    Claim("adv-hard", "adversarial training alone suppresses category B: ASR at most 10 %", "Sec. 6.2",
          every(0, ASR_LOW, metric="asr", defense="adv-train", attack=HARD)),
    Claim("aabl-easy", "with the split category A falls too: ASR at most 10 %", "Sec. 6.2",
          every(0, ASR_LOW, metric="asr", defense="aabl", attack=EASY)),
    Claim("aabl-hard", "A-ABL suppresses category B: ASR at most 10 %", "Sec. 6.2",
          every(0, ASR_LOW, metric="asr", defense="aabl", attack=HARD)),
    Claim("aabl-average", "A-ABL has the lowest ASR on average", "Sec. 1, Table 3", lowest("average")),
    Claim("aabl-worst", "A-ABL has the lowest ASR in the worst case", "Sec. 1, Table 3", lowest("worst")),
    Claim("aabl-acc", "A-ABL's ACC is comparable to adversarial training's: within 5 points on average", "Sec. 1",
          close("acc")),
    Claim("aabl-ra", "A-ABL's RA is comparable to adversarial training's: within 5 points on average", "Sec. 1",
          close("ra")),
    Claim("others-fail", "every defense against backdoors alone fails somewhere (ASR above 90 %)", "Sec. 6.2",
          others_fail),
    Claim("dst-fails", "D-ST fails (ASR above 90 %) against Blend and WaNet on CIFAR-10 and GTSRB", "Sec. 6.2",
          every(FAILURE, 100, metric="asr", defense="dst", attack=("blend", "wanet"), dataset=("cifar10", "gtsrb"))),
)  # fmt: skip
_WITH_SUSPICIOUS = "subset=clean+suspicious;training=adversarial"
TABLE_4 = (
    Claim("dst-adv", "adversarial training on either subset of D-ST suppresses the backdoor: ASR at most 10 %",
          "Sec. 6.2", every(0, ASR_LOW, metric="asr")),
    Claim("dst-adv-all", "on clean and suspicious samples together it does: ASR at most 10 %", "Sec. 6.2",
          every(0, ASR_LOW, metric="asr", variant=_WITH_SUSPICIOUS)),
)  # fmt: skip
TABLE_5 = (
    Claim("smaller", "every augmentation keeps less of the data than iFGSM", "Sec. 6.3", smaller_subset),
    Claim("best-on-easy", "iFGSM leaves the least category A poison (the bold numbers)", "Table 5", best_on_easy),
    Claim("none-on-hard", "no augmentation isolates category B: rho_vul stays above half of rho", "Sec. 6.3",
          every(5, 100, metric="rho_vul", attack=HARD,
                variant=tuple(f"split={name}" for name in ("randaugment", "autoaugment", "automix")))),
)  # fmt: skip
TABLE_6 = (
    Claim("networks-asr", "A-ABL works on every network: ASR at most 10 %", "Sec. 6.3",
          every(0, ASR_LOW, metric="asr", attack=BOTH)),
    Claim("networks-acc", "ACC is comparable under every attack: within 5 points of no attack", "Sec. 6.3",
          near_no_attack("acc")),
    Claim("networks-ra", "RA is comparable under every attack: within 5 points of no attack", "Sec. 6.3",
          near_no_attack("ra")),
)  # fmt: skip
TABLE_7 = (
    Claim("low-rates", "A-ABL works at 1 % and 5 %: ASR at most 10 %", "Sec. 6.3",
          every(0, ASR_LOW, metric="asr", poisoning_rate=(0.01, 0.05))),
    Claim("high-rate", "at 20 % poison no backdoor is injected either: ASR at most 10 %", "Sec. 6.3",
          every(0, ASR_LOW, metric="asr", poisoning_rate=0.2)),
    Claim("high-rate-acc", "20 % poison costs accuracy, against 1 %, under every attack", "Sec. 6.3", costs_accuracy),
)  # fmt: skip
TEXT = (
    Claim("patches", "BadNets and Trojan have an ASR of 100 % at 1 % poison (here: at least 95 %)", "Sec. 4.1",
          every(95, 100, metric="asr", poisoning_rate=0.01)),
    Claim("text-gamma", "D_vul holds more than 76 % of CIFAR-10 under every attack", "Sec. 6.1",
          every(76, 100, metric="gamma")),
    Claim("text-benign", "more than 85 % of the benign samples are kept", "Sec. 6.1",
          every(85, 100, metric="benign_kept")),
)  # fmt: skip
