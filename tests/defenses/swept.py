"""Of which methods it is known that every hyper-parameter counts: the sweep takes minutes, and finds again what it
found as long as neither the method nor its settings have changed.

`python -m tests.defenses.swept` sweeps those that have changed and records them in `swept.json`; what is not in the
record is swept by `make test`, all of it by `make demo`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from pathlib import Path

import pytest

from defenselib import defenses
from defenselib.experiments.code_digest import code_digest

from .tiny import BESIDE, TINY

RECORD = Path(__file__).parent / "swept.json"


def state(name: str) -> str:
    """Of the definitions that a defense reaches, and of the settings that it is swept with."""
    settings = [TINY[name], [(key[1], BESIDE[key]) for key in sorted(BESIDE) if key[0] == name]]
    upstream = defenses.DEFENSES[name].post_training
    told = [code_digest("badnets", name, model="resnet10", upstream=upstream), settings]
    return hashlib.sha256(json.dumps(told, default=repr).encode()).hexdigest()[:16]


@cache
def recorded() -> frozenset[str]:
    """Names of the defenses that were swept as they are now."""
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return frozenset(name for name in defenses.available() if name in TINY and known.get(name) == state(name))


def main() -> int:
    changed = sorted({*defenses.available()} - recorded())
    if changed:
        here = Path(__file__).parent / "test_every_defense.py"
        asked = ["-q", "-m", "slow", "-k", "test_every_hyper_parameter_changes_the_outcome", str(here)]
        if failed := pytest.main(asked):
            return int(failed)
    RECORD.write_text(json.dumps({name: state(name) for name in defenses.available()}, indent=1) + "\n")
    print(f"swept: {', '.join(changed) or 'nothing has changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
