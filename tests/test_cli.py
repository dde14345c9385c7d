"""The command line: what it prints, how it fails, and that it needs no Jupyter package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from defenselib import data, papers
from defenselib.cli import app
from defenselib.commands import results

# One tiny cell for the whole module: it is computed once and then comes from the store.
TINY = ["--dataset", "shapes", "--attack", "badnets", "--profile", "smoke", "--no-progress", "--device", "cpu"]
TINY += ["--defense-arg", "epochs=1"]


@pytest.fixture(scope="module", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DEFENSELIB_STORE", "DEFENSELIB_RESULTS"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(*arguments: str) -> str:
    """What a command that fails by the user's mistake says: one line, no traceback, exit code 2."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr


def run_tiny(*more: str) -> str:
    result = call("run", *TINY, *more)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_run_prints_the_numbers_and_the_second_time_they_come_from_the_store() -> None:
    first = run_tiny()
    assert "shapes" in first and "badnets" in first and "ACC" in first and "ASR" in first
    assert run_tiny() == first, "seconds and all: it was not computed again"


@pytest.mark.slow
def test_hyper_parameters_reach_the_experiment() -> None:
    def hash_of(text: str) -> str:
        return next(line for line in text.splitlines() if " 0 " in line).split()[-2]

    assert hash_of(run_tiny("--defense-arg", "learning_rate=0.0123")) != hash_of(run_tiny())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--attack", "badnet"), "did you mean 'badnets'"),
        (("run", "--defense", "asdd"), "did you mean 'asd'"),
        (("run", "--profile", "laptob"), "did you mean 'laptop'"),
        (("run", "--defense-arg", "epoch=3"), "did you mean 'epochs'"),
        (("run", "--defense-arg", "epochs=some"), "must be a whole number"),
        (("run", "--attack-arg", "epochs"), "must read name=value"),
        (("run", "--rate", "2"), "rate"),
        (("run", "--dataset", "cifar11"), "did you mean 'cifar10'"),
        (("run", "--stop-after", "tarin"), "'tarin', did you mean 'train'? defense 'none' has the stages train"),
        (("run", "--defense", "abl", "--stop-after", "train:1"), "has the stages isolate, finetune, unlearn"),
        (("run", "--stop-after", "train:999"), "stage 'train' of defense 'none' has"),
        (("reproduce", "--paper", "ads"), "did you mean 'asd'"),
        (("reproduce",), "give either --paper or --notebook"),
        (("reproduce", "--paper", "asd", "--profile", "laptob"), "did you mean 'laptop'"),
        (("reproduce", "--paper", "asd", "--profile", "gpu", "-p", "profile=smoke"), "--profile says 'gpu'"),
        (("reproduce", "--paper", "asd", "-p", "attacks=badnets,blond"), "did you mean 'blend'"),
        (("status", "--profile", "laptob"), "did you mean 'laptop'"),
        (("status", "--paper", "ads"), "did you mean 'asd'"),
        (("data", "cifar11"), "did you mean 'cifar10'"),
        (("keep",), "name hashes or a --profile"),
        (("keep", "0123456789abcdef"), "no result 0123456789abcdef"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(*arguments)


def test_a_plan_that_cannot_be_written_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("defenselib.papers.plan.make", lambda *_, **more: pytest.fail("was made"))
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "plan.json"):
        assert "cannot write" in refused("plan", "--paper", "asd", "--output", str(place))
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_status_counts_results_by_cell() -> None:
    run_tiny()
    said = call("status").stdout
    assert "smoke" in said and "badnets" in said and "working" in said
    assert "badnets" not in call("status", "--profile", "laptop").stdout


def test_status_names_damaged_results_and_shows_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_STORE", str(tmp_path))
    (tmp_path / "laptop").mkdir()
    damaged = tmp_path / "laptop" / "cifar10-badnets-asd-s0-0123456789abcdef.json"
    damaged.write_text("{")
    said = call("status")
    assert said.exit_code == 0 and f"damaged: {damaged}" in said.stderr and said.stderr.count("\n") == 1
    assert f"working: {tmp_path}" in said.stdout


def test_clean_says_what_goes_and_takes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEFENSELIB_STORE", "DEFENSELIB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    # Not in this clone, where somebody may have killed a build of the book.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "__file__", str(tmp_path / "defenselib" / "commands" / "results.py"))
    assert call("clean").stdout == "nothing is left over\n"
    paths = [tmp_path / "laptop" / name for name in (".one.tmp", ".new.tmp", "x.json")]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text("12345")
    for path in (paths[0], paths[2], paths[0].parent):
        os.utime(path, (0, 0))
    planned = call("clean", "--dry-run")
    assert planned.exit_code == 0 and "temporary file" in planned.stdout and "would be freed" in planned.stdout
    assert all(path.exists() for path in paths)
    assert call("clean").exit_code == 0
    assert [path.exists() for path in paths] == [False, True, True]


@pytest.mark.parametrize("preset", ["vab", "asd"])
def test_an_attacks_preset_is_an_argument_as_in_python(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("defenselib.experiments.run", lambda experiment, **more: asked.append(experiment) or 1 / 0)
    call("run", *TINY, "--attack-arg", f"preset={preset}")
    assert [experiment.attack_args for experiment in asked] == [{"preset": preset}]


def test_status_of_a_paper_says_what_is_missing_and_why() -> None:
    result = call("status", "--paper", "asd", "--profile", "laptop")
    assert result.exit_code == 0, result.output
    assert "table-2" in result.stdout and "figure-7" in result.stdout
    assert "no result in the store" in result.stdout and "left out at this profile" in result.stdout


@pytest.mark.slow
def test_status_of_all_papers_is_one_table_a_paper() -> None:
    result = call("status", "--paper", "all", "--profile", "laptop")
    assert result.exit_code == 0, result.output
    assert all(f"{key} at laptop" in result.stdout for key in papers.available())
    assert "available: asd" in refused("status", "--paper", "foo") and "all" in refused("status", "--paper", "foo")


def test_data_says_what_is_there_and_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_DATA", str(tmp_path))
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    result = call("data", "shapes", "gtsrb")
    assert result.exit_code == 1, "one that was named is missing"
    assert str(tmp_path) in result.stdout and "shapes" in result.stdout
    assert "no data for 'gtsrb'" in result.stdout
    assert call("data", "shapes").exit_code == 0
    listed = call("data")
    assert listed.exit_code == 0 and "no data for 'gtsrb'" in listed.stdout
    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "mine" / "cat" / "0.png")
    damaged = call("data", str(tmp_path / "mine"))
    assert damaged.exit_code == 1 and "holds no image" in damaged.stdout
    for number in range(5):
        for name in ("cat", "dog"):
            Image.new("RGB", (8, 8)).save(tmp_path / "mine" / name / f"{number}.png")
    whole = data.load_dataset(tmp_path / "mine").digest
    said = call("data", "shapes", str(tmp_path / "mine")).stdout
    assert f"digest of {tmp_path / 'mine'}: {whole}\n" in said and said.count("digest of") == 1
    shutil.rmtree(tmp_path / "mine" / "dog")
    single = call("data", "shapes", str(tmp_path / "mine"))
    assert single.exit_code == 1 and "has one class, 'cat', it must have at least 2" in single.stdout
    told = refused("run", "--dataset", str(tmp_path / "mine"), "--profile", "smoke")
    assert "has one class, 'cat', it must have at least 2" in told


def test_keep_refuses_smoke_and_promotes_the_rest(tmp_path: Path) -> None:
    run_tiny()
    assert "no evidence" in refused("keep", "--profile", "smoke", "--to", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    nothing = call("keep", "--profile", "laptop", "--to", str(tmp_path))
    assert nothing.exit_code == 0
    assert nothing.stdout.startswith("nothing to keep: no result of profile 'laptop' in the working store, ")


@pytest.mark.slow
def test_reproduce_refuses_parameters_before_running(root: Path) -> None:
    pytest.importorskip("papermill")
    assert "did you mean 'attacks'" in refused("reproduce", "--paper", "asd", "-p", "atacks=badnets")
    assert "must be a whole number" in refused("reproduce", "--paper", "asd", "-p", "seeds=one")


@pytest.mark.slow
def test_a_failing_notebook_is_exit_code_1_and_named(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("papermill")
    cells = [
        nbformat.v4.new_code_cell("count: int = 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("1 / (count - 1)"),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "n.ipynb")
    arguments = ("reproduce", "--notebook", str(tmp_path / "n.ipynb"), "--output", str(tmp_path / "out.ipynb"))
    result = call(*arguments, "--no-progress")
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr and "out.failed.ipynb" in result.stderr
    assert "Traceback" not in result.stderr
    assert call(*arguments, "--no-progress", "-p", "count=2").exit_code == 0
    assert (tmp_path / "out.ipynb").exists() and not (tmp_path / "out.failed.ipynb").exists()


WITHOUT_JUPYTER = """
import sys
blocked = {"papermill", "nbformat", "nbclient", "IPython", "ipywidgets", "ipykernel", "jupyter_client", "jupyter_core",
           "jupyter_book", "myst_nb", "traitlets"}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from defenselib.cli import app
app(sys.argv[1:], prog_name="defenselib")
"""


def without_jupyter(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_JUPYTER, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.slow
def test_run_works_without_any_jupyter_package() -> None:
    said = without_jupyter("run", *TINY)
    assert said.returncode == 0, said.stderr
    assert "ACC" in said.stdout


@pytest.mark.slow
def test_reproduce_without_jupyter_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "n.ipynb").write_text("{}")
    said = without_jupyter("reproduce", "--notebook", str(tmp_path / "n.ipynb"))
    assert said.returncode == 2
    assert "pip install defenselib[book]" in said.stderr and "Traceback" not in said.stderr


@pytest.mark.slow
def test_as_a_module() -> None:
    said = subprocess.run([sys.executable, "-m", "defenselib", "--help"], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0
    assert all(command in said.stdout for command in ("run", "reproduce", "status", "data", "keep", "clean"))


def test_profile_prints_steps_beside_the_papers() -> None:
    text = call("profile", "demo", "--defense", "asd").stdout
    assert "one virtual model" in text and "391" in text and "bsd" not in text
    assert "did you mean 'demo'" in refused("profile", "demp")
    assert "leaves out" in refused("profile", "laptop", "--dataset", "tiny-imagenet")
