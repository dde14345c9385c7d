"""Sentences of the chapters that speak about outcomes are true of the results they speak of.

A sentence is found by its words (`OUTCOME`). It must get its numbers from the results (glue), or stand in `SAID` with
what must be true of the committed frames for it; one that is in neither fails, so that none is written by heart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defenselib import papers
from defenselib.experiments import Experiment, Result, Store
from defenselib.papers import undefended
from defenselib.papers.asd import exhibits as asd
from defenselib.papers.dst_dbr import exhibits as dst_dbr
from defenselib.papers.kit import printed
from defenselib.papers.kit.claims import as_printed
from defenselib.papers.kit.verdict import ASSUMED_SPREAD
from defenselib.report.widgets import separations, splits
from defenselib.report.widgets.scores import scored

COMMITTED = Path(__file__).parents[2] / "book" / "results"
OUTCOME = re.compile(
    r"\bclaims?\b[^.]{0,80}\b(fails?|failed|holds?)\b|\bfailed claims?\b|\b(premise|both|it|that|this|statement)\b"
    r"[^.,;]{0,40}\b(holds?|fails?)\b(?! out)"
    r"|\bends?( up)? (slightly |a little |some )?(above|below(?! the)|without|within|ten)\b"
    r"|\bmeets both\b|\bfalls? short\b|\bcomes? out \(|\bdoes not come out\b|\bturns around\b|\bcounts as \*"
    r"|\bsurvives? adversarial\b|\bdoes so under\b|\bcannot be judged\b|\bin spite of\b.{0,30}\bsuccess\b"
)
# Words like these say what a rule asks, not what came out.
RULES = re.compile(
    r"\bis expected\b|\bare expected\b|\bwould\b|\bmust\b|\bexpected to\b|\bwhere a statement fails\b|\bwhat fails\b"
)


@cache
def frame(paper: str, exhibit: str, profile: str = "laptop") -> pd.DataFrame:
    return papers.get(paper).exhibit(exhibit).reproduce(profile=profile, store=COMMITTED)


def number(paper: str, exhibit: str, profile: str = "laptop", **where: str) -> float:
    rows = frame(paper, exhibit, profile)
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, (paper, exhibit, where)
    return float(rows["reproduced"].iloc[0])


def outcomes(paper: str, exhibit: str, profile: str = "laptop", printed: bool = False) -> dict[str, str]:
    found = frame(paper, exhibit, profile)
    table = papers.get(paper).exhibit(exhibit).claims(as_printed(found) if printed else found)
    return dict(zip(table["claim"], table["outcome"], strict=True))


def wanet_is_not_learned() -> bool:
    rows = frame("vab", "figure-1").query("attack == 'wanet' and metric == 'separation'")
    took = (rows["gate"] == "the attack reaches 63.9 % without defense").all()
    return bool(took and rows["reproduced"].between(45, 50).all() and len(rows) == 3)


def gtsrb_asr_of_asd() -> float:
    return number("asd", "table-2", dataset="gtsrb", attack="badnets", defense="asd", metric="asr")


def against_asd(repair: str) -> dict[str, float]:
    """ACC and ASR on GTSRB under BadNets at `laptop`, less the printed ones."""
    rows = frame("asd", "table-2")
    mine = rows[(rows["dataset"] == "gtsrb") & (rows["attack"] == "badnets") & (rows["defense"] == repair)]
    differences = mine["reproduced"].astype(float) - mine["published"].astype(float)
    return dict(zip(mine["metric"], differences.round(1), strict=True))


def admitted_on_gtsrb() -> int:
    """Poisoned samples in the last pool of ASD's run on GTSRB at `laptop`."""
    asked = Experiment(dataset="gtsrb", attack="badnets", defense="asd", profile="laptop", paper="asd")
    found = Store(COMMITTED).get(asked.resolve())
    assert found is not None
    return int([row["clean_poisoned"] for row in found.history if "clean_poisoned" in row][-1])


def vab(attack: str, metric: str, **where: str) -> float:
    return number("vab", "table-4" if where else "table-1", dataset="cifar10", attack=attack, defense="vab",
                  metric=metric, **where)  # fmt: skip


def vab_seeds() -> list[float]:
    rows = frame("vab", "table-1")
    mine = rows[(rows["attack"] == "badnets") & (rows["defense"] == "vab") & (rows["metric"] == "asr")]
    return list(mine["by_seed"].iloc[0].values())


def filter_leads() -> bool:
    """Filtering alone has the highest accuracy of all variants under BadNets and Blend."""
    rows = frame("vab", "table-4")
    acc = rows[(rows["metric"] == "acc") & (rows["defense"] == "vab") & rows["attack"].isin(["badnets", "blend"])]
    best = acc.loc[acc.groupby("attack")["reproduced"].idxmax()]
    return set(best["components"]) == {"F"} and "fails" in outcomes("vab", "table-4").values()


def split_of_dst(attack: str) -> tuple[float, float]:
    """Percent of the clean part that is clean, of the poisoned part that is poisoned."""
    clean, poison = (number("dst_dbr", "figure-4", attack=attack, defense="dbr", metric=f"{part}_precision")
                     for part in ("clean", "poison"))  # fmt: skip
    return clean, poison


def dst(attack: str, metric: str) -> float:
    return number("dst_dbr", "table-1", dataset="cifar10", model="resnet18", attack=attack, defense="dst",
                  metric=metric)  # fmt: skip


def undefended_of_dst() -> float:
    return number("dst_dbr", "table-2", dataset="cifar10", attack="badnets", defense="none", metric="acc")


def of_dbr(attack: str = "badnets", **more: Any) -> Result:
    asked = Experiment(attack=attack, defense="dbr", paper="dst_dbr", profile="laptop", **more)
    found = Store(COMMITTED).get(asked.resolve())
    assert found is not None
    return found


def rounds_of_dbr() -> bool:
    """The trigger works through the first seven of twenty rounds, not in the last five; ACC loses under 4 points."""
    rounds = of_dbr().history_frame().set_index("epoch")
    held, gone = rounds["asr"].loc[1:7], rounds["asr"].loc[16:20]
    return bool((held > 95).all() and (gone < 10).all() and 0 < rounds["acc"].loc[0] - rounds["acc"].loc[20] < 4)


def strip_holds() -> bool:
    """D-BR's trigger under Blend-Strip: how far it falls in the second half of the rounds, beside the first."""
    rounds = of_dbr(attack="blend-strip").history_frame().set_index("epoch")["asr"]
    return bool(rounds.loc[20] > 80 and rounds.loc[10] - rounds.loc[20] > 5 * (rounds.loc[0] - rounds.loc[10]))


def clean_at_zero() -> bool:
    """Whether that share of the clean images has a score of 0 after the fine-tuning, and no poisoned one has."""
    result = of_dbr(defense_args={"probe": "features", "rounds": 0})
    arrays = result.arrays
    poisoned = np.unpackbits(arrays["is_poisoned"])[: len(arrays["scores/fct/13"])].astype(bool)
    zero = arrays["scores/fct/13"] == 0
    return bool(0.85 < zero[~poisoned].mean() < 0.95 and not zero[poisoned].any())


def robust(attack: str, defense: str, metric: str = "asr") -> float:
    rows = frame("aabl", "table-3")
    mine = rows[(rows["dataset"] == "cifar10") & (rows["attack"] == attack) & (rows["defense"] == defense)]
    return float(mine.loc[mine["metric"] == metric, "reproduced"].dropna().iloc[0])


def kept(pattern: str, defense: str) -> Result | None:
    """A-ABL's cell of BadNets at laptop with this patch."""
    cell = Experiment(
        attack="badnets",
        attack_args={"pattern": pattern},
        defense=defense,
        paper="aabl",
        profile="laptop",
        measure=("acc", "asr", "ra", "sce") if defense == "aabl" else ("acc", "asr", "ra"),
    )
    return Store(COMMITTED).get(cell.resolve())


def patched(pattern: str, defense: str, less: str = "") -> float:
    """Its ASR, less one of its metrics."""
    result = kept(pattern, defense)
    assert result is not None and result.asr is not None
    return result.asr - (float(result.metrics[less]) if less else 0.0)


def attack_after(paper: str, attack: str, defense: str, stage: str, epoch: int) -> float:
    """ASR after an epoch (from 0) of a stage."""
    rows = found(paper, attack, defense).history_frame()
    return float(rows[(rows["stage"] == stage) & (rows["epoch"] == epoch)]["asr"].iloc[0])


def slow() -> bool:
    """On one poisoned set, 5 % of it: V&B's Victim and the undefended training."""
    asr = found("bsd", "badnets", "none").history_frame().set_index("epoch")["asr"]
    same = found("bsd", "badnets", "none").poisoned_count == found("bsd", "badnets", "vab").poisoned_count
    return bool(same and round(attack_after("bsd", "badnets", "vab", "warmup", 0)) == 99 and asr.loc[:12].max() < 50
                and asr.loc[13:].min() > 50)  # fmt: skip


def as_expected_of_asd() -> bool:
    """What is expected at `laptop`: an ASR of 90 % without a defense, an ACC within five points of the oracle's."""
    rows = asd.laptop_check("laptop", store=COMMITTED).set_index("attack")
    badnets, blend = rows.loc["badnets"], rows.loc["blend"]
    met = badnets["none_asr"] >= 90 and badnets["gap_oracle"] <= 5
    return bool(met and round(blend["none_asr"], 1) == 74.0 and round(blend["gap_oracle"], 1) == 7.4)


def no_more_than_chance() -> bool:
    rows = asd.doubled("laptop", store=COMMITTED).set_index("defense").loc["asd"]
    return bool(round(rows["twice_asr"], 1) == 10.7 and round(rows["asr"], 1) == 8.0
                and rows["twice_asr"] - rows["asr"] < ASSUMED_SPREAD["asr"])  # fmt: skip


def admitted_by_the_last() -> bool:
    """Mean over three seeds of the share of the poison that is in ASD's last pool."""
    shares = []
    for seed in (0, 1, 2):
        result = found("asd", "badnets", "asd", seed=seed)
        shares.append(result.history_frame()["clean_poisoned"].iloc[-1] / result.poisoned_count)
    return round(100 * float(np.mean(shares))) == 68


def let_in(attack: str, score: str, epoch: int) -> int:
    """Poisoned samples that BSD's cut by a score lets in at an epoch, as the widget counts them."""
    cuts = [one for one in scored(found("bsd", attack, "bsd")) if (one.score.array, one.epoch) == (score, epoch)]
    shown = splits.view(cuts[0])
    assert shown["own"] is not None or epoch == 2
    return int(shown["rows"][shown["start"]][2])


def cuts_of_bsd() -> bool:
    attacks = ("badnets", "blend", "wanet")
    oss, als = ([let_in(one, score, 8) for one in attacks] for score in ("distance_min", "altruistic_loss"))
    runs = [found("bsd", one, "bsd") for one in attacks]
    args = runs[0].experiment["defense_args"]
    blind = [round(args[share] * 911) for share in ("beta", "alpha")]
    return (oss, als, blind, args["stage1_end"]) == ([140, 138, 146], [150, 705, 803], [182, 547], 8) and all(
        run.poisoned_count == 911 for run in runs
    )


def ascent() -> bool:
    """The loss of ascent, minus the cross-entropy, falls in every round, under both attacks."""
    both = [
        of_dbr(attack=one).history_frame().set_index("epoch")["unlearn"].dropna() for one in ("badnets", "blend-strip")
    ]
    return all(len(one) == 20 and (one.diff().dropna() < 0).all() for one in both)


PAGES = ("attacks", "leaderboard", "coverage", "changed", "status", "findings", "verdicts")
SPLIT = ("trojan", "blend", "wanet")
# Paper, words of the sentence, what must be true for it.
SAID: list[tuple[str, str, Callable[[], bool]]] = [
    ("asd", "failed claims on the paper's Figure 3", lambda: "fails" in outcomes("asd", "figure-3").values()),
    ("asd", "BadNets meets both; Blend neither (74.0 %; 7.4 points)", as_expected_of_asd),
    ("asd", "10.7 % after 8.0, differs by no more than chance", no_more_than_chance),
    ("asd", "the last pool under BadNets holds 68 % of all poison, more than a blind half would", admitted_by_the_last),
    ("asd", "([V&B's Victim](vab) needs one)", lambda: attack_after("vab", "badnets", "vab", "warmup", 0) > 95),
    ("asd", "it keeps the backdoor out", lambda: gtsrb_asr_of_asd() <= 10),
    ("asd", "admits hundreds of poisoned samples", lambda: 200 <= admitted_on_gtsrb() < 2000),
    ("asd", "to a tenth", lambda: all(abs(difference) <= 0.1 for difference in against_asd("nad").values())),
    ("bsd", "fails on the paper's own Table 1", lambda: outcomes("bsd", "table-1", printed=True)["over-20"] == "fails"),
    ("bsd", "it holds in Table 2", lambda: outcomes("bsd", "table-2", printed=True)["over-20"] == "holds"),
    ("bsd", "let in 140, 138 and 146 by OSS under BadNets, Blend and WaNet (blindly: 182), and 150, 705 and 803 by "
     "ALS (547)", cuts_of_bsd),
    ("bsd", "OSS is at chance", lambda: let_in("badnets", "distance_min", 2) == 182),
    ("bsd", "ablation cannot be judged", lambda: set(outcomes("bsd", "table-6").values()) <= {"undecided", "not run"}),
    ("vab", "the attack reaches 64 % without a defense, too little to decide anything", wanet_is_not_learned),
    ("vab", "it obeys 99 % of the triggers after one epoch, and ordinary training half of them after fourteen", slow),
    ("vab", "does so under Blend", lambda: vab("blend", "asr") <= 10 and vab("badnets", "asr") <= 10),
    ("vab", "two of them end a little above", lambda: sum(value > 10 for value in vab_seeds()) == 2),
    ("vab", "Table 4 turns around", filter_leads),
    ("dst_dbr", "Both hold for BadNets and for Blend-Strip: no sample of either part is in the wrong one",
     lambda: split_of_dst("badnets") == split_of_dst("blend-strip") == (100, 100)),
    ("dst_dbr", "an attack success below five percent under both, and is right on little more than half",
     lambda: all(dst(one, "asr") < 5 and 50 < dst(one, "acc") < 60 for one in ("badnets", "blend-strip"))),
    ("dst_dbr", "Undefended training is right on four fifths", lambda: 78 < undefended_of_dst() < 82),
    ("dst_dbr", "holds for seven rounds and is gone in the last five", rounds_of_dbr),
    ("dst_dbr", "it still works after twenty rounds, and falls faster towards their end", strip_holds),
    ("dst_dbr", "Twice the rounds bring it down to three percent",
     lambda: 2.5 < float(dst_dbr.doubled(store=COMMITTED)["twice_asr"].iloc[0]) < 3.5),
    ("dst_dbr", "nine tenths of the clean images end with a score of 0", clean_at_zero),
    ("dst_dbr", "its poison has the higher score in 100.0 % of the pairs",
     lambda: number("dst_dbr", "figure-3", attack="blend-strip", metric="separation") >= 99.95),
    ("dst_dbr", "the cross-entropy on the suspects grows in every round", ascent),
    ("aabl", "both end with an ASR of about a tenth or less",
     lambda: max(robust("badnets", "aabl"), robust("trojan", "aabl")) <= 12),
    ("aabl", "are called the target as often", lambda: abs(patched("grid3", "aabl", "false_target")) <= 1),
    ("aabl", "Trojan does not survive adversarial training", lambda: robust("trojan", "adv-train") <= 10),
    ("aabl", "BackdoorBench's white square does", lambda: patched("white3", "adv-train") >= 50),
    ("aabl", "was not trained adversarially without the split", lambda: kept("grid3", "adv-train") is None),
    ("aabl", "ends below adversarial training alone in ACC",
     lambda: all(robust(name, "aabl", "acc") < robust(name, "adv-train", "acc") for name in SPLIT)),
]  # fmt: skip


def prose(paper: str, root: Path) -> str:
    cells = json.loads((root / "notebooks" / f"{paper}.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def sentences(text: str) -> list[str]:
    """Sentences outside of code, on one line each; headings and items of lists are sentences of their own."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    parts = re.split(r"\n\s*\n|\n(?=- |#|\|)", text)
    return [found for part in parts for found in re.split(r"(?<=[.!?:])\s+", " ".join(part.split())) if found]


def unchecked(text: str, known: list[str]) -> list[str]:
    """The sentences about outcomes that nothing checks."""
    about = [one for one in sentences(text) if OUTCOME.search(one) and not RULES.search(one) and "{glue" not in one]
    return [one for one in about if not any(words in one for words in known)]


@pytest.mark.parametrize("paper", [*papers.available(), *PAGES])
def test_no_outcome_is_written_by_heart(paper: str, root: Path) -> None:
    known = [words for key, words, _ in SAID if key == paper]
    assert unchecked(prose(paper, root), known) == []


@pytest.mark.parametrize("paper", papers.available())
def test_notes_state_no_outcome(paper: str) -> None:
    for exhibit, text in printed.notes(paper).items():
        assert unchecked(text, []) == [], exhibit
        assert "smoke" not in text


@pytest.mark.slow
@pytest.mark.parametrize(("paper", "words", "true"), SAID, ids=[f"{key}: {words}" for key, words, _ in SAID])
def test_what_is_said_is_true_and_still_said(paper: str, words: str, true: Callable[[], bool], root: Path) -> None:
    assert words in " ".join(prose(paper, root).split())
    assert true()


def test_sentences_that_were_wrong_are_found() -> None:
    """Two that stood in the book beside tables that said otherwise."""
    first = (
        "At `laptop` the two kinds overlap under BadNets after the brief training, so that the first claim fails: the"
    )
    second = "That is why ASD's attack success under Blend ends slightly above ten percent there."
    third = "Twice the iterations close the gap. {glue:text}`gap` holds."
    assert unchecked(f"{first}\n\n{second}\n\n{third}", []) == [first[:-4], second]
    assert unchecked("A claim holds only where it would hold everywhere.", []) == []


def test_what_the_chapter_on_bsd_says_of_nads_weight() -> None:
    rows = frame("bsd", "table-15")
    rows = rows.assign(weight=pd.to_numeric(rows["beta"], errors="coerce"))
    printed = rows[(rows["weight"] >= 500) & (rows["weight"] <= 10_000)]
    assert (printed.groupby(["attack", "metric"])["published"].nunique() == 1).all()
    ran = rows[rows["reproduced"].notna() & (rows["metric"] == "acc")]
    undefended = (
        frame("bsd", "table-2").query("defense == 'none' and metric == 'acc'").set_index("attack")["reproduced"]
    )
    cost = ran["attack"].map(undefended) - ran["reproduced"]
    assert len(ran[ran["weight"] >= 1500]) >= 39 and (cost[ran["weight"] >= 1500] > 15).all()
    assert (ran["reproduced"][ran["weight"] >= 5000] < 22).all()


def found(paper: str, attack: str, defense: str, **more: Any) -> Result:
    result = Store(COMMITTED).get(
        Experiment(attack=attack, defense=defense, paper=paper, profile="laptop", **more).resolve()
    )
    assert result is not None
    return result


def test_what_the_chapter_on_bsd_says_of_chosen_pools() -> None:
    rows = found("bsd", "badnets", "bsd", defense_args={"initial_pool": "random"}).history_frame()
    rows = rows[rows["stage"] == "bsd"].set_index("epoch")
    assert set(rows.loc[:9, "clean_size"]) == {4000} and round(rows.loc[9, "acc"]) == 65
    assert (rows.loc[10:11, "clean_size"] < 4400).all() and rows.loc[11, "acc"] < 50


def test_what_the_page_on_laptop_says_of_another_network(root: Path) -> None:
    ran = [found("bsd", attack, "none", model="mobilenet_v2") for attack in ("badnets", "blend")]
    assert f"(ASR {' and '.join(f'{one.asr:.0f}' for one in ran)})" in (root / "book" / "laptop.md").read_text()
    assert all(one.asr < 50 for one in ran)
    repaired = [frame("bsd", name).query("model == 'mobilenet_v2'") for name in ("table-14", "table-16")]
    assert all(rows["reproduced"].isna().all() for rows in repaired)


def test_what_the_chapter_on_dst_says_of_the_repairs() -> None:
    def of(attack: str, defense: str, metric: str) -> float:
        return number("dst_dbr", "table-2", dataset="cifar10", attack=attack, defense=defense, metric=metric)

    attacks = ("badnets", "trojan", "blend-strip")
    assert all(of(attack, "nad", "acc") < 20 for attack in attacks)
    assert all(of(attack, "mcr", "asr") >= 90 for attack in attacks)
    assert of("trojan", "anp", "asr") < 5 < of("blend-strip", "anp", "asr") < 50 and of("badnets", "anp", "asr") > 95
    assert round(of("trojan", "ft", "asr")) == 35 and min(of(one, "ft", "asr") for one in attacks[::2]) > 80
    less = found("dst_dbr", "trojan", "nad", defense_args={"beta": [50.0, 100.0]})
    assert round(less.acc) == 70 and round(less.asr) == 15
    usual = found("dst_dbr", "trojan", "nad").history_frame()["attention_loss"]
    assert usual.iloc[-1] > 3 * usual.iloc[0]


def test_what_the_chapter_on_vab_says_of_the_mixing_and_of_dynamic() -> None:
    for attack, points in (("badnets", 15), ("blend", 10)):
        filtering = {"semi_supervised": False}
        mixed = found("vab", attack, "vab", defense_args=filtering)
        plain = found("vab", attack, "vab", defense_args=filtering | {"augmentation": "none"})
        assert int(plain.acc - mixed.acc) == points


def test_what_the_page_on_running_says_of_drawn_images() -> None:
    rows = pd.read_csv(COMMITTED / "trials" / "demo.csv")
    first = rows[rows["seed"] == 0].set_index(["defense", "attack"])

    def holds(defense: str) -> set[str]:
        return {attack for attack in first.loc[defense].index if first.loc[defense, attack]["gates"] == "hold"}

    assert holds("aabl") == {"badnets", "blend", "trojan", "sig"} and holds("asd") == {"badnets", "blend", "trojan"}
    assert holds("dbr") == {"badnets", "trojan", "sig"} and holds("vab") == holds("dst") == {"badnets", "trojan"}
    assert holds("bsd") == holds("abl") == {"badnets"} and holds("fp") == {"blend"}
    assert not any(map(holds, ("cbd", "dbd", "ft", "nad", "anp", "mcr", "spectral")))
    both = rows[(rows["seed"] == 1) & (rows["attack"] == "badnets")]
    fp32, seed_1 = (both[mine].set_index("defense") for mine in (both["bf16"] == "as fp32", both["bf16"] != "as fp32"))
    for name in ("asd", "vab", "dst", "dbr"):
        assert fp32.loc[name, "gates"] == "hold" and (name == "dst" or seed_1.loc[name, "gates"] == "hold")
    assert (fp32.loc["bsd", "rarest_recall"], seed_1.loc["bsd", "rarest_recall"]) == (36, 98)
    assert (fp32.loc["abl", "target_recall"], seed_1.loc["abl", "target_recall"]) == (52, 94)
    assert fp32.loc["aabl", "asr"] == 10 and fp32.loc["aabl", "acc"] == 100
    assert round(seed_1.loc["none", "acc"] - seed_1.loc["aabl", "acc"]) == 8
    assert first.loc[("cbd", "badnets"), "asr"] == 9.1 and first.loc[("asd", "wanet"), "asr"] == 8.0
    assert first.loc[("dbd", "badnets"), "rarest_recall"] == 0
    assert (first.loc["anp"]["asr"] <= 5).sum() == 3 and (first.loc["nad"]["acc"] < 65).all()
    for trigger in ("trojan", "sig"):  # the class that the vote named instead
        assert first.loc[("bsd", trigger), "rarest_recall"] == 0 and first.loc[("bsd", trigger), "asr"] > 90
    assert first.loc[("vab", "sig"), "asr"] == 0 and first.loc[("vab", "sig"), "rarest_recall"] == 0


def test_what_the_page_on_attacks_says_of_the_adaptive_attack(root: Path) -> None:
    assert "Of the adaptive attack's 99.8 % a clean model shows 66.0 %" in " ".join(prose("attacks", root).split())
    rows = undefended.table("laptop", "cifar10", [undefended.Case("adaptive", "asd")], store=COMMITTED)
    assert rows[["asr", "clean_asr"]].round(1).to_numpy().tolist() == [[99.8, 66.0]] and rows["works"].all()


def test_what_the_page_explore_says_of_scores_below_chance() -> None:
    rows = separations(store=Store(COMMITTED))
    areas = rows[rows["profile"] == "laptop"].groupby(["defense", "setting"])["area"].agg(["min", "max"])
    for setting in ("CIFAR-10, Blend", "CIFAR-10, WaNet"):
        assert areas.loc[("aabl", setting), "max"] < 30
    assert areas.loc[("cbd", "CIFAR-10, BadNets"), "max"] < 20
    assert attack_after("bsd", "badnets", "cbd", "backdoor", 4) < 15, "the first network has not learned the trigger"
    als = rows[rows["score"].str.startswith("ALS") & (rows["setting"] == "CIFAR-10, WaNet")]
    assert len(als) and (als["area"] < 40).all()


def test_what_the_pages_on_verdicts_and_laptop_say_of_times(root: Path) -> None:
    verdicts, laptop = (" ".join((root / "book" / f"{name}.md").read_text().split()) for name in ("verdicts", "laptop"))
    results = [json.loads(file.read_text()) for name in ("laptop", "gpu") for file in (COMMITTED / name).glob("*.json")]
    taken = {gpu: [one["seconds"] / 60 for one in results if bool(one["machine"].get("gpu")) == gpu
                   and one["profile"] == ("gpu" if gpu else "laptop")] for gpu in (False, True)}  # fmt: skip
    assert "mostly below 40 minutes on a CPU, at most some two hours" in verdicts
    assert np.mean([minutes < 40 for minutes in taken[False]]) > 0.9 and 110 < max(taken[False]) < 140
    assert "2 to 6 minutes on a shared GPU" in verdicts
    assert round(min(taken[True])) == 2 and round(max(taken[True])) == 6
    assert "DBD took 96 minutes, ASD on GTSRB 46" in laptop
    dbd = found("asd", "badnets", "dbd")
    gtsrb = found("asd", "badnets", "asd", dataset="gtsrb")
    assert (round(dbd.seconds / 60), round((gtsrb.cpu_seconds or 0) / 60)) == (96, 46)


def test_what_the_page_on_verdicts_says_of_a_wide_class(root: Path) -> None:
    said = "NAD under BadNets (ASD's Table 2) is printed with an ACC of 88.2, measured with 64.0, and agrees"
    assert said in " ".join((root / "book" / "verdicts.md").read_text().split())
    rows = frame("asd", "table-2").query("dataset == 'cifar10' and attack == 'badnets' and metric == 'acc'")
    (nad,) = rows[rows["defense"] == "nad"].itertuples()
    assert (float(nad.published), round(nad.reproduced, 1), nad.verdict) == (88.2, 64.0, "agrees")


def test_what_the_page_on_presets_says_of_two_readings() -> None:
    def undefended(attack: str, key: str, value: float, epochs: int = 20) -> float:
        found = [
            one
            for file in (COMMITTED / "laptop").glob(f"cifar10-{attack}-none-s0-*.json")
            if (one := json.loads(file.read_text()))["poisoned_count"]
            and one["experiment"]["attack_args"].get(key, 0.0) == value
            and one["experiment"]["defense_args"]["epochs"] == epochs
        ]
        assert len(found) == 1, (attack, key, value)
        return round(float(found[0]["asr"]), 1)

    assert undefended("iab", "cross_per_poisoned", 1) == 72.5 and undefended("iab", "cross_share", 0.1) == 47.7
    assert undefended("refool", "weakest", 0.6) == 66.6 and undefended("refool", "weakest", 0.05) == 35.1
    assert undefended("refool", "weakest", 0.05, epochs=40) == 40.0
    splits = [json.loads(f.read_text()) for f in (COMMITTED / "laptop").glob("cifar10-trojan-aabl-s0-*.json")]
    for reading, kept in (("add", 1.2), ("replace", 1.8)):
        mine = [one for one in splits if one["experiment"]["attack_args"].get("combine", "add") == reading]
        assert {round(one["metrics"]["poison_kept"] + 1e-9, 1) for one in mine} == {kept}
