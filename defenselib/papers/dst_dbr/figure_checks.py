"""How the statements on the figures of D-ST and D-BR are decided; `dst_dbr_claims` lists them."""

from __future__ import annotations

from statistics import median

from defenselib.papers.dst_dbr.checks import CLEAN_LABEL, Check, listed
from defenselib.papers.dst_dbr.measures import fields
from defenselib.papers.kit.claims import Missing, Numbers
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW

APART = 90.0  # percent of pairs in which the poisoned sample scores higher: the distributions stand apart
MIXED = 75.0  # below: they do not
PURE = 99.0


def of_attacks(numbers: Numbers, metric: str, variant: str, attacks: tuple[str, ...] = ()) -> dict[str, float]:
    """One number of each attack that was run; raises `Missing` for none."""
    rows = numbers.select(metric=metric, variant=variant)
    if attacks:
        rows = rows[rows["attack"].isin(attacks)]
    if rows.empty:
        raise Missing(f"needs {metric} of {variant} {' '.join(attacks)}")
    return dict(zip(rows["attack"].astype(str), rows["reproduced"].astype(float), strict=True))


def moves(numbers: Numbers) -> tuple[bool, str]:
    found = {name: numbers.one(metric="median", variant=f"group={name}") for name in ("clean", "poisoned")}
    return found["poisoned"] > found["clean"], f"median squared distance: {listed(found)}"


def apart(moment: str, attacks: tuple[str, ...] = ()) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = of_attacks(numbers, "separation", f"moment={moment}", attacks)
        return min(found.values()) >= APART, f"poison above clean in % of pairs: {listed(found)}"

    return check


def mixed_before(numbers: Numbers) -> tuple[bool, str]:
    found = of_attacks(numbers, "separation", "moment=before", CLEAN_LABEL)
    return max(found.values()) <= MIXED, f"poison above clean in % of pairs: {listed(found)}"


def tuning_helps(attacks: tuple[str, ...]) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        before, after = (of_attacks(numbers, "separation", f"moment={name}", attacks) for name in ("before", "after"))
        gains = {name: after[name] - value for name, value in before.items() if name in after}
        return min(gains.values()) >= 0, f"gain in points: {listed(gains)}"

    return check


def fct_works(numbers: Numbers) -> tuple[bool, str]:
    found = of_attacks(numbers, "asr", "metric=fct")
    return max(found.values()) <= ASR_LOW, f"ASR: {listed(found)}"


def metric_fails(metric: str) -> Check:
    """With this metric the ASR exceeds the ACC under BadNets, Blend and CL."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        names = ("badnets", "blend-strip", "clb")
        acc, asr = (of_attacks(numbers, name, f"metric={metric}", names) for name in ("acc", "asr"))
        gaps = {name: asr[name] - acc[name] for name in asr}
        return min(gaps.values()) > 0, f"ASR minus ACC: {listed(gaps)}"

    return check


def ascent_fails_once(numbers: Numbers) -> tuple[bool, str]:
    found = of_attacks(numbers, "asr", "metric=loss-ascent")
    if len(found) < 2 or "blend-strip" not in found:
        raise Missing("needs Blend and another attack")
    return {name for name, value in found.items() if value > ASR_LOW} == {"blend-strip"}, f"ASR: {listed(found)}"


def ends(numbers: Numbers, steps: str, metric: str) -> dict[str, tuple[float, float]]:
    """First and last value of every attack's curve."""
    rows = numbers.select(metric=metric)
    said = rows["variant"].map(fields)
    rows = rows[[item.get("steps") == steps for item in said]]
    found: dict[str, list[tuple[int, float]]] = {}
    for attack, variant, value in zip(rows["attack"], rows["variant"], rows["reproduced"], strict=True):
        found.setdefault(str(attack), []).append((int(fields(variant)["epoch"]), float(value)))
    if not found:
        raise Missing(f"needs the curves of {steps}")
    return {name: (min(points)[1], max(points)[1]) for name, points in found.items()}


def words_of(found: dict[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} {first:.1f} to {last:.1f}" for name, (first, last) in found.items())


def unlearning(numbers: Numbers) -> tuple[bool, str]:
    acc, asr = (ends(numbers, "unlearn", name) for name in ("acc", "asr"))
    fallen = all(last < first for first, last in [*acc.values(), *asr.values()])
    return fallen, f"ACC: {words_of(acc)}; ASR: {words_of(asr)}"


def relearning(numbers: Numbers) -> tuple[bool, str]:
    acc, asr = (ends(numbers, "relearn", name) for name in ("acc", "asr"))
    kept = all(first - last <= ACC_MARGIN for first, last in acc.values())
    left = all(last >= ASR_HIGH for _, last in asr.values())
    return kept and left, f"ACC: {words_of(acc)}; ASR: {words_of(asr)}"


def alternating(numbers: Numbers) -> tuple[bool, str]:
    acc, asr = (ends(numbers, "both", name) for name in ("acc", "asr"))
    kept = all(first - last <= ACC_MARGIN for first, last in acc.values())
    gone = all(last <= ASR_LOW for _, last in asr.values())
    return kept and gone, f"ACC: {words_of(acc)}; ASR: {words_of(asr)}"


def along(numbers: Numbers, metric: str, name: str, values: tuple[float, ...]) -> dict[str, list[float]]:
    """The numbers of every attack at these values of a hyper-parameter; attacks that lack one are left out."""
    columns = []
    for value in values:
        rows = numbers.select(metric=metric, variant=f"{name}={value:g}")
        columns.append(dict(zip(rows["attack"].astype(str), rows["reproduced"].astype(float), strict=True)))
    common = [attack for attack in columns[0] if all(attack in column for column in columns)]
    if not common:
        raise Missing(f"needs {metric} at {name} {', '.join(f'{value:g}' for value in values)} under one attack")
    return {attack: [column[attack] for column in columns] for attack in common}


def shown(found: dict[str, list[float]]) -> str:
    return "; ".join(f"{name}: {', '.join(f'{value:.1f}' for value in values)}" for name, values in found.items())


def zero_is_worst(numbers: Numbers) -> tuple[bool, str]:
    found = along(numbers, "asr", "poison_weight", (0.0, 0.001, 0.01, 0.1, 1.0))
    return all(values[0] > max(values[1:]) for values in found.values()), f"ASR: {shown(found)}"


def weight_costs(numbers: Numbers) -> tuple[bool, str]:
    found = along(numbers, "acc", "poison_weight", (0.001, 0.01, 0.1, 1.0))
    return all(values[-1] < values[0] for values in found.values()), f"ACC: {shown(found)}"


def share_matters(metric: str, name: str, less: float, more: float, rises: bool, least: float = 0.0) -> Check:
    """From one share to the other the number rises (falls) by more than `least` points under every attack."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        found = along(numbers, metric, name, (less, more))
        sign = 1 if rises else -1
        holds = all(sign * (values[1] - values[0]) > least for values in found.values())
        return holds, f"{metric.upper()} at {less:g} and {more:g}: {shown(found)}"

    return check


def pairs(numbers: Numbers, metric: str) -> dict[str, dict[tuple[str, str], float]]:
    """A precision of every attack by pair of transformations."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    rows = numbers.select(metric=metric)
    for attack, variant, value in zip(rows["attack"], rows["variant"], rows["reproduced"], strict=True):
        said = fields(variant)
        found.setdefault(str(attack), {})[said["first"], said["second"]] = float(value)
    if not found:
        raise Missing(f"needs {metric} of pairs of transformations")
    return found


def mostly_pure(numbers: Numbers) -> tuple[bool, str]:
    middle = {
        f"{attack} {metric}": median(values.values())
        for metric in ("clean_precision", "poison_precision")
        for attack, values in pairs(numbers, metric).items()
    }
    return min(middle.values()) >= PURE, f"median of the pairs: {listed(middle)}"


def identity_fails(numbers: Numbers) -> tuple[bool, str]:
    found = pairs(numbers, "poison_precision")
    flips = {attack: values["flip", "flip"] for attack, values in found.items()}
    holds = all(values["flip", "flip"] <= min(values.values()) for values in found.values())
    return holds and max(flips.values()) < ASR_HIGH, f"flip twice: {listed(flips)}"


def erase_second(numbers: Numbers) -> tuple[bool, str]:
    words, holds = {}, True
    for attack, values in pairs(numbers, "poison_precision").items():
        last = [value for (_, second), value in values.items() if second == "erase"]
        rest = [value for pair, value in values.items() if pair[1] != "erase" and pair != ("flip", "flip")]
        words[f"{attack}, erase second"], words[f"{attack}, others"] = sum(last) / len(last), sum(rest) / len(rest)
        holds &= sum(last) / len(last) < sum(rest) / len(rest)
    return holds, f"mean poison-precision: {listed(words)}"


def sig_pairs(numbers: Numbers) -> tuple[bool, str]:
    clean, poison = (pairs(numbers, name) for name in ("clean_precision", "poison_precision"))
    least = {attack: min(values.values()) for attack, values in clean.items()}
    most = {attack: max(values.values()) for attack, values in poison.items()}
    holds = min(least.values()) > PURE and max(most.values()) < ASR_HIGH
    return holds, f"least clean-precision: {listed(least)}; largest poison-precision: {listed(most)}"
