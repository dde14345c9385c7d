"""Tables of trials within a page: names in words, what all rows share in the caption, every cell as the file has it."""

from __future__ import annotations

from pathlib import Path

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


def test_every_block_of_the_book_names_a_file() -> None:
    named = {name for page in BOOK.glob("*.md") for name, _ in trials.BLOCK.findall(page.read_text())}
    assert named and all((BOOK / "results" / "trials" / name).is_file() for name in named)
