"""The front end of papermill: parameters checked before anything runs, failing notebooks kept and named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")
psutil = pytest.importorskip("psutil")

from defenselib.errors import FolderError, InvalidValueError, UnknownNameError  # noqa: E402
from defenselib.experiments import Store  # noqa: E402
from defenselib.experiments.leftovers import leftovers, remove  # noqa: E402
from defenselib.report.execute import NotebookFailedError, checked_output, execute  # noqa: E402
from defenselib.report.notebooks import check, parameters_of  # noqa: E402

PARAMETERS = """profile: str = "smoke"  # how big
seeds: list[int] = [0]  # whole numbers
attacks: list[str] = []
rate: float = 0.05
run: bool = False
limit: "Optional[int]" = None
count = 3
"""


def write(path: Path, *cells: str, parameters: str = PARAMETERS, tag: str = "parameters") -> Path:
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": [tag]})
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    notebook.cells = [first, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write(tmp_path / "paper.ipynb", "assert count != 13, 'unlucky'\nprint(profile, seeds, attacks, rate, run)")


def test_parameters_are_read_with_types_and_defaults(notebook: Path) -> None:
    found = parameters_of(notebook)
    assert {name: item.kind for name, item in found.items()} == {
        "profile": str,
        "seeds": list[int],
        "attacks": list[str],
        "rate": float,
        "run": bool,
        "limit": int | None,
        "count": int,
    }
    assert found["profile"].default == '"smoke"'


def test_texts_become_typed_values(notebook: Path) -> None:
    given = {"profile": "laptop", "seeds": "0,1", "attacks": "badnets,blend", "run": "true", "limit": "none"}
    assert check(notebook, given) == {
        "profile": "laptop",
        "seeds": [0, 1],
        "attacks": ["badnets", "blend"],
        "run": True,
        "limit": None,
    }


def test_unknown_parameter_names_the_nearest(notebook: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"parameter of paper.*: 'attack'; did you mean 'attacks'"):
        check(notebook, {"attack": "badnets"})


def test_ill_typed_value_is_refused_before_anything_runs(notebook: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="parameter 'rate' is 'much', it must be a number"):
        execute(notebook, tmp_path / "out.ipynb", {"rate": "much"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paper.ipynb"]


@pytest.mark.parametrize(
    ("parameters", "tag", "words"),
    [
        ("a = 1", "other", "no cell tagged 'parameters'"),
        ("a, b = 1, 2", "parameters", r"'a, b = \(1, 2\)' is no parameter; each is written as name: type = default"),
        ("a: dict = {}", "parameters", "parameter 'a': type 'dict' is not one that a parameter may have: str, int"),
        ("a = = 1", "parameters", "is not Python"),
    ],
)
def test_a_cell_that_cannot_be_read_is_an_error(tmp_path: Path, parameters: str, tag: str, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        parameters_of(write(tmp_path / "n.ipynb", parameters=parameters, tag=tag))


def test_a_notebook_without_a_kernel_is_an_error(notebook: Path) -> None:
    content = nbformat.read(notebook, as_version=4)
    del content.metadata["kernelspec"]
    nbformat.write(content, notebook)
    with pytest.raises(InvalidValueError, match="names no Python kernel"):
        parameters_of(notebook)


def test_a_missing_notebook_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="there is no notebook"):
        parameters_of(tmp_path / "none.ipynb")


@pytest.mark.slow
def test_success_failure_and_success_again(notebook: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out.ipynb"
    assert execute(notebook, output, {"seeds": "4,5", "profile": "gpu"}, progress=False).output == output
    text = output.read_text()
    assert "gpu [4, 5] [] 0.05 False" in text
    assert str(tmp_path) not in text, "the page does not tell where it was made"

    with pytest.raises(
        NotebookFailedError, match=r"paper.ipynb failed in cell \[\d\]: AssertionError: unlucky"
    ) as info:
        execute(notebook, output, {"count": "13"}, progress=False)
    assert info.value.kept == output.with_name("out.failed.ipynb")
    assert "unlucky" in info.value.kept.read_text()
    assert output.read_text() == text, "the last good one stays"

    execute(notebook, output, {}, progress=False)
    assert [path.name for path in output.parent.iterdir()] == ["out.ipynb"]


@pytest.mark.slow
def test_a_dead_kernel_is_a_failure_that_is_told(tmp_path: Path) -> None:
    deadly = write(tmp_path / "deadly.ipynb", "import os\nos._exit(1)")
    with pytest.raises(NotebookFailedError, match=r"deadly\.ipynb failed"):
        execute(deadly, tmp_path / "out.ipynb", {}, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deadly.ipynb", "out.failed.ipynb"]


@pytest.mark.slow
def test_the_text_names_the_parameters_values(tmp_path: Path) -> None:
    path = write(tmp_path / "page.ipynb", "print(paper)", parameters='paper: str = "asd"')
    content = nbformat.read(path, as_version=4)
    content.cells.insert(0, nbformat.v4.new_markdown_cell("# Verdicts: {{ paper }}, {{ other }}"))
    content.cells[1].metadata["mystnb"] = {"figure": {"name": "bars-{{ paper }}"}}
    nbformat.write(content, path)
    for given, title in (({}, "ASD"), ({"paper": "dst_dbr"}, "D-ST and D-BR")):
        done = nbformat.read(execute(path, tmp_path / "out.ipynb", given, progress=False).output, as_version=4)
        figure = next(cell.metadata["mystnb"]["figure"] for cell in done.cells if "mystnb" in cell.metadata)
        assert figure["name"] == f"bars-{given.get('paper', 'asd')}"
        assert done.cells[0].source == f"# Verdicts: {title}, {{{{ other }}}}"


@pytest.mark.parametrize(
    ("line", "kind", "value"),
    [
        ('colour = "#ff0000"', str, "#ff0000"),
        ('colour: str = "#ff0000"  # with = and "quotes"', str, "#ff0000"),
        ("limit: int | None = None", int | None, None),
        ('size: Literal["small", "large"] = "small"', Literal["small", "large"], "small"),
        ("box: tuple[int, int] = (1, 2)", tuple[int, int], (1, 2)),
        ("rates = [0, 0.05]", list[float], [0, 0.05]),
        ("names = (\n    'a',\n    'b',\n)", list[str], ("a", "b")),
        ("x: 'typing.Union[int, None]' = 1", int | None, 1),
        ("mixed = [1, 'a']", list[Any], [1, "a"]),
    ],
)
def test_kinds_and_defaults_are_those_of_the_source(tmp_path: Path, line: str, kind: Any, value: Any) -> None:
    (found,) = parameters_of(write(tmp_path / "n.ipynb", parameters=f"import typing\n{line}")).values()
    assert (found.kind, found.value) == (kind, value)


@pytest.mark.parametrize("text", ["", "[]", "()", " , "])
def test_an_empty_list_is_refused(notebook: Path, text: str) -> None:
    with pytest.raises(InvalidValueError, match="parameter 'seeds' is empty"):
        check(notebook, {"seeds": text})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a notebook"),
        (b"{}", "no cells"),
        (b"[1]", "no cells"),
        (b"\xff\xfe", "not a notebook"),
        (b'{"cells": 3}', "not a notebook"),
        (b'{"cells": [3], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not a notebook"),
        (b"{\n<<<<<<< mine\n=======\n>>>>>>> theirs\n}", "merge conflict"),
        (b"[" * 100_000, "not a notebook"),
    ],
)
def test_what_is_no_notebook_is_named_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_bytes(content)
    with pytest.raises(InvalidValueError, match=words) as raised:
        check(path, {})
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_byte_order_mark_does_no_harm(notebook: Path) -> None:
    notebook.write_bytes(b"\xef\xbb\xbf" + notebook.read_bytes())
    assert check(notebook, {"count": "4"}) == {"count": 4}


def test_an_output_is_looked_at_before_anything_runs(notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link.ipynb").symlink_to(notebook)
    other = tmp_path / "other"
    other.mkdir()
    assert checked_output(notebook, other) == other / "paper.ipynb"
    assert checked_output(notebook, tmp_path / "new" / "page.ipynb").parent.is_dir()
    for place, error, words in (
        (notebook, InvalidValueError, "is the notebook itself"),
        (tmp_path / "link.ipynb", InvalidValueError, "is the notebook itself"),
        (tmp_path, InvalidValueError, "is the notebook itself"),
        (tmp_path / "page", InvalidValueError, "NAME.ipynb"),
        (tmp_path / "page.html", InvalidValueError, "NAME.ipynb"),
        (tmp_path / "file" / "page.ipynb", FolderError, "file"),
    ):
        before = notebook.read_bytes()
        with pytest.raises(error, match=words):
            execute(notebook, place, {})
        assert notebook.read_bytes() == before


@pytest.mark.slow
def test_braces_in_paths_and_another_kernel_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(spec.parents[1]))
    folder = tmp_path / "{0} {name}"
    folder.mkdir()
    source = write(folder / "{x}.ipynb", "import sys\nprint(sys.executable, titles)", parameters="titles = ['a']")
    output = execute(source, folder / "{out}.ipynb", {"titles": '["a, b", "{c}"]'}, progress=False).output
    text = "".join(cell.outputs[0].text for cell in nbformat.read(output, as_version=4).cells if cell.get("outputs"))
    assert text == f"{sys.executable} ['a, b', '{{c}}']\n"
    assert sorted(path.name for path in folder.iterdir()) == ["{out}.ipynb", "{x}.ipynb"]


@pytest.mark.slow
def test_an_experiment_that_failed_inside_is_told_at_the_end(tmp_path: Path) -> None:
    source = write(
        tmp_path / "n.ipynb",
        "from defenselib.experiments import journal\njournal.note('failed', 'cifar10-x', 'the loss became nan')",
        "print('the others ran')",
    )
    with pytest.raises(
        NotebookFailedError, match="failed in 1 of its experiments: cifar10-x: the loss became nan"
    ) as e:
        execute(source, tmp_path / "out.ipynb", {}, progress=False)
    assert e.value.kept is not None and "the others ran" in e.value.kept.read_text()
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_kernel_outlives_the_command(tmp_path: Path, number: signal.Signals) -> None:
    lines = ["import os, subprocess, time", "child = subprocess.Popen(['sleep', '600'])"]
    lines += [f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}\\n')", "time.sleep(600)"]
    source = write(tmp_path / "n.ipynb", "print('first')", "\n".join(lines))
    command = [sys.executable, "-m", "defenselib", "reproduce", "--no-progress", "--notebook", str(source)]
    command += ["--output", str(tmp_path / "out.ipynb")]
    how: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, preexec_fn=_hears_signals, **how) as process:
        try:
            pids = _wait_for(lambda: [int(pid) for pid in _text(tmp_path / "pids").split()])
            os.kill(process.pid, number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    _wait_for(lambda: not any(psutil.pid_exists(pid) and _runs(pid) for pid in pids))
    if number != signal.SIGKILL:
        assert "Traceback" not in said and f"far as it came: {tmp_path / 'out.failed.ipynb'}" in said
        assert "first" in _text(tmp_path / "out.failed.ipynb")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["n.ipynb", "out.failed.ipynb", "pids"]
        return
    # What nobody could clear away is found, once it has lain still.
    (left,) = leftovers(Store(tmp_path / "store"), age=0, pages=[tmp_path])
    assert left.kind == "notebook whose execution was killed" and "first" in _text(left.path)
    assert remove([left]) and sorted(path.name for path in tmp_path.iterdir()) == ["n.ipynb", "pids"]


def _hears_signals() -> None:
    """What a shell starts in the background or under `nohup` ignores some, and so would its children."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait_for(look: Any) -> Any:
    for _ in range(1200):
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")
