"""The device that computes: what is asked for, checked before any work."""

from __future__ import annotations

import torch

from defenselib.errors import InvalidValueError, unknown


def available_devices() -> tuple[str, ...]:
    """Names of what can compute here: "cpu", and "cuda", "cuda:0", ... where torch finds GPUs."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ("cpu", *(["cuda"] if gpus else []), *(f"cuda:{number}" for number in range(gpus)))


def chosen_device(name: str | torch.device | None = None) -> torch.device:
    """The device called `name`; None takes a GPU where there is one.

    Errors: UnknownNameError, and InvalidValueError for a GPU that is not there; both list what there is.
    """
    here = available_devices()
    if name is None:
        return torch.device("cuda" if "cuda" in here else "cpu")
    text = str(name).strip().lower()
    text = "cpu" if text == "cpu:0" else text
    if text in here:
        return torch.device(text)
    if text.partition(":")[0] in ("cuda", "gpu"):
        what = "a GPU is 'cuda' or 'cuda:0', " if text.startswith("gpu") else ""
        raise InvalidValueError(f"device {text!r} is not there; {what}available: {', '.join(here)}")
    raise unknown("device", text, here)
