"""What takes long is kept: frames in memory, for a chapter asks for the same ones many times; arrays on disk.

A kernel may live for days: a frame is made anew as soon as anything differs that it rests on, a file of the store, the
profile, a method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defenselib import models
from defenselib.attacks import ATTACKS
from defenselib.defenses import DEFENSES
from defenselib.errors import FolderError
from defenselib.experiments import profile as profiles
from defenselib.experiments.store import reader
from defenselib.folders import CACHE, atomic, cache_root, writing
from defenselib.folders import make as make_folder
from defenselib.papers.kit.request import Request

Frames = dict[Hashable, tuple[Any, pd.DataFrame]]


def kept(frames: Frames, request: Request, make: Callable[[Request], pd.DataFrame]) -> pd.DataFrame:
    """The frame of a request, a copy of the one in `frames` where that is still right. One that runs is always made."""
    if request.run:
        return make(request)
    store = reader(request.store)
    key = request.profile, request.thin, request.seeds
    # By what they are, not by name: a class of one's own may be registered again.
    methods = [tuple(registry.items()) for registry in (ATTACKS, DEFENSES)]
    networks = models.available(), models.added()
    state = store.state(), profiles.load(request.profile), methods, networks
    if key not in frames or frames[key][0] != state:
        frames[key] = state, make(request)
    return frames[key][1].copy()


def kept_array(what: str, values: NDArray[Any], make: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """`make(values)`, from the cache folder where it was made of the same values before; what: names `make`."""
    about = f"{what} {values.dtype} {values.shape}".encode()
    name = hashlib.sha256(about + values.tobytes()).hexdigest()[:16]
    found = None
    with suppress(FolderError):  # no cache, no gain
        folder = make_folder(cache_root() / "arrays", CACHE)
        with suppress(OSError, EOFError, ValueError):
            return np.asarray(np.load(folder / f"{name}.npy", allow_pickle=False))
        found = make(values)
        with writing(folder, CACHE), atomic(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, found, allow_pickle=False)
    return make(values) if found is None else found
