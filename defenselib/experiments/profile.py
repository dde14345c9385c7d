"""Profiles: how data, model and schedules are scaled together. One TOML file each, strictly parsed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from defenselib import models
from defenselib.errors import DefenseLibError, InvalidValueError, check_choice, check_range, unknown
from defenselib.experiments.fields import ATTACK_RESERVED, MISSING, convert, hyper_parameters, typed
from defenselib.experiments.schema import check_profile_name

FOLDER = Path(__file__).parent / "profiles"
VERDICTS = ("none", "order", "numbers")
TIMES = ("any", "cpu")
# The papers' model where they name no other; what a profile's [model] name stands in for.
PAPER_MODEL = "resnet18"
# Channels of a model's first stage; the papers' have 64. Narrower than 8, oneDNN's channels-last kernels for AVX2 write
# beyond their memory, and the process dies.
NARROWEST, WIDEST = 8, 1024
# The data sets of the papers, and our own.
DATASETS = (
    "cifar10",
    "cifar100",
    "gtsrb",
    "shapes",
    "tiny-imagenet",
    "imagenet-12",
    "imagenet-30",
    "imagenet-200",
    "imagenet-subset",
    "vggface2",
)


class LeftOutError(InvalidValueError):
    """A data set that a profile does not run."""


@dataclass(frozen=True)
class DataRule:
    """What a profile does with a data set: draw `limit` training images (by `seed`), run another in its place (`use`,
    `as` in the file), or leave it out and say why."""

    limit: int | None = None
    seed: int = 0
    use: str | None = None
    left_out: str | None = None


@dataclass(frozen=True)
class Section:
    """Overrides of a method's hyper-parameters (of an attack also `rate`), and further ones on single data sets."""

    values: Mapping[str, Any] = field(default_factory=dict)
    per_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def on(self, dataset: str) -> dict[str, Any]:
        return {**self.values, **self.per_dataset.get(dataset, {})}


@dataclass(frozen=True)
class Profile:
    """A parsed profile.

    model, instead: what stands in for the papers' ResNet-18, and for others of their networks. width: channels of every
    model's first stage (None: the paper's). history_test: test images of the curves by epoch. verdict: what its results
    may be held against: nothing, orderings and thresholds, or numbers. times: the kind of device whose seconds count
    ("cpu", or "any").
    """

    name: str
    precision: str = "fp32"
    history_test: int = 2000
    verdict: str = "none"
    times: str = "any"
    description: str = ""
    model: str | None = None
    width: int | None = None
    instead: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, DataRule] = field(default_factory=dict)
    every: Mapping[str, Any] = field(default_factory=dict)
    defense: Mapping[str, Section] = field(default_factory=dict)
    attack: Mapping[str, Section] = field(default_factory=dict)

    def dataset(self, name: str) -> tuple[str, DataRule]:
        """The data set that is run for `name`, and its rule. Raises LeftOutError."""
        rule = self.data.get(name, DataRule())
        if rule.use is not None:
            name, rule = rule.use, self.data.get(rule.use, DataRule())
        if rule.left_out:
            raise LeftOutError(f"profile {self.name!r} leaves out {name!r}: {rule.left_out}")
        return name, rule

    def network(self, name: str) -> str:
        """What is run for the paper's network `name`."""
        return self.model if self.model is not None and name == PAPER_MODEL else self.instead.get(name, name)

    def left_out(self, name: str) -> str:
        """Why the data set is not run; empty where it is."""
        try:
            self.dataset(name)
        except LeftOutError as error:
            return str(error)
        return ""


@cache
def available() -> tuple[str, ...]:
    """The profiles that come with the library."""
    order = ("smoke", "demo", "laptop", "gpu", "paper")
    names = {path.stem for path in FOLDER.glob("*.toml")}
    return tuple([name for name in order if name in names] + sorted(names.difference(order)))


def load(name: str | Path) -> Profile:
    """A profile by name, or from a TOML file of your own.

    Raises UnknownNameError for a name or key that does not exist, InvalidValueError for a value of a wrong type;
    the message names file, table and key.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = FOLDER / f"{check_choice('profile', str(name), available())}.toml"
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DefenseLibError(f"profile {path}: {error}") from error


@lru_cache(maxsize=16)
def _read(path: Path, changed: int) -> Profile:
    """The profile in a file as it was when it last `changed`: a book asks for it thousands of times."""
    return _parse(tomllib.loads(path.read_text(encoding="utf-8")), path)


_TOP = {"name": str, "precision": str, "history_test": int, "verdict": str, "times": str, "description": str}
_TABLES = ("model", "data", "every", "defense", "attack")


def _parse(content: dict[str, Any], path: Path) -> Profile:
    from defenselib.learning.context import PRECISIONS

    for key, value in content.items():
        if key not in (*_TOP, *_TABLES):
            raise unknown(f"key in {path}:", key, (*_TOP, *_TABLES))
        if key in _TABLES and not isinstance(value, dict):
            raise InvalidValueError(f"{path}: {key} is {value!r}, it must be a table")
    if path.absolute().parent != FOLDER and path.stem in available():
        raise InvalidValueError(f"{path}: {path.stem!r} is the name of a built-in profile; choose another one")
    check_profile_name(path.stem, f"{path}: ")
    top = typed(_TOP, {key: value for key, value in content.items() if key in _TOP}, str(path))
    if top.get("name") != path.stem:
        raise InvalidValueError(f"{path}: name is {top.get('name')!r}, it must be {path.stem!r} as the file's")
    check_choice(f"precision in {path}:", top.get("precision", "fp32"), PRECISIONS)
    check_choice(f"verdict in {path}:", top.get("verdict", "none"), VERDICTS)
    check_choice(f"times in {path}:", top.get("times", "any"), TIMES)
    check_range(f"{path}: history_test", top.get("history_test", 0), 0, float("inf"))
    model = dict(content.get("model", {}))
    instead = _instead(model.pop("instead", {}), f"{path} [model.instead]")
    model = typed({"name": str, "width": int}, model, f"{path} [model]")
    check_range(f"{path} [model]: width", model.get("width", NARROWEST), NARROWEST, WIDEST)
    data = {name: _data_rule(name, rule, path) for name, rule in content.get("data", {}).items()}
    for name, rule in data.items():
        if rule.use is not None and data.get(rule.use, DataRule()).use is not None:
            raise InvalidValueError(f"{path} [data.{name}]: {rule.use!r} itself runs as another data set")
    return Profile(
        **top,
        model=model.get("name"),
        width=model.get("width"),
        instead=instead,
        data=data,
        every=_every(content.get("every", {}), path),
        defense={name: _section("defense", name, t, path) for name, t in content.get("defense", {}).items()},
        attack={name: _section("attack", name, t, path) for name, t in content.get("attack", {}).items()},
    )


def _instead(table: Any, where: str) -> dict[str, str]:
    found = {name: str(other) for name, other in _table(table, where).items()}
    for name in (*found, *found.values()):
        check_choice(f"model in {where}:", name, models.available())
    return found


def _data_rule(name: str, table: Any, path: Path) -> DataRule:
    where = f"{path} [data.{name}]"
    check_choice(f"data set in {path}:", name, DATASETS)
    values = typed({"limit": int, "seed": int, "as": str, "left_out": str}, _table(table, where), where)
    if "limit" in values:
        check_range(f"{where}: limit", values["limit"], 1, float("inf"))
    if "as" in values:
        check_choice(f"data set in {where}:", values["as"], DATASETS)
        if len(values) > 1:
            raise InvalidValueError(f"{where}: nothing else can stand beside `as`")
        values["use"] = values.pop("as")
    return DataRule(**values)


def _every(values: dict[str, Any], path: Path) -> dict[str, Any]:
    from defenselib.defenses import DEFENSES

    where = f"{path} [every]"
    fields = [hyper_parameters(cls) for cls in DEFENSES.values()]
    for key, value in values.items():
        having = [known for known in fields if key in known]
        if not having:
            raise unknown(f"key in {where}:", key, sorted({name for known in fields for name in known}))
        if all(convert(value, known[key]) is MISSING for known in having):
            typed(having[0], {key: value}, where)
    return dict(values)


def _section(kind: str, name: str, table: Any, path: Path) -> Section:
    from defenselib.attacks import ATTACKS
    from defenselib.defenses import DEFENSES

    where = f"{path} [{kind}.{name}]"
    registry: Mapping[str, type] = DEFENSES if kind == "defense" else ATTACKS
    cls = registry[check_choice(f"{kind} in {path}:", name, registry)]
    of_attack = kind == "attack"
    fields = {**hyper_parameters(cls, ATTACK_RESERVED), "rate": float} if of_attack else hyper_parameters(cls)
    table = _table(table, where)
    own = {key: value for key, value in table.items() if not isinstance(value, dict)}
    per_dataset = {key: value for key, value in table.items() if isinstance(value, dict)}
    for dataset in per_dataset:
        check_choice(f"data set in {where}:", dataset, DATASETS)
    section = Section(
        typed(fields, own, where),
        {key: typed(fields, value, f"{path} [{kind}.{name}.{key}]") for key, value in per_dataset.items()},
    )
    for values in (section.values, *section.per_dataset.values()):
        check_range(f"{where}: rate", values.get("rate", 0.0), 0.0, 1.0)
    return section


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValueError(f"{where} is {value!r}, it must be a table")
    return value
