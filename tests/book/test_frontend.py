"""The scripts that pages load: declared with versions and checksums, and a book without them says so and names them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
FRONTEND = ROOT / "book" / "frontend"


def extension(frontend: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("offline_assets", frontend / "offline_assets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The folder in a book that has fetched nothing."""
    folder = tmp_path / "book" / "frontend"
    shutil.copytree(FRONTEND, folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "book" / "_static", folder.parent / "_static", ignore=shutil.ignore_patterns("vendor*"))
    return folder


def test_every_package_has_a_version_and_a_checksum_and_no_host() -> None:
    declared = json.loads((FRONTEND / "package.json").read_text())["dependencies"]
    locked = json.loads((FRONTEND / "package-lock.json").read_text())["packages"]
    assert locked.pop("")["dependencies"] == declared
    assert all(version[0].isdigit() for version in declared.values()), "exact versions"
    for name, package in locked.items():
        assert package["version"] and package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


def run_fetch(folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """With the commands of `path` alone."""
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run([bash, str(folder / "fetch")], env={"PATH": str(path)}, capture_output=True, text=True)


def commands(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)
    return folder


def test_without_npm_nothing_is_left_and_the_reason_is_said(copy: Path, tmp_path: Path) -> None:
    old = copy.parent / "_static" / "vendor"
    old.mkdir()
    (old / ".fetched").write_text("{}")  # of other versions
    done = run_fetch(copy, commands(tmp_path / "bin", "dirname", "cat", "cmp", "rm"))
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1 and "npm is not installed" in done.stderr
    assert not old.exists()


def test_without_network_the_reason_of_npm_is_said(copy: Path, tmp_path: Path) -> None:
    path = commands(tmp_path / "bin", "dirname", "cat", "cmp", "rm", "mktemp", "cp", "grep")
    (path / "npm").write_text(
        "#!/bin/sh\necho npm error network unreachable >&2; exit 1\n".replace("/bin/sh", shutil.which("sh") or "")
    )
    (path / "npm").chmod(0o755)
    done = run_fetch(copy, path)
    assert done.returncode == 0 and "npm error network unreachable" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (copy.parent / "_static" / "vendor").exists()


def test_what_is_there_is_not_fetched_again(copy: Path, tmp_path: Path) -> None:
    vendor = copy.parent / "_static" / "vendor"
    vendor.mkdir()
    (vendor / ".fetched").write_bytes((copy / "package-lock.json").read_bytes() + (copy / "fetch").read_bytes())
    os.utime(vendor / ".fetched", (0, 0))
    done = run_fetch(copy, commands(tmp_path / "bin", "dirname", "cat", "cmp", "touch"))
    assert done.returncode == 0 and done.stderr == ""
    assert (vendor / ".fetched").stat().st_mtime > 0


def test_the_book_says_that_it_needs_a_network_exactly_when_it_does(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = extension(copy)
    config: dict[str, object] = {}
    module.choose_scripts(SimpleNamespace(), config)
    assert "need a network" in capsys.readouterr().err
    widgets = config["nb_ipywidgets_js"]
    assert isinstance(widgets, dict) and sum(name.startswith("https://") for name in widgets) == 2
    assert "mathjax_path" not in config, "Sphinx's own link"

    for name in (*module.LOCAL_WIDGETS, module.LOCAL_MATHJAX):
        path = module.STATIC / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert not module.fetched(), "of unknown origin"
    source = (copy / "package-lock.json").read_bytes() + (copy / "fetch").read_bytes()
    (module.STATIC / "vendor" / ".fetched").write_bytes(source)
    module.choose_scripts(SimpleNamespace(), config)
    assert capsys.readouterr().err == ""
    assert set(config["nb_ipywidgets_js"]) == {*module.LOCAL_WIDGETS, module.WIDGET_MATH}  # type: ignore[call-overload]
    assert all((module.STATIC / str(name)).is_file() for name in (*config["nb_ipywidgets_js"], config["mathjax_path"]))  # type: ignore[misc]

    (module.STATIC / module.LOCAL_MATHJAX).unlink()
    assert not module.fetched(), "a part is missing"
