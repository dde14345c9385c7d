"""No reader meets the words that the code has for itself: every string of all exhibits, their claims and reasons."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from defenselib import attacks, data, defenses, papers
from defenselib.plots import words
from defenselib.report import tables

# A setting as "name=value", several with ";", a name with an underscore, a tuple or a list, nothing at all.
CODE = re.compile(r"\b\w+=\w|;\w+=|\b[a-z]+\d*(?:_[a-z0-9]+)+\b|\('|\['|\bnan\b|\bNone\b")
KINDS = (("attack", attacks.available()), ("defense", defenses.available()), ("dataset", data.available()))
PLAIN = {"none", "average", "worst", "adaptive", "dynamic", "blend", "spectral", "oracle", "shapes"}  # English as well
# Names of the registries that no reader has to know, since they are said otherwise.
KEYS = {name for kind, names in KINDS for name in names if words.value(name, kind) != name} - PLAIN
KEY = re.compile(rf"(?<![\w/.-])({'|'.join(sorted(map(re.escape, KEYS), key=len, reverse=True))})(?![\w/-]|\.\w)")


def said(html: str) -> list[str]:
    """The texts between the tags; what stands in `code` is meant to be typed, and files have the names they have."""
    text = re.sub(r"<code>.*?</code>|<style.*?</style>", "", html, flags=re.DOTALL)
    parts = [*re.findall(r">([^<]+)<", text), *re.findall(r'(?:title|aria-label)="([^"]*)"', text)]
    return list(dict.fromkeys(unescape(part).strip() for part in parts if part.strip()))


def test_the_finder_finds_what_it_must_not_miss() -> None:
    for text in ("ssl=mixmatch", "seeds=imagenet-transfer;phase=asd", "poisoning_rate", "('rotate', 'affine')", "nan"):
        assert CODE.search(text), text
    for text in ("needs cifar10 average fp acc", "left out: attack clb", "defense dbr"):
        assert KEY.search(text), text
    for text in ("α 0.3, learner UDA", "ACC >= 50, for BadNets", "BadNets to Blend", "the blended image", "CIFAR-10"):
        assert not CODE.search(text) and not KEY.search(text), text


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers.available())
def test_every_string_of_every_exhibit_is_in_words(paper: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_RESULTS", str(root / "book" / "results"))
    wrong = []
    for exhibit in papers.get(paper).exhibits:
        named = words.exhibit(exhibit.key)
        for frame in exhibit.evidence().values():
            parts = [tables.missing(frame), tables.claims(exhibit.claims(frame), named)]
            if frame["reproduced"].notna().sum() <= 200 or frame["published"].notna().any():
                parts.append(tables.comparison(frame, named))
            texts = [text for part in parts for text in said(str(part))] + [str(gate) for gate in frame["gate"]]
            wrong += [f"{exhibit.key}: {text}" for text in texts if CODE.search(text) or KEY.search(text)]
    found = list(dict.fromkeys(wrong))
    assert not found, "\n".join(found[:40])
