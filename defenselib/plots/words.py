"""How numbers, names, settings and outcomes are said to readers: once, for tables, drawings, widgets and pages.

The words themselves stand in `words.toml`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NONE = "–"
VARIANT = re.compile(r"[\w-]+=[^=;]+(;[\w-]+=[^=;]+)*")
SPACE = "\N{NO-BREAK SPACE}"

_SAID = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
MARKS, NAMES, METRICS, COLUMNS, VALUES, COPIES = map(
    _SAID.__getitem__, ("marks", "names", "metrics", "columns", "values", "copies")
)
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


def plural(count: int, word: str, one: str = "", more: str = "") -> str:
    """ "1 seed", "3 seeds"; after it the verb of one, or of more."""
    return f"{count} {word}{'' if count == 1 else 's'} {one if count == 1 else more}".rstrip()


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
