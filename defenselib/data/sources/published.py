"""Data sets as their authors publish them: found where they were unpacked, downloaded where torchvision can."""

from __future__ import annotations

import contextlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from filelock import FileLock

from defenselib.data.info import PARTS
from defenselib.data.sources.cifar import kind_of, list_cifar
from defenselib.data.sources.gtsrb import list_gtsrb
from defenselib.data.sources.imagenet import list_imagenet
from defenselib.data.sources.images import Listing
from defenselib.data.sources.tiny_imagenet import list_tiny_imagenet
from defenselib.data.sources.vggface2 import list_vggface2
from defenselib.errors import DataError

_OF_PARTS = {"imagenet": list_imagenet, "vggface2": list_vggface2}
_LISTS: dict[str, Callable[[Path], Listing | None]] = {
    "cifar10": partial(list_cifar, "cifar10"),
    "cifar100": partial(list_cifar, "cifar100"),
    "gtsrb": list_gtsrb,
    "tiny-imagenet": list_tiny_imagenet,
    **{name: partial(_OF_PARTS[part.whole], part=part) for name, part in PARTS.items()},
}
_HOSTS = {
    "cifar10": "https://www.cs.toronto.edu",
    "cifar100": "https://www.cs.toronto.edu",
    "gtsrb": "https://sid.erda.dk",
}
_TIMEOUT = 10.0  # seconds until a host that does not answer counts as unreachable


def list_published(name: str, folder: Path) -> Listing | None:
    """The data set `name` in its published layout below `folder`; None where it is not, or is another's."""
    return _LISTS[name](folder) if name in _LISTS else None


def list_by_layout(folder: Path) -> Listing | None:
    """A published data set whose files lie in `folder` in their own way, not as a folder per class and split."""
    for lister in (list_gtsrb, list_tiny_imagenet, list_imagenet, list_vggface2):
        listing = lister(folder)
        if listing is not None:
            return listing
    return None


def can_download(name: str) -> bool:
    return name in _HOSTS


def download(name: str, target: Path) -> None:
    """Download `name` into the folder `target`, which appears only when all is there. Errors: DataError."""
    host = _HOSTS[name]
    try:
        _reach(host)
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if target.exists():
                return
            partial_folder = target.with_suffix(".partial")
            shutil.rmtree(partial_folder, ignore_errors=True)
            partial_folder.mkdir()
            _fetch(name, partial_folder)
            for archive in (*partial_folder.rglob("*.tar.gz"), *partial_folder.rglob("*.zip")):
                archive.unlink()
            partial_folder.replace(target)
    except (OSError, RuntimeError) as error:
        raise DataError(f"the download of {name!r} from {host} failed ({error})") from error


def _fetch(name: str, folder: Path) -> None:
    from torchvision import datasets

    if name == "gtsrb":
        datasets.GTSRB(str(folder), split="train", download=True)
        datasets.GTSRB(str(folder), split="test", download=True)
    else:
        kind_of(name)(folder, download=True)


def _reach(url: str) -> None:
    """Raise OSError soon where there is no network: torchvision itself would wait without limit."""
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "defenselib"})
    with contextlib.suppress(urllib.error.HTTPError):  # then the host answers, if only to refuse a HEAD
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()
