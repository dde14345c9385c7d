"""What A-ABL's authors read off their figures, as checks (Zhao and Wressnegger, AISec 2024, Figures 2 to 11)."""

from __future__ import annotations

from collections.abc import Callable

from defenselib.papers.kit.claims import Claim, Missing, Numbers
from defenselib.papers.kit.verdict import ASR_LOW

EASY = ("badnets", "trojan", "clb", "iab")  # category A
HARD = ("blend", "ssba", "wanet")  # category B
NEARLY_ALL, HALF = 95.0, 50.0
SURVIVES = 90.0
Check = Callable[[Numbers], tuple[bool, str]]


def by_attack(numbers: Numbers, attacks: tuple[str, ...], variant: str, metric: str) -> dict[str, float]:
    """One number for each of the attacks that were run; Missing if none was."""
    found, _ = numbers.many(attack=attacks, variant=variant, metric=metric)
    return {name.split("/")[1]: value for name, value in found.items()}


def words(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in numbers.items())


def patches_are_strong(numbers: Numbers) -> tuple[bool, str]:
    found = by_attack(numbers, ("badnets", "trojan"), "rate=0.01", "asr")
    return min(found.values()) >= NEARLY_ALL, words(found)


def pictures_are_weak(numbers: Numbers) -> tuple[bool, str]:
    found = by_attack(numbers, ("blend", "wanet"), "rate=0.01", "asr")
    return max(found.values()) < NEARLY_ALL, words(found)


def easy_resists(variant: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = by_attack(numbers, EASY, variant, "resists")
        return min(found.values()) >= HALF, words(found)

    return check


def hard_flips(numbers: Numbers) -> tuple[bool, str]:
    found = by_attack(numbers, HARD, "eps=2", "resists")
    return max(found.values()) < HALF, words(found)


def medians_against_cut(attacks: tuple[str, ...], below: bool) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        medians = by_attack(numbers, attacks, "panel=sce;group=poisoned", "median")
        cuts = by_attack(numbers, attacks, "panel=sce", "cut")
        holds = all((value <= cuts[name]) == below for name, value in medians.items())
        return holds, f"median SCE: {words(medians)}; cut: {words(cuts)}"

    return check


def hard_falls_from_two(numbers: Numbers) -> tuple[bool, str]:
    before, after = (by_attack(numbers, HARD, variant, "asr") for variant in ("eps=0", "eps=2"))
    both = [name for name in before if name in after]
    if not both:
        raise Missing("needs ASR at both budgets")
    return all(after[name] < before[name] for name in both), f"without: {words(before)}; at 2/255: {words(after)}"


def hard_is_gone(numbers: Numbers) -> tuple[bool, str]:
    found = by_attack(numbers, HARD, "eps=8", "asr")
    return max(found.values()) <= ASR_LOW, words(found)


def easy_survives(numbers: Numbers) -> tuple[bool, str]:
    found = by_attack(numbers, EASY, "eps=8", "asr")
    return min(found.values()) >= SURVIVES, words(found)


def few_are_harmless(numbers: Numbers) -> tuple[bool, str]:
    found = by_attack(numbers, EASY, "rate=0.01", "asr")
    return max(found.values()) <= ASR_LOW, words(found)


def course(numbers: Numbers, where: str, group: str, metric: str = "loss") -> list[float]:
    """A number by epoch; `where` and `group` as the variant has them."""
    start = f"{where};group={group};epoch=" if group else f"{where};epoch="
    rows = numbers.rows[(numbers.rows["metric"] == metric) & numbers.rows["variant"].str.startswith(start)]
    if rows.empty:
        raise Missing(f"needs {metric} of {start}")
    return [float(value) for value in rows["reproduced"]]


def natural_gap(numbers: Numbers) -> tuple[bool, str]:
    gaps = {}
    for rate in ("0.1", "0.01"):
        clean, poisoned = (course(numbers, f"rate={rate};panel=plain", group) for group in ("clean", "poisoned"))
        gaps[rate] = sum(clean) / len(clean) - sum(poisoned) / len(poisoned)
    return gaps["0.1"] > 2 * max(gaps["0.01"], 0.0), f"clean minus poisoned loss, mean over the epochs: {words(gaps)}"


def adversarial_gap(numbers: Numbers) -> tuple[bool, str]:
    holds, said = True, []
    for rate in ("0.1", "0.01"):
        last = {group: course(numbers, f"rate={rate};panel=ifgsm", group)[-1] for group in ("clean", "poisoned")}
        holds &= last["poisoned"] < last["clean"] / 2
        said.append(f"rate {rate}: {words(last)}")
    return holds, f"adversarial loss after the last epoch, {'; '.join(said)}"


def sce_spreads(numbers: Numbers) -> tuple[bool, str]:
    found = {name: numbers.one(variant=f"panel={name}", metric="between") for name in ("sce", "ce")}
    return found["sce"] > found["ce"], f"share of variance between the groups (%): {words(found)}"


def sce_ranks_better(numbers: Numbers) -> tuple[bool, str]:
    found = {name: numbers.one(variant=f"panel={name}", metric="separation") for name in ("sce", "ce")}
    return found["sce"] > found["ce"] + 0.1, f"pairs in the right order (%): {words(found)}"


def poison_stays_out(numbers: Numbers) -> tuple[bool, str]:
    last = {group: course(numbers, "panel=plain", group)[-1] for group in ("clean", "poisoned")}
    return last["poisoned"] > 2 * last["clean"], f"loss after the last epoch: {words(last)}"


def both_rise(numbers: Numbers) -> tuple[bool, str]:
    found = {name: course(numbers, "panel=accuracy", "", name) for name in ("acc", "ra")}
    said = {name: values[-1] - values[0] for name, values in found.items()}
    return min(said.values()) > 0, f"last epoch minus first, in points: {words(said)}"


def poison_has_high_loss(panel: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        groups = {
            group: by_attack(numbers, (*EASY, *HARD), f"panel={panel};group={group}", "median")
            for group in ("clean", "poisoned")
        }
        holds = all(value > groups["clean"][name] for name, value in groups["poisoned"].items())
        return holds, f"median SCE, clean: {words(groups['clean'])}; poisoned: {words(groups['poisoned'])}"

    return check


FIGURE_2 = (
    Claim("patches-strong", "BadNets and Trojan reach an ASR of 100 % at 1 % poison (here: at least 95 %)", "Sec. 4.1",
          patches_are_strong),
    Claim("pictures-weak", "Blend and WaNet do not", "Sec. 4.1", pictures_are_weak),
)  # fmt: skip
FIGURE_3 = (
    Claim("easy-resists", "at 2/255 at least half of the category A poison keeps its label", "Sec. 4.1",
          easy_resists("eps=2")),
    Claim("hard-flips", "at 2/255 less than half of the category B poison keeps its label", "Sec. 4.1", hard_flips),
    Claim("up-to-eight", "category A resists budgets up to 8/255", "Sec. 4.1", easy_resists("eps=8")),
)  # fmt: skip
FIGURE_4 = (
    Claim("easy-low", "poison of category A stays in the low peak: its median lies below Otsu's cut", "Sec. 4.1",
          medians_against_cut(EASY, below=True)),
    Claim("hard-high", "poison of category B is pushed into the high one: its median lies above", "Sec. 4.1",
          medians_against_cut(HARD, below=False)),
)  # fmt: skip
FIGURE_5 = (
    Claim("steps", "more steps do not break category A: at 20 steps at least half keeps its label", "Sec. 4.1",
          easy_resists("steps=20")),
)  # fmt: skip
FIGURE_6 = (
    Claim("hard-falls", "category B starts to fall at 2/255", "Sec. 4.2", hard_falls_from_two),
    Claim("hard-gone", "category B is suppressed at 8/255: ASR at most 10 %", "Sec. 4.2", hard_is_gone),
    Claim("easy-survives", "category A survives 8/255: ASR at least 90 %", "Sec. 4.2", easy_survives),
)  # fmt: skip
FIGURE_7 = (
    Claim("few-harmless", "at low rates adversarial training stops category A too: ASR at most 10 % at 1 %",
          "Sec. 4.2", few_are_harmless),
)  # fmt: skip
FIGURE_8 = (
    Claim("natural-gap", "the natural loss gap is there at 10 % and disappears at 1 % (here: less than half of it)",
          "Sec. 5.1", natural_gap),
    Claim("adversarial-gap", "the adversarial loss of poison is low at both rates (here: below half of that of clean)",
          "Sec. 5.1", adversarial_gap),
)  # fmt: skip
FIGURE_9 = (
    Claim("sce-spreads", "SCE makes two clusters where CE is spread: more of its variance lies between the groups",
          "Sec. 5.2", sce_spreads),
    Claim("sce-ranks", "SCE ranks poison better than CE (it cannot: one is an increasing function of the other)",
          "suggested by Sec. 5.2", sce_ranks_better),
)  # fmt: skip
FIGURE_10 = (
    Claim("stays-out", "the loss of poison stays high: after the last epoch more than twice that of clean samples",
          "Sec. 5.3", poison_stays_out),
    Claim("both-rise", "ACC and RA increase with the training", "Sec. 5.3", both_rise),
)  # fmt: skip
FIGURE_11 = (
    Claim("high-loss", "after A-ABL poison has a higher loss than clean samples (median)", "Sec. 6.2",
          poison_has_high_loss("plain")),
    Claim("high-adversarial-loss", "under perturbation too", "Sec. 6.2", poison_has_high_loss("ifgsm")),
)  # fmt: skip
