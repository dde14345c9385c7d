"""What stands around a page: the edition from git, the citation, launch links, each only where there is one."""

from __future__ import annotations

import re
import subprocess
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from defenselib.errors import DataError, InvalidValueError
from defenselib.report import around, edition
from defenselib.report.edition import Edition

ADDRESS = "https://github.com/somebody/somewhere"


def git(folder: Path, *words: str) -> str:
    names = {"GIT_AUTHOR_DATE": "2020-02-03T12:00:00Z", "GIT_COMMITTER_DATE": "2020-02-03T12:00:00Z"}
    own = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    path = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder)}
    done = subprocess.run(["git", *own, *words], cwd=folder, env=names | path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    (folder / "book").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    git(folder, "init", "-q")
    git(folder, "add", "a.txt")
    git(folder, "commit", "-qm", "first")
    return folder


def test_the_edition_is_that_of_the_clone(clone: Path) -> None:
    found = edition.edition(clone)
    assert found.commit == git(clone, "rev-parse", "HEAD")
    assert (found.changed, found.day) == (False, date(2020, 2, 3))
    assert found.words().endswith(f"commit {found.commit[:7]}, 3 February 2020")
    (clone / "new.txt").write_text("not yet added, so no change")
    assert not edition.edition(clone).changed
    (clone / "a.txt").write_text("b")
    changed = edition.edition(clone)
    assert changed.changed and f"commit {found.commit[:7]} with changes" in changed.words()


def test_without_a_clone_the_commit_is_unknown(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert edition.edition(tmp_path).commit == edition.UNKNOWN
    assert edition.edition(clone / "book").commit == edition.UNKNOWN, "a folder in somebody else's repository"
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = edition.edition(clone)
    assert missing.commit == edition.UNKNOWN and not missing.changed
    assert re.search(r"commit unknown, compiled on \d+ \w+ 20\d\d$", missing.words())


def test_the_citation_says_what_the_file_says(root: Path, tmp_path: Path) -> None:
    said = yaml.safe_load((root / "CITATION.cff").read_text())
    entry = edition.bibtex(root / "CITATION.cff")
    assert entry.startswith("@software{defenselib,") and entry.count("{") == entry.count("}")
    for part in (said["title"], said["version"], said["authors"][0]["name"], said["license"]):
        assert f"{{{part}" in entry
    assert "year" not in entry, "the file has no date of a release"
    said |= {"date-released": "2031-05-06", "authors": [{"family-names": "Li", "given-names": "A"}, {"name": "The B"}]}
    (tmp_path / "c.cff").write_text(yaml.safe_dump(said))
    assert "{2031}" in edition.bibtex(tmp_path / "c.cff")
    assert "author  = {Li, A and {The B}}" in edition.bibtex(tmp_path / "c.cff")
    (tmp_path / "d.cff").write_text("title: a")
    for name in ("d.cff", "none.cff"):
        with pytest.raises(DataError, match=name):
            edition.bibtex(tmp_path / name)


def test_notebooks_are_launched_only_from_a_configured_address() -> None:
    assert edition.launches("", "main", "notebooks/asd.ipynb") == []
    found = dict(edition.launches(ADDRESS + ".git", "main", "notebooks/asd.ipynb"))
    assert found == {
        "Binder": "https://mybinder.org/v2/gh/somebody/somewhere/main?urlpath=lab/tree/notebooks/asd.ipynb",
        "Colab": "https://colab.research.google.com/github/somebody/somewhere/blob/main/notebooks/asd.ipynb",
    }
    other = dict(edition.launches("https://gitlab.com/a/b", "a/branch", "n.ipynb"))
    assert other == {"Binder": "https://mybinder.org/v2/gl/a%2Fb/a%2Fbranch?urlpath=lab/tree/n.ipynb"}
    for wrong in ("github.com/a/b", "http://github.com/a/b", "https://example.org/a/b", "https://github.com/a"):
        with pytest.raises(InvalidValueError, match=re.escape(repr(wrong))):
            edition.launches(wrong, "main", "n.ipynb")
    with pytest.raises(InvalidValueError, match="repository_branch"):
        edition.launches(ADDRESS, "", "n.ipynb")


def test_every_page_that_was_a_notebook_has_its_source(root: Path) -> None:
    own = [path.stem for path in (root / "notebooks").glob("*.ipynb")]
    pages = re.findall(r"file: (book/_executed/[\w-]+)", (root / "_toc.yml").read_text())
    assert pages
    for page in pages:
        source = edition.source_of(page, own)
        assert source is not None and (root / source).is_file(), page
    assert edition.source_of("book/theory", own) is None and edition.source_of("book/_executed/none", own) is None


def page(repository: str, found: Edition, name: str) -> dict[str, Any]:
    """What the theme is given for a page of this repository."""
    config = {"html_theme_options": {"repository_url": repository, "repository_branch": "main"}}
    config |= {"book_edition": found.words(), "book_commit": found.commit}
    env = SimpleNamespace(found_docs={"book/changes", "book/theory"})
    app = SimpleNamespace(srcdir=Path(__file__).parents[2], config=config, env=env)
    context: dict[str, Any] = {"header_buttons": [], "pathto": lambda docname: f"../{docname}.html"}
    for step in (around.footer, around.launch_buttons):
        step(app, name, "page.html", context, None)
    return context


def test_a_page_says_its_edition_and_leads_to_it() -> None:
    found = Edition("1.2", "abcdef0123", False, date(2026, 1, 2))
    plain = page("", found, "book/_executed/asd")
    assert plain["header_buttons"] == []
    assert "Version 1.2, commit abcdef0, 2 January 2026" in plain["theme_extra_footer"]
    assert (
        'href="../book/changes.html"' in plain["theme_extra_footer"] and "glossary" not in plain["theme_extra_footer"]
    )
    hosted = page(ADDRESS, found, "book/_executed/asd")
    assert f'<a href="{ADDRESS}/commit/abcdef0123">abcdef0</a>' in hosted["theme_extra_footer"]
    (group,) = hosted["header_buttons"]
    assert [button["text"] for button in group["buttons"]] == ["Binder", "Colab"]
    assert all("notebooks/asd.ipynb" in button["url"] for button in group["buttons"])
    assert page(ADDRESS, found, "book/theory")["header_buttons"] == []


def test_the_page_on_taking_part_is_written_out(root: Path) -> None:
    noted: list[str] = []
    env = SimpleNamespace(note_dependency=noted.append)
    for repository, said in (("", "in this copy of the book none is"), (ADDRESS, "opens it on Binder or Colab")):
        options = {"html_theme_options": {"repository_url": repository, "repository_branch": "main"}}
        source = [(root / "book" / "taking_part.md").read_text()]
        around.write_out(SimpleNamespace(srcdir=root, config=options, env=env), "book/taking_part", source)
        assert said in source[0] and "```bibtex\n@software{" in source[0]
        assert "{citation}" not in source[0] and around.PLACES not in source[0]
    assert {Path(name).name for name in noted} == {"CITATION.cff", "_config.yml"}


def test_included_parts_are_there(root: Path) -> None:
    """What other pages include from the files at the root by their headings."""
    for page, file in (("taking_part", "CONTRIBUTING.md"), ("changes", "CHANGELOG.md")):
        marks = re.findall(r':(?:start-after|end-before): "(.+)"', (root / "book" / f"{page}.md").read_text())
        text = (root / file).read_text()
        assert marks and all(text.count(mark) == 1 for mark in marks)
