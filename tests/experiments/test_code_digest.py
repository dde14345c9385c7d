"""The digest of the code that makes a result: what it is blind to, what it sees, and how far it reaches."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import defenselib
from defenselib.attacks import ATTACKS
from defenselib.defenses import DEFENSES
from defenselib.experiments import Experiment, Store, run
from defenselib.experiments.code_digest import code_digest, of_sources, reach_of, stage_digest
from defenselib.experiments.digest.definitions import Definitions
from defenselib.experiments.digest.rules import Rules
from defenselib.experiments.digest.sources import Sources
from defenselib.models import MODELS

ROOT = Path(defenselib.__file__).parent
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


# The package itself


def source(**changes: tuple[str, str]) -> Definitions:
    """The package with one passage of some modules replaced by another."""
    changed: dict[str, str | None] = {}
    for module, (old, new) in changes.items():
        path = ROOT.joinpath(*module.split("."))
        text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        assert text.count(old) == 1, (module, old)
        changed[f"defenselib.{module}"] = text.replace(old, new)
    return of_sources(changed)


def marked(code: Definitions, **more: Any) -> set[tuple[str, str]]:
    """The pairs of attack and defense whose digest is another than today's."""
    pairs = [(attack, defense) for attack in ATTACKS for defense in DEFENSES]
    return {pair for pair in pairs if code_digest(*pair, **more, code=code) != code_digest(*pair, **more)}


def test_every_method_and_model_has_a_digest_of_its_own() -> None:
    found = [code_digest(attack, defense) for attack in ATTACKS for defense in DEFENSES]
    found += [code_digest("badnets", "asd", model=name) for name in MODELS if name != "resnet18"]
    found += [
        code_digest("badnets", "asd", measure=[name]) for name in ("ra", "losses", "resistance", "sce", "recovered")
    ]
    found += [code_digest("badnets", "asd", "oracle-split"), code_digest("badnets", "none", upstream=True)]
    assert len(set(found)) == len(found) and "unknown" not in found
    assert all(len(value) == 16 and set(value) <= set("0123456789abcdef") for value in found)


def test_methods_and_models_that_are_no_more() -> None:
    gone = [code_digest("badnets", "gone"), code_digest("gone", "asd"), code_digest("badnets", "asd", model="gone")]
    assert gone == ["unknown"] * 3


def test_a_change_in_asd_marks_what_builds_on_asd_and_nothing_else() -> None:
    code = source(**{"defenses.asd": ("virtual_layers: int = 3", "virtual_layers: int = 2")})
    # DBD with the meta-split borrows ASD's virtual model.
    assert marked(code) == {(attack, defense) for attack in ATTACKS for defense in ("asd", "dbd-meta-split")}
    assert ("badnets", "none") in marked(code, diagnostic="oracle-split")


def test_a_change_in_a_network_marks_its_own_results() -> None:
    code = source(**{"models.architectures": ('if item == "M" else max(1,', 'if item == "M" else max(2,')})
    found = {
        name
        for name in MODELS
        if code_digest("sig", "bsd", model=name, code=code) != code_digest("sig", "bsd", model=name)
    }
    assert found == {"vgg16", "vgg19"}


def test_a_change_in_the_evaluation_marks_all() -> None:
    code = source(**{"learning.evaluation": ("batch_size: int = 500, bf16", "batch_size: int = 250, bf16")})
    assert len(marked(code)) == len(ATTACKS) * len(DEFENSES)


def test_a_change_in_the_undefended_model_marks_the_repairs() -> None:
    code = source(**{"defenses.none": ('name = "none"', 'name = "none"; more = 1')})
    # Spectral signatures and A-ABL's baseline train with it.
    assert {defense for _, defense in marked(code)} == {"none", "spectral", "aabl"}
    assert len(marked(code, upstream=True)) == len(ATTACKS) * len(DEFENSES)


def test_a_measure_marks_what_asked_for_it() -> None:
    code = source(**{"experiments.measure.perturbed": ("EPS_GRID = (0, 1,", "EPS_GRID = (0, 3,")})
    assert marked(code, measure=("acc", "asr", "ra", "sce")) == set()
    assert len(marked(code, measure=("resistance",))) == len(ATTACKS) * len(DEFENSES)


def test_lines_in_registries_errors_and_facts_of_data_mark_nothing() -> None:
    changes = {
        "defenses": ('    "none": Undefended,\n', '    "new": ASD,\n    "none": Undefended,\n'),
        "attacks": ('    "none": NoAttack,\n', '    "new": BadNets,\n    "none": NoAttack,\n'),
        "models": ('    "vgg16": vgg("D"),\n', '    "new": vgg("A"),\n    "vgg16": vgg("D"),\n'),
        "errors": ("def check_choice(", "def more() -> None: ...\n\n\ndef check_choice("),
        "data.info": ("train_size=50000,\n            source=None", "train_size=5,\n            source=None"),
    }
    assert marked(source(**changes)) == set()


def test_a_module_that_moves_marks_nothing() -> None:
    old, new = "defenselib.learning.losses", "defenselib.learning.parts.objectives"
    changed: dict[str, str | None] = {old: None, new: (ROOT / "learning" / "losses.py").read_text()}
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        if f"from {old} import" in text:
            name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
            changed[name] = text.replace(f"from {old} import", f"from {new} import")
    assert len(changed) > 3
    assert marked(of_sources(changed)) == set()


def test_methods_that_the_package_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(DEFENSES["asd"]):
        more = 1

    monkeypatch.setitem(DEFENSES, "mine", Mine)
    found = [code_digest("badnets", name) for name in ("mine", "asd")]
    assert len(set(found)) == 2 and "unknown" not in found


def test_a_stage_counts_with_what_its_function_reaches() -> None:
    from defenselib.defenses.distinguish import _train as train
    from defenselib.learning.contrastive import _simclr_features as features

    assert stage_digest(train, "vgg16") == stage_digest(train, "vgg16")
    assert len({stage_digest(make, model) for make in (train, features) for model in ("vgg16", "resnet18")}) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "defense"), [("badnets", "dst"), ("wanet", "aabl")])
def test_nothing_runs_that_is_not_reached(attack: str, defense: str, tmp_path: Path) -> None:
    """All functions that a training calls are in the reach; around it, cells and data loading are not covered."""
    experiment = Experiment(dataset="cifar10", attack=attack, defense=defense, profile="smoke")
    called: set[tuple[str, str]] = set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(ROOT)):
            called.add((frame.f_code.co_filename, frame.f_code.co_qualname.partition(".")[0]))

    sys.setprofile(watch)
    try:
        run(experiment, Store(tmp_path), device="cpu", progress=False)
    finally:
        sys.setprofile(None)
    rooms = ("attacks", "defenses", "learning", "models", "data.augment", "data.pixels", "seeds")
    names = {(".".join(Path(file).relative_to(ROOT.parent).with_suffix("").parts), name) for file, name in called}
    names = {(module.removesuffix(".__init__"), name) for module, name in names}
    ran = {key for key in names if f"{key[0]}.".startswith(tuple(f"defenselib.{room}." for room in rooms))}
    reached = reach_of(experiment.resolve().describe())
    setting_up = {"create", "presets", "available", "<module>", "<lambda>"}
    assert len(ran) > 30
    assert {key for key in ran - reached if key[1] not in setting_up} == set()
