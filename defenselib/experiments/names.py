"""Which names may become files and folders of a store: keys, profiles, stems. Nothing else reaches a path."""

from __future__ import annotations

import re

from defenselib.errors import InvalidValueError

# Kept beside the results of a store that is worked in; never committed.
WORKING_FOLDERS = ("models", "cache", "checkpoints", "locks")
HASH = re.compile(r"[0-9a-f]{16}")
_STAGE = re.compile(r"[\w.]{0,40}-[0-9a-f]{16}")
_PROFILE = re.compile(r"\w[\w. -]{0,63}")


def check_hash(key: str) -> str:
    """`key` if it is the hash of a result. Errors: InvalidValueError."""
    if not (isinstance(key, str) and HASH.fullmatch(key)):
        raise InvalidValueError(f"hash is {key!r}, it must be 16 hexadecimal digits")
    return key


def check_key(key: str) -> str:
    """`key` if it is the hash of a result or the name of a shared stage, NAME-HASH. Errors: InvalidValueError."""
    if not (isinstance(key, str) and (HASH.fullmatch(key) or _STAGE.fullmatch(key))):
        raise InvalidValueError(
            f"key is {key!r}, it must be 16 hexadecimal digits, after a stage's name and '-' or not"
        )
    return key


def check_profile_name(name: str, where: str = "") -> str:
    """`name` if a folder of results may be called so. Errors: InvalidValueError."""
    if not (isinstance(name, str) and _PROFILE.fullmatch(name)):
        rule = "it must begin with a letter or digit and hold no sign but '_', '-', '.' and spaces"
        raise InvalidValueError(f"{where}profile name is {name!r}, {rule}")
    if name in WORKING_FOLDERS:
        raise InvalidValueError(f"{where}profile name {name!r} is a folder of the store's own; choose another one")
    return name


def check_stem(stem: str) -> str:
    """`stem` if a result's files may be called so: one name, that ends with the hash. Errors: InvalidValueError."""
    name, _, key = stem.rpartition("-") if isinstance(stem, str) else ("", "", "")
    if not HASH.fullmatch(key) or not name or name.startswith(".") or set(name) & set("/\\\0"):
        raise InvalidValueError(f"stem is {stem!r}, it must be a file's name that ends with '-' and the hash")
    return stem
