"""Names of shared stages."""

from __future__ import annotations

import json
from typing import Any


def stage_key(stage: str, **settings: Any) -> str:
    """The key for `Context.cached`: the stage and every setting that decides its outcome, in a fixed order.

    >>> stage_key("surrogate", steps=7, eps=0.0625)
    'surrogate {"eps":0.0625,"steps":7}'
    """
    return f"{stage} {json.dumps(settings, sort_keys=True, separators=(',', ':'), allow_nan=False)}"
