"""What is imported, and when: a command that trains nothing starts without torch, a kernel without statistics."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import defenselib as dl

ROOT = Path(__file__).parents[1]
STATISTICS = {"scipy.stats", "sklearn", "skimage"}
COMMAND = """
import sys
from defenselib.cli import app
try:
    app({arguments})
except SystemExit as end:
    assert end.code in (0, None), end.code
"""


def loaded(code: str, tmp_path: Path) -> set[str]:
    """The modules of a fresh process after some code."""
    folders = {f"DEFENSELIB_{name}": str(tmp_path / name) for name in ("STORE", "CACHE", "DATA")}
    told = subprocess.run(
        [sys.executable, "-c", code + "\nprint('', *sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **folders},
    )
    assert told.returncode == 0, told.stderr
    return set(told.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        pytest.param(["status"], marks=pytest.mark.slow),
        pytest.param(["clean", "--dry-run"], marks=pytest.mark.slow),
        pytest.param(["reproduce", "--paper", "all", "--profile", "laptop", "--dry-run"], marks=pytest.mark.slow),
        *(pytest.param([name, "--help"], marks=pytest.mark.slow) for name in ("plan", "data", "run", "batch")),
    ],
    ids=" ".join,
)
def test_commands_that_train_nothing_start_without_torch(arguments: list[str], tmp_path: Path) -> None:
    found = loaded(COMMAND.format(arguments=arguments), tmp_path)
    assert "defenselib.cli" in found
    assert not found & {"torch", "torchvision", "matplotlib", *STATISTICS}


@pytest.mark.slow
def test_a_plan_loads_no_networks(tmp_path: Path) -> None:
    # torchvision takes torch's compiler with it: as long to import as torch, and 150 MB.
    found = loaded("import sys, defenselib.papers.plan", tmp_path)
    assert "torch" in found and not found & {"torchvision", "torch._dynamo", "sympy"}


def test_the_names_of_what_is_loaded_late_are_those_of_the_registries() -> None:
    from defenselib.defenses.aabl_split import SPLITS
    from defenselib.defenses.aabl_views import AUGMENTATIONS
    from defenselib.models import MODELS, NAMES, added, available

    assert available() == tuple(MODELS) == NAMES and added() == {}
    assert ("ifgsm", *AUGMENTATIONS) == SPLITS


def test_a_network_that_a_user_adds_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from defenselib.models import MODELS, NAMES, added, available

    monkeypatch.setitem(MODELS, "mine", print)
    monkeypatch.setitem(MODELS, "vgg16", print)
    assert available() == (*NAMES, "mine") and added() == {"mine": print, "vgg16": print}


def test_whoever_executes_notebooks_needs_no_torch(tmp_path: Path) -> None:
    found = loaded("import sys, defenselib.report.execute, defenselib.report.batch, defenselib.report.worker", tmp_path)
    assert "defenselib.report.worker" in found and "torch" not in found


@pytest.mark.slow
def test_a_kernel_loads_no_statistics_before_they_are_used(tmp_path: Path) -> None:
    code = "import sys, defenselib as dl; dl.attacks, dl.defenses, dl.run, dl.papers.get('bsd')"
    found = loaded(code, tmp_path)
    assert "torch" in found and not found & STATISTICS


def test_every_public_name_is_there_and_is_what_its_home_calls_so() -> None:
    for name in dl.__all__:
        assert getattr(dl, name) is not None and name in dir(dl)
    assert dl.Experiment is dl.experiments.Experiment and dl.run is dl.experiments.run
    assert dl.experiments.profiles is sys.modules["defenselib.experiments.profile"]
    assert {"losses", "contrastive", "adversarial", "mixing", "semi_supervised"} <= set(dir(dl.learning))
    with pytest.raises(AttributeError, match="'defenselib' has no attribute 'attack'"):
        _ = dl.attack  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="Experimnt"):
        from defenselib.experiments import Experimnt  # type: ignore[attr-defined]  # noqa: F401


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["learning.contrastive.simclr_loss", "learning.mixing.cutmix", "defenses.scores.fct", "papers.Cell", "der"]
)
def test_a_public_name_can_be_the_first_that_is_asked_for(name: str, tmp_path: Path) -> None:
    loaded(f"import sys, defenselib as dl; dl.{name}", tmp_path)


def test_what_is_put_in_place_at_home_is_there_for_all_and_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dl.run
    with monkeypatch.context() as patch:
        patch.setattr("defenselib.experiments.run", print)
        assert dl.run is print
    assert dl.run is real is dl.experiments.run
