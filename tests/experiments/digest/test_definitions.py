"""What a digest of definitions is blind to and what it sees, on a small package that is written for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from defenselib.experiments.digest.definitions import Definitions
from defenselib.experiments.digest.rules import Rules
from defenselib.experiments.digest.sources import Sources

START = ("made.methods", "Method")
MADE = {
    "__init__": "",
    "errors": "class Wrong(Exception): ...\ndef check(what, value, low):\n    return value\n",
    "numbers/__init__": "from made.numbers.small import STEP, half\n",
    "numbers/small": "STEP = 0.5\nUNUSED = 1\ndef half(x: int) -> float:\n    return x * STEP\n",
    "base": "class Base:\n    def name(self):\n        return 'base'\n",
    "rounds": "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - 1)\n",
    "methods": '''"""Methods."""
from dataclasses import dataclass

import torch.nn.functional as F

from made import rounds
from made.base import Base
from made.errors import Wrong, check
from made.numbers import half


@dataclass
class Method(Base):
    """One."""

    size: int
    rate: float = 0.1

    def fit(self, x):
        found = [half(item) for item in x if rounds.even(item)]
        names = [half for half in ()]
        if self.size > 3:
            return F.relu(found)
        return [check("rate", self.rate, 0) for self.rate in found]

    def step(self, x, scale=2.0):
        return double(x) * scale


def double(x):
    return 2 * x


METHODS = {"one": Method}
''',
}


def digest(tmp_path: Path, texts: Mapping[str, str], start: tuple[str, str] = START) -> str:
    folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}" / "made"
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rules = Rules("made.errors", {"check": (1, "value")}, registries=(("made.methods", "METHODS"),))
    return Definitions(Sources(folder), rules).digest(start)


def edited(module: str, *pairs: tuple[str, str]) -> dict[str, str]:
    text = MADE[module]
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return {**MADE, module: text}


def moved(old: str, new: str) -> dict[str, str]:
    """The package with a module elsewhere and all imports of it changed."""
    dotted = [f"made.{name.replace('/', '.')}" for name in (old, new)]
    return {new if name == old else name: text.replace(*dotted) for name, text in MADE.items()}


FIT = "    def fit(self, x):\n"
STEP = "    def step(self, x, scale=2.0):\n"
STEPS = "        return double(x) * scale\n"


def before_the_return(code: str) -> dict[str, str]:
    """The package with more lines in `step`."""
    return edited("methods", (STEPS, code + STEPS))


def with_post_init(line: str) -> dict[str, str]:
    check = "        check('rate', self.rate, 0)\n"
    return edited("methods", (FIT, f"    def __post_init__(self):\n{check}        {line}\n\n{FIT}"))


SAME = {
    "docstrings": edited("methods", ('"""One."""', '"""Another."""'), (FIT, FIT + '        """Fits."""\n')),
    "comments and layout": edited("methods", ("return double(x) * scale", "return (  # why\n        double(x)*scale)")),
    "annotations": edited("numbers/small", ("x: int) -> float:", "x: 'str'):"), ("STEP = 0.5", "STEP: float = 5e-1")),
    "an annotated variable": edited("methods", ("found = [", "found: list[Base] = [")),
    "the alias of a foreign import": edited(
        "methods", ("import torch.nn.functional as F", "from torch.nn import functional"), ("F.relu", "functional.relu")
    ),
    "the alias of an own import": edited(
        "methods", ("numbers import half", "numbers import small as s"), ("[half(", "[s.half(")
    ),
    "an import past the package": edited("methods", ("from made.numbers import", "from .numbers.small import")),
    "a renamed import": edited("methods", ("import Base\n", "import Base as B\n"), ("(Base)", "(B)")),
    "a late import": edited(
        "methods", ("from made import rounds\n", ""), (FIT, f"{FIT}        from made import rounds\n")
    ),
    "order": edited("rounds", ("def even(n):\n    return n == 0 or odd(n - 1)\n", ""))
    | {"more": "from made.rounds import odd\ndef even(n):\n    return n == 0 or odd(n - 1)\n"}
    | {"rounds": "from made.more import even\ndef odd(n):\n    return n != 0 and even(n - 1)\n"},
    "order of methods": edited("methods", (STEP + STEPS, ""), (FIT, f"{STEP}{STEPS}\n{FIT}")),
    "a renamed function": edited("methods", ("return double(", "return twice("), ("def double(", "def twice(")),
    "a renamed circle": edited("methods", ("rounds.even", "rounds.is_even"))
    | {"rounds": MADE["rounds"].replace("even", "is_even")},
    "what is not reached": edited("numbers/small", ("UNUSED = 1", "UNUSED = 2")),
    "a line in a registry": edited("methods", ('{"one": Method}', '{"one": Method, "two": double}')),
    "a check": before_the_return("        check('x', x, 2)\n"),
    "no check": edited("methods", ('check("rate", self.rate, 0)', "self.rate")),
    "what only raises": before_the_return(
        "        assert x\n        for i in x:\n            if not i:\n                raise Wrong(f'{i}')\n"
        "            elif i > 3:\n                raise ValueError('3')\n"
    ),
    "checks of fields": with_post_init("super().__post_init__()"),
    "a moved module": moved("numbers/small", "base_numbers"),
    "a renamed module": moved("methods", "ways"),
}
OTHER = {
    "a constant": edited("numbers/small", ("STEP = 0.5", "STEP = 0.25")),
    "the type of a constant": edited("methods", ("2 * x", "2.0 * x")),
    "a constant changed later": edited("numbers/small", ("UNUSED = 1", "STEP += 1")),
    "a default of a field": edited("methods", ("rate: float = 0.1", "rate: float = 0.2")),
    "a field": edited("methods", ("    size: int\n", "    size: int\n    depth: int\n")),
    "a default of an argument": edited("methods", ("scale=2.0", "scale=3.0")),
    "control flow": edited("methods", ("if self.size > 3", "while self.size > 3")),
    "a condition": edited("methods", ("self.size > 3", "self.size >= 3")),
    "a filter": edited("methods", (" if rounds.even(item)", "")),
    "one of a circle": edited("rounds", ("n != 0 and", "n > 0 and")),
    "another of a circle": edited("methods", ("rounds.even", "rounds.odd")),
    "a base class": edited("base", ("'base'", "'other'")),
    "no base class": edited("methods", ("(Base)", "")),
    "a foreign function": edited("methods", ("F.relu", "F.gelu")),
    "the meaning of a foreign name": edited("methods", ("torch.nn.functional", "torch.special")),
    "a decorator": edited("methods", ("@dataclass\n", "@dataclass(order=True)\n")),
    "where a name comes from": edited("numbers/__init__", ("small import STEP, half", "small import STEP as half")),
    "a check that decides": before_the_return(
        "        if not x:\n            raise Wrong(x)\n        else:\n            x += 1\n"
    ),
    "a way out that is no error": before_the_return("        if x:\n            raise Base\n"),
    "an error that is caught": before_the_return(
        "        try:\n            if x:\n                raise Wrong\n        except Wrong:\n            x = 1\n"
    ),
    "no error that is caught": before_the_return(
        "        try:\n            pass\n        except Wrong:\n            x = 1\n"
    ),
    "fields changed after checks": with_post_init("self.rate = 2 * self.rate"),
}


@pytest.mark.parametrize("change", SAME)
def test_it_is_blind_to(change: str, tmp_path: Path) -> None:
    start = ("made.ways", "Method") if change == "a renamed module" else START
    assert SAME[change] != MADE
    assert digest(tmp_path, SAME[change], start) == digest(tmp_path, MADE)


def test_it_sees(tmp_path: Path) -> None:
    found = {change: digest(tmp_path, texts) for change, texts in OTHER.items()}
    found["nothing"] = digest(tmp_path, MADE)
    # No two of these changes are the same, so that no two digests are.
    same = [change for change, value in found.items() if list(found.values()).count(value) > 1]
    assert same == []


def test_an_entry_of_a_registry_is_what_it_holds(tmp_path: Path) -> None:
    entry = ("made.methods", "METHODS[one]")
    first = digest(tmp_path, MADE, entry)
    assert first == digest(tmp_path, SAME["a line in a registry"], entry)
    assert first != digest(tmp_path, OTHER["a constant"], entry)
    with pytest.raises(KeyError, match="METHODS"):
        digest(tmp_path, MADE, ("made.methods", "METHODS[two]"))
