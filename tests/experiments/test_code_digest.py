"""How far the digest of the code that makes a result reaches."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import defenselib
from defenselib.attacks import ATTACKS
from defenselib.defenses import DEFENSES
from defenselib.experiments import Experiment, Store, run
from defenselib.experiments.code_digest import chosen, code_digest, of_sources, stage_digest, starts, today
from defenselib.experiments.digest.definitions import Definitions
from defenselib.experiments.experiment import MEASURES
from defenselib.models import MODELS

ROOT = Path(defenselib.__file__).parent


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
    # Each measure counts; accuracy and success rate are always there.
    found += [code_digest("badnets", "asd", measure=[name]) for name in MEASURES if name not in ("acc", "asr")]
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


def test_lines_in_registries_and_errors_mark_nothing() -> None:
    changes = {
        "defenses": ('    "none": Undefended,\n', '    "new": ASD,\n    "none": Undefended,\n'),
        "attacks": ('    "none": NoAttack,\n', '    "new": BadNets,\n    "none": NoAttack,\n'),
        "models.networks": ('    "vgg16": vgg("D"),\n', '    "new": vgg("A"),\n    "vgg16": vgg("D"),\n'),
        "errors": ("def check_choice(", "def more() -> None: ...\n\n\ndef check_choice("),
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
    rooms = ("attacks", "defenses", "learning", "models", "data.augment", "data.tensors", "seeds")
    names = {(".".join(Path(file).relative_to(ROOT.parent).with_suffix("").parts), name) for file, name in called}
    names = {(module.removesuffix(".__init__"), name) for module, name in names}
    ran = {key for key in names if f"{key[0]}.".startswith(tuple(f"defenselib.{room}." for room in rooms))}
    start = starts(**chosen(experiment.resolve().describe()), code=today())
    assert start is not None
    reached = today().reach(*start)
    setting_up = {"create", "presets", "available", "<module>", "<lambda>"}
    assert len(ran) > 30
    assert {key for key in ran - reached if key[1] not in setting_up} == set()
