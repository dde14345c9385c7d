"""What a finished cell leaves behind: numbers, history, arrays for figures, and how it came about."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from defenselib.errors import DataError
from defenselib.experiments import schema

if TYPE_CHECKING:
    import pandas as pd


class Arrays(dict[str, NDArray[Any]]):
    """Arrays by name; one that is asked for by `[name]` and is not there raises DataError with the file's name."""

    def __init__(self, content: Mapping[str, NDArray[Any]], file: Path | None) -> None:
        super().__init__(content)
        self._file = file

    def __missing__(self, name: str) -> NDArray[Any]:
        if self._file is None or not self._file.exists():
            raise DataError(
                f"array {name!r} is missing: there is no {self._file or 'file of arrays'}; run the cell again"
            )
        raise DataError(f"{self._file} holds no array {name!r}; run the cell again")


@dataclass(frozen=True)
class Result:
    """A finished cell. acc, asr, ra, per_class in percent (NaN or None: not measured), seconds of wall clock.

    experiment: all numbers of the specification, defaults included; spec: the part that `hash` covers. history: a row
    an epoch (`history_frame`). stages: seconds by stage; `seconds` is their sum. cpu_seconds: what the process computed
    for the defense, whatever else the machine did, with shared stages that it only loaded; None after an interruption.
    clean_given: clean samples that the defense was handed. arrays: see `Observer`. peak_memory_mb: of the process, or
    of the GPU. code: digest of the definitions that made it.
    """

    experiment: dict[str, Any]
    spec: dict[str, Any]
    hash: str
    profile: str
    acc: float
    asr: float
    per_class: tuple[float, ...]
    ra: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    cpu_seconds: float | None = None
    observer_seconds: float = 0.0
    poisoned_count: int = 0
    cross_count: int = 0
    clean_given: int = 0
    suspects_count: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    data_digest: str = ""
    code: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    peak_memory_mb: float = 0.0
    stem: str = ""
    path: Path | None = field(default=None, compare=False)

    def history_frame(self) -> pd.DataFrame:
        """The history as a table, one row an epoch; NaN where a number was not recorded."""
        import pandas as pd

        return pd.DataFrame(self.history)

    @cached_property
    def arrays(self) -> Arrays:
        """Per-sample arrays by name, read from the file beside the result when first asked for; none where there is no
        file. Errors: DataError for a damaged one."""
        file = None if self.path is None else self.path.with_suffix(".npz")
        return Arrays({} if file is None or not os.path.lexists(file) else _read_arrays(file), file)

    def made_by_current_code(self) -> bool:
        """Whether the definitions that made it are unchanged."""
        from defenselib.experiments.code_digest import code_of

        return self.code == code_of(self.experiment)

    def to_json(self) -> str:
        """JSON without the path: a field a line, a history row a line (small differences); NaN becomes null."""
        content: dict[str, Any] = {"format": schema.FORMAT}
        content |= {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "path"}
        lines = [f'"{key}": {_rows(value) if key == "history" else _text(value)}' for key, value in content.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Result:
        """The result in a file's text. Raises DataError, naming file and field, for anything else."""
        try:
            content = json.loads(text, parse_constant=_refuse)
            schema.check(content)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path} is no result of this library: {error}; delete it and run the cell again"
            ) from error
        del content["format"]
        content["per_class"] = tuple(_number(value) for value in content["per_class"])
        content["acc"], content["asr"] = _number(content["acc"]), _number(content["asr"])
        return cls(**content, path=path)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


def _read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        # Opened here: NumPy leaves a damaged file open.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # NumPy hands out a member that is no array as its bytes
                raise ValueError(f"{name} is no array")
        return arrays
    except Exception as error:  # zipfile, zlib and NumPy raise whatever they raise
        raise DataError(
            f"{file} is no file of arrays ({error}); delete it with its .json and run the cell again"
        ) from error


def _text(value: Any) -> str:
    return json.dumps(_finite(value), allow_nan=False)


def _rows(history: list[dict[str, Any]]) -> str:
    return "[" + "".join(f"\n {_text(row)}," for row in history).rstrip(",") + "\n]"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
