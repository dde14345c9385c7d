"""Tables of trials within a page: names in words, what all rows share in the caption, every cell as the file has it."""

from __future__ import annotations

import math
import re
from html import unescape
from pathlib import Path

import pandas as pd

from defenselib.report import trials

BOOK = Path(__file__).parents[2] / "book"


def test_a_block_becomes_a_table(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("attack,defense,acc,seed\nbadnets,vab,0.9371,7\nbadnets,none,12,7\n")
    text, files = trials.expand("before\n\n```{trials} some.csv\nA caption\nin two lines.\n```\nafter", tmp_path)
    assert files == [tmp_path / "some.csv"]
    assert text.startswith("before\n\n```{raw} html\n<div") and text.endswith("</div>\n```\nafter")
    assert "A caption in two lines.; attack BadNets; seed 7" in text
    assert ">V&amp;B<" in text and ">no defense<" in text and ">0.9371<" in text and ">12<" in text
    assert '<th scope="col">ACC</th>' in text and "seed</th>" not in text


def test_pairs_with_goals_stand_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(
        "attack,defense,seed,acc,asr,gates\n"
        "badnets,ft,0,99,91,fail: asr<=5\nbadnets,asd,0,99,0,hold\nbadnets,none,0,100,100,hold\n"
        'blend,asd,0,90,6,"fail: asr<=5, acc within 5"\nblend,asd,1,98,2,hold\n'
    )
    text, files = trials.expand("```{goals} pairs.csv\nWho defends\n```", tmp_path)
    assert files == [tmp_path / "pairs.csv"]
    matrix, every = text.split("<details")
    rows = [unescape(re.sub(r"<[^>]+>", "|", row)) for row in re.findall(r"<tr.*?</tr>", matrix)[2:]]
    told = [[cell.strip() for cell in row.split("|") if cell.strip()] for row in rows]
    # Repairs come last; a mean over two seeds, of which one missed a goal; a pair that was not run is a dash.
    assert told == [
        ["no defense", "100.0", "100.0", "✓", "holds", "–", "–"],
        ["ASD", "99.0", "0.0", "✓", "holds", "94.0", "4.0", "✗", "fails"],
        ["Blend: asr<=5, acc within 5 (1 of 2 runs)"],
        ["FT", "99.0", "91.0", "✗", "fails", "–", "–"],
        ["BadNets: asr<=5"],
    ]
    assert "5 trainings" in every and every.count("<tr>") == 6


def test_what_the_page_says_of_seconds() -> None:
    rows = pd.read_csv(BOOK / "results" / "trials" / "demo.csv")
    slow = rows["bf16"] == "as fp32"
    assert math.ceil(rows[~slow]["cpu_seconds"].max()) == 135
    over = rows[slow & (rows["cpu_seconds"] > 180)]
    assert [*zip(over["defense"], over["cpu_seconds"].round(), strict=True)] == [("dst", 246)]
    pairs = rows[slow].merge(rows[~slow & rows["cpu_seconds"].notna()], on=["attack", "defense", "seed"])
    assert len(pairs) > 4 and (pairs["cpu_seconds_x"] / pairs["cpu_seconds_y"]).max() < 3.2


def test_what_the_page_says_of_who_holds_where() -> None:
    rows = pd.read_csv(BOOK / "results" / "trials" / "demo.csv")
    rows = rows[rows["bf16"] != "as fp32"]
    held: dict[tuple[str, str], list[bool]] = {}
    for row in rows.to_dict("records"):
        held.setdefault((row["defense"], row["attack"]), []).append(row["gates"] == "hold")
    runs = {pair: f"{sum(found)} of {len(found)}" for pair, found in held.items() if any(found) and pair[0] != "none"}
    always = {pair for pair, said in runs.items() if said in ("2 of 2", "3 of 3")}
    assert always == {
        *(("dbr", attack) for attack in ("badnets", "trojan", "sig")),
        *(("asd", attack) for attack in ("badnets", "blend", "trojan")),
        *((name, attack) for name in ("vab", "dst") for attack in ("badnets", "trojan")), ("bsd", "badnets"),
        ("abl", "badnets"), ("aabl", "blend"),
    }  # fmt: skip
    assert {pair: said for pair, said in runs.items() if pair not in always} == {
        **dict.fromkeys((("aabl", "trojan"), ("aabl", "sig"), ("bsd", "trojan"), ("vab", "sig")), "1 of 2"),
        **dict.fromkeys((("aabl", "badnets"), ("bsd", "blend"), ("fp", "blend")), "2 of 3"),
        ("asd", "wanet"): "1 of 2",
        ("cbd", "badnets"): "1 of 3",
    }
    dbd = rows[rows["defense"] == "dbd"]
    assert (dbd["rarest_recall"] == 0).all()
    sig = rows[(rows["attack"] == "sig") & (rows["defense"] == "none")].set_index("seed")["asr"]
    assert sig[0] > 85 and sig[1] == 58.67
    page = " ".join((BOOK / "rerun.md").read_text().split())
    for said in (
        "with every seed D-BR under BadNets, Trojan and SIG",
        "CBD under BadNets (1 of 3)",
        "it reaches 58.7 %",
    ):
        assert said in page


def test_every_block_of_the_book_names_a_file() -> None:
    named = {name for page in BOOK.glob("*.md") for _, name, _ in trials.BLOCK.findall(page.read_text())}
    assert named and all((BOOK / "results" / "trials" / name).is_file() for name in named)
