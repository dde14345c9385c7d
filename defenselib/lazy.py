"""Names of a package that are imported when they are first asked for: the command line starts without torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def attributes(
    package: str, homes: Mapping[str, Iterable[str]], modules: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package. homes: by module the names that are taken from it. modules: names that
    are modules themselves. Modules by their names below the package.
    """
    taken = {name: module for module, names in homes.items() for name in names}
    whole = dict(modules or {})

    def get(name: str) -> Any:
        # Asked anew each time: what is put in place of a function at its home is put in place of it here.
        if name in whole:
            return import_module(f"{package}.{whole[name]}")
        if name in taken:
            return getattr(import_module(f"{package}.{taken[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *taken, *whole})

    return get, listed
