"""Which edition of the book a page is from, how to cite it, and where its notebooks can be run: from git,
`CITATION.cff` and the address of the repository, each only where there is one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import yaml

from defenselib.errors import DataError, InvalidValueError
from defenselib.version import __version__

UNKNOWN = "unknown"
# Where a notebook of a repository can be opened: Binder's name for the host, and whether Colab reads from it.
HOSTS = {"github.com": ("gh", True), "gitlab.com": ("gl", False)}


@dataclass(frozen=True)
class Edition:
    """commit: the full hash, or "unknown" where the book is not compiled from a clone. changed: files differ from that
    commit. day: of the commit; where there is none, the day on which the book is compiled."""

    version: str
    commit: str
    changed: bool
    day: date

    @property
    def short(self) -> str:
        """The commit as it is shown; a clone with changes of its own says so."""
        return self.commit if self.commit == UNKNOWN else self.commit[:7] + (" with changes" if self.changed else "")

    def words(self) -> str:
        """
        >>> Edition("0.1.0", "2af3230f" * 5, False, date(2026, 11, 9)).words()
        'Version 0.1.0, commit 2af3230, 9 November 2026'
        """
        when = f"{self.day.day} {self.day:%B %Y}"
        made = "compiled on " if self.commit == UNKNOWN else ""
        return f"Version {self.version}, commit {self.short}, {made}{when}"


def edition(root: Path) -> Edition:
    """The edition that is compiled from the folder `root`.

    A clone that lies within somebody else's repository is none of ours: only git's top folder counts.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    last = _git(root, "log", "-1", "--format=%H %cs").split() if top and Path(top).resolve() == root.resolve() else []
    if len(last) != 2:
        return Edition(__version__, UNKNOWN, False, datetime.now(UTC).date())
    changed = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    return Edition(__version__, last[0], changed, date.fromisoformat(last[1]))


def _git(root: Path, *words: str) -> str:
    """What git says; nothing where it is missing, or the folder is no clone."""
    try:
        said = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout.strip()


def bibtex(cff: Path) -> str:
    """`CITATION.cff` as an entry for BibTeX. Raises DataError where the file is missing or lacks a field."""
    try:
        said = yaml.safe_load(cff.read_text(encoding="utf-8"))
        people = " and ".join(_name(person) for person in said["authors"])
        fields = {"title": f"{{{said['title']}}}", "author": people, "version": said["version"]}
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"{cff} cannot be read as a citation file: {error!r}") from error
    released = str(said.get("date-released", ""))
    fields |= {"year": released[:4]} if released else {}
    fields |= {"url": said["repository-code"]} if "repository-code" in said else {}
    fields["note"] = f"{said['license']} license"
    lines = "\n".join(f"  {name:<7} = {{{value}}}," for name, value in fields.items())
    return f"@software{{defenselib,\n{lines}\n}}"


def _name(person: dict[str, str]) -> str:
    # A second pair of braces keeps BibTeX from taking "The defenselib authors" for first and last names.
    return f"{person['family-names']}, {person['given-names']}" if "family-names" in person else f"{{{person['name']}}}"


def launches(repository: str, branch: str, notebook: str) -> list[tuple[str, str]]:
    """(name, address) of the services that open a notebook of a repository; none where no address is configured.

    repository: `https://github.com/OWNER/NAME` or the same at gitlab.com, or empty. notebook: its path in there.
    Raises InvalidValueError for another address, or an address without a branch.
    """
    if not repository:
        return []
    parts = urlsplit(repository.removesuffix(".git").rstrip("/"))
    owner = parts.path.strip("/")
    if parts.scheme != "https" or parts.hostname not in HOSTS or owner.count("/") != 1:
        allowed = " or ".join(f"https://{host}/OWNER/NAME" for host in HOSTS)
        raise InvalidValueError(f"repository_url is {repository!r}; notebooks can be launched from {allowed}")
    if not branch:
        raise InvalidValueError("repository_url is set, repository_branch is not; name the branch to launch from")
    kind, colab = HOSTS[parts.hostname]
    inside = owner if kind == "gh" else quote(owner, safe="")
    binder = f"https://mybinder.org/v2/{kind}/{inside}/{quote(branch, safe='')}?urlpath=lab/tree/{notebook}"
    other = [("Colab", f"https://colab.research.google.com/github/{owner}/blob/{branch}/{notebook}")] if colab else []
    return [("Binder", binder), *other]


def source_of(page: str, notebooks: Sequence[str]) -> str | None:
    """The notebook that a page was executed from, by the page's name; None for a page that is none.

    >>> source_of("book/_executed/verdicts-asd", ["asd", "verdicts"])
    'notebooks/verdicts.ipynb'
    """
    folder, _, name = page.rpartition("/")
    if folder != "book/_executed":
        return None
    own = max((one for one in notebooks if f"{name}-".startswith(f"{one}-")), key=len, default=None)
    return f"notebooks/{own}.ipynb" if own else None
