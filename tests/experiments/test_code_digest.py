"""The digest of the code that makes a result."""

from __future__ import annotations

from defenselib.experiments.code_digest import closure, code_digest, digest_of_source

CODE = '''
"""Module."""
import os  # why


def f(x: int) -> int:
    """Doc."""
    return x + 1
'''


def test_comments_docstrings_and_layout_do_not_matter() -> None:
    bare = "import os\ndef f(x: int) -> int: return (x +\n 1)"
    assert digest_of_source(CODE) == digest_of_source(bare)


def test_code_does() -> None:
    assert digest_of_source(CODE) != digest_of_source(CODE.replace("x + 1", "x + 2"))
    assert digest_of_source("x = 1") != digest_of_source("x = 1.0") != digest_of_source("x = '1.0'")


def test_it_covers_what_decides_numbers_and_nothing_above() -> None:
    modules = closure(["defenselib.defenses.asd"])
    assert {
        "defenselib.defenses.asd",
        "defenselib.defenses.base",
        "defenselib.learning.semi_supervised",
        "defenselib.learning.losses",
        "defenselib.learning.context",
        "defenselib.data.augment",
        "defenselib.data.types",
        "defenselib.seeds",
    } <= modules
    assert not any(name.split(".")[1] in ("experiments", "papers", "report", "errors") for name in modules)
    assert "defenselib.defenses" not in modules and "defenselib.data" not in modules
    assert not any(name.startswith("defenselib.attacks") for name in modules)


def test_other_methods_do_not_matter() -> None:
    modules = closure(["defenselib.defenses.none", "defenselib.attacks.badnets"])
    assert "defenselib.defenses.asd" not in modules and "defenselib.attacks.blend" not in modules


def test_digests_by_method() -> None:
    digests = {code_digest("badnets", "none"), code_digest("badnets", "asd"), code_digest("blend", "asd")}
    digests.add(code_digest("badnets", "asd", "oracle-split"))
    assert len(digests) == 4
    assert code_digest("badnets", "gone") == code_digest("gone", "asd") == "unknown"
