"""How numbers, names, settings and outcomes are said to readers: once, for tables, drawings, widgets and pages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

NONE = "–"
VARIANT = re.compile(r"[\w-]+=[^=;]+(;[\w-]+=[^=;]+)*")
SPACE = "\N{NO-BREAK SPACE}"

# Five verdicts and five outcomes of claims (see `papers.kit.verdict`, `papers.kit.claims`): a mark and the word.
MARKS = {
    "agrees": "✓",
    "differs": "✗",
    "undecided": "?",
    "not comparable": "○",
    "not run": NONE,
    "holds": "✓",
    "holds so far": "◐",
    "fails": "✗",
    "yes": "✓",
    "no": "✗",
    "current": "✓",
    "older": "✗",
}
NAMES = {
    "none": "no defense",
    "dbd-meta-split": "DBD (meta-split)",
    "dst_dbr": "D-ST and D-BR",
    "dst": "D-ST",
    "dbr": "D-BR",
    "vab": "V&B",
    "aabl": "A-ABL",
    "adv-train": "adversarial training",
    "oracle": "ASD (oracle split)",
    "badnets": "BadNets",
    "badnets-all2all": "BadNets (all to all)",
    "blend": "Blend",
    "blend-kitty": "Blend (cat)",
    "blend-noise": "Blend (noise)",
    "blend-strip": "Blend (stripes)",
    "clb": "Label-consistent",
    "cl-16": "CL-16",
    "cl-32": "CL-32",
    "iab": "Input-aware",
    "simclr-baseline": "SimCLR baseline",
    "supcon-baseline": "SupCon baseline",
    "spectral": "spectral signatures",
    "wanet": "WaNet",
    "refool": "Refool",
    "trojan": "Trojan",
    "narcissus": "Narcissus",
    "adaptive": "adaptive attack",
    "dynamic": "Dynamic",
    "average": "average",
    "worst": "worst",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "gtsrb": "GTSRB",
    "imagenet-subset": "ImageNet subset",
    "imagenet-12": "ImageNet (12 classes)",
    "imagenet-30": "ImageNet (30 classes)",
    "imagenet-200": "ImageNet (200 classes)",
    "vggface2": "VGGFace2",
    "tiny-imagenet": "Tiny ImageNet",
    "shapes": "shapes",
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
    "resnet50": "ResNet-50",
    "vgg16": "VGG-16",
    "vgg19": "VGG-19",
    "densenet121": "DenseNet-121",
    "densenet161": "DenseNet-161",
    "mobilenet_v2": "MobileNetV2",
}
METRICS = {
    "gamma": "data kept (γ)",
    "rho_vul": "poison in what is kept (ρ)",
    "clean_precision": "precision of the clean part",
    "poison_precision": "precision of the suspects",
    "correct": "target found",
    "eps_255": "budget (of 255)",
    "resists": "poison that keeps its label (%)",
    "hard": "hard clean samples in the pool",
    "poisoned": "poisoned samples in the pool",
    "poison": "poison in the pool (%)",
    "asr": "ASR",
    "acc": "ACC",
    "acc - asr": "ACC minus ASR",
    "asr - acc": "ASR minus ACC",
}
# Columns of a frame, and axes of exhibits. What is not here is said with spaces for its dashes.
COLUMNS = {
    "dataset": "data set",
    "model": "network",
    "poisoning_rate": "rate",
    "ssl": "learner",
    "poisoned_seeds": "poisoned seed samples",
    "seeds": "seed samples",
    "without": "left out",
    "left": "epochs before the end",
    "pgd_iterations": "steps of PGD",
    "eps": "budget",
    "stage3_epochs": "epochs of stage 3",
    "item": "what",
    "setting": "",
    "what": "",
    "scope": "",
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "tau": "τ",
    "t_m": "mixing threshold",
    "yt_method": "target found by",
    "target_rule": "labels",
    "stop_at": "stopped at",
    "test_trigger": "trigger at test time",
    "extra-clean": "clean samples given",
    "sd-metric": "score",
    "finetune": "fine-tuning",
    "over": "mean over",
}
VALUES = {
    "asd": "ASD",
    "mixmatch": "MixMatch",
    "remixmatch": "ReMixMatch",
    "uda": "UDA",
    "imagenet-transfer": "of another data set",
    "default2": "second default",
    "comp": "class completion",
    "drop": "selective dropping",
    "init": "pool initialization",
    "stage1": "stage 1",
    "stage2": "stage 2",
    "stage3": "stage 3",
    "lga": "local gradient ascent",
    "automix": "AugMix",
    "autoaugment": "AutoAugment",
    "randaugment": "RandAugment",
    "ifgsm": "iFGSM",
    "pgd": "PGD",
    "sce": "SCE",
    "ce": "CE",
    "fct": "FCT",
    "attentionmix": "AttentionMix",
    "attentive-cutmix": "Attentive CutMix",
    "cutmix": "CutMix",
    "mixup": "Mixup",
    "ctl": "CTL",
    "s-ctl": "S-CTL",
    "ss-ctl": "SS-CTL",
    "sd": "SD",
    "t_m": "mixing threshold",
    "all2one": "all to one",
    "all2all": "all to all",
}
COPIES = {
    "cifar10-jpeg": "CIFAR-10 here went through JPEG (quality 75, 4:2:0) before any trigger was put on",
    "shapes": "drawn shapes, no evidence",
}
TO_NAME = ("dataset", "attack", "defense", "model", "test_trigger")


def missing(value: Any) -> bool:
    return value is None or value != value


def number(value: Any, digits: int = 1, unit: str = "") -> str:
    """A number with so many decimals, thousands in groups; words as they are, a dash for none."""
    if missing(value):
        return NONE
    return value if isinstance(value, str) else f"{float(value):,.{digits}f}{unit}"


def numbers(values: Iterable[Any], digits: int = 1) -> list[str]:
    return [number(value, digits) for value in values]


def mean(value: Any, spread: float = math.nan, digits: int = 1) -> str:
    """A mean with its standard deviation, where there is one ("81.0 ± 1.4")."""
    said = number(value, digits)
    return said if missing(spread) else f"{said}{SPACE}±{SPACE}{number(spread, digits)}"


def percent(share: Any) -> str:
    """A share in percent; empty where none is stated."""
    return "" if missing(share) else f"{100 * float(share):g}{SPACE}%"


def plural(count: int, word: str) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def marked(word: str) -> str:
    """A verdict or an outcome with its mark."""
    return f"{MARKS[word]} {word}"


def label(name: str, kind: str = "defense") -> str:
    """The name that readers see; `none` is "no attack" for kind "attack"."""
    if name == "none" and kind == "attack":
        return "no attack"
    return NAMES.get(name, name.upper() if len(name) <= 4 else name)


def exhibit(key: str) -> str:
    """An exhibit's name: "Table 2" for table-2."""
    return "Running text" if key.startswith("text-") else key.replace("-", " ").capitalize()


def run_label(name: str) -> str:
    """The words for one of several runs under an attack, named "attack" or "attack, more words"."""
    attack_name, comma, more = name.partition(", ")
    return label(attack_name, "attack") + comma + more


def axis(column: str) -> str:
    """A column of a frame in words; empty where its values speak for themselves."""
    return COLUMNS.get(column, column.replace("_", " ").replace("-", " "))


def value(found: Any, column: str) -> str:
    """A value of a column in words; empty for none."""
    if isinstance(found, list | tuple):
        return ", ".join(value(one, column) for one in found)
    if missing(found):
        return ""
    if column in ("poisoning_rate", "rate", "extra-clean"):
        return percent(found) if not isinstance(found, str) else found
    if isinstance(found, int | float):
        return f"{found:g}"
    said = str(found)
    if column in TO_NAME:
        return label(said, "attack" if column == "test_trigger" else column)
    if column == "metric":
        return METRICS.get(said, said.upper() if len(said) <= 3 else said.replace("_", " "))
    return VALUES.get(said) or said.replace("-", " ").replace("_", " ")


def spoken(text: str) -> str:
    """A printed variant in words, "alpha=0.3;ssl=uda" as "α 0.3, learner UDA"; any other text as it is."""
    if not VARIANT.fullmatch(text):
        return text
    return setting(dict(part.split("=") for part in text.split(";")), [part.split("=")[0] for part in text.split(";")])


def setting(row: Mapping[str, Any], columns: Iterable[str]) -> str:
    """Where a row stands on some columns: "learner MixMatch, α 0.3"; what it does not say is left out."""
    parts = []
    for column in columns:
        said = value(row[column], column)
        if said:
            parts.append(said if column in TO_NAME or column == "metric" else f"{axis(column)} {said}".strip())
    return ", ".join(parts)
