"""Several notebooks at once: where their pages go, that one failing stops no other, and what is left out on return."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")

from typer.testing import CliRunner  # noqa: E402

from defenselib.cli import app  # noqa: E402
from defenselib.errors import InvalidValueError  # noqa: E402
from defenselib.report.batch import Task, default_output, run_all, task_of  # noqa: E402

PARAMETERS = "profile: str = 'smoke'\nattacks: list[str] = []\nseeds: list[int] = [0]"


def write(path: Path, cell: str = "print(profile, seeds)") -> Path:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    first = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    notebook.cells = [first, nbformat.v4.new_code_cell(cell)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A notebook of a book, which lies elsewhere than the current folder."""
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "_toc.yml").write_text("")
    return write(tmp_path / "clone" / "notebooks" / "asd.ipynb")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "asd"),
        ({"profile": "smoke", "seeds": "0"}, "asd"),
        ({"profile": "gpu"}, "asd-profile-gpu"),
        ({"seeds": "0..2", "attacks": "badnets,blend"}, "asd-attacks-badnets+blend-seeds-0+1+2"),
        ({"attacks": "../../evil"}, "asd-attacks-evil"),
    ],
)
def test_only_the_whole_chapter_takes_the_chapters_place(book: Path, given: dict[str, str], name: str) -> None:
    assert default_output(book, given) == book.parents[1] / "book" / "_executed" / f"{name}.ipynb"


def test_a_long_name_is_cut_and_stays_its_own(book: Path) -> None:
    one, other = (default_output(book, {"attacks": ",".join(["x" * 50, "y" * 80, end])}) for end in "ab")
    assert one != other and max(len(one.name), len(other.name)) <= 110


def test_a_notebook_of_no_book_goes_to_the_current_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = write(tmp_path / "deep" / "down" / "mine.ipynb")
    assert default_output(source, {}) == tmp_path / "book" / "_executed" / "mine.ipynb"


def test_two_pages_of_one_name_are_refused(tmp_path: Path) -> None:
    tasks = [Task(write(tmp_path / name / "n.ipynb"), tmp_path / "out.ipynb") for name in "ab"]
    with pytest.raises(InvalidValueError, match=r"several notebooks would be written to .*out\.ipynb"):
        run_all(tasks)


def test_nothing_is_begun_once_it_is_stopped(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    (outcome,) = run_all([task_of(write(tmp_path / "n.ipynb"), {}, tmp_path / "out.ipynb")], stop=stop)
    assert outcome.state == "not begun" and not (tmp_path / "out.ipynb").exists()


@pytest.mark.slow
def test_a_batch_goes_on_after_a_failure_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad = write(tmp_path / "good.ipynb"), write(tmp_path / "bad.ipynb", "raise KeyError('no such thing')")
    places = ["--notebook", str(bad), "--notebook", str(good), "-p", "seeds=0..2"]
    call = ["reproduce", *places, "--profile", "smoke", "--profile", "gpu", "-j", "2", "--no-progress"]

    planned = CliRunner().invoke(app, [*call, "--dry-run"])
    assert planned.exit_code == 0 and planned.stdout.count("seeds=0..2") == 4
    assert not (tmp_path / "book").exists()

    result = CliRunner().invoke(app, call)
    assert result.exit_code == 1, result.output
    assert "2 failed, 2 done" in result.stdout and "KeyError: 'no such thing'" in result.stdout
    executed = tmp_path / "book" / "_executed"
    names = [f"{name}-profile-gpu-seeds-0+1+2" for name in ("bad", "good")]
    assert {f"{names[0]}.failed.ipynb", f"{names[1]}.ipynb"} < {path.name for path in executed.iterdir()}
    assert "gpu [0, 1, 2]" in (executed / f"{names[1]}.ipynb").read_text()

    write(bad, "print('mended')")
    again = CliRunner().invoke(app, [*call, "--resume"])
    assert again.exit_code == 0, again.output
    assert "2 done, 2 there already" in again.stdout
    assert not list(executed.glob("*.failed.ipynb")) and not list(executed.glob(".*"))

    write(good, "print('changed')")
    task = task_of(good, {"seeds": "0..2"})
    assert not task.is_there(), "its source is another one now"
