"""Checkpoints: what is saved comes back as it was; what cannot be used changes nothing and is set aside."""

from __future__ import annotations

import math
import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from defenselib.errors import DamagedFileError, FolderError, InvalidValueError
from defenselib.learning import checkpoints
from defenselib.learning.context import Context

CPU = torch.device("cpu")


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and one.dtype == other.dtype
            and one.stride() == other.stride()
            and torch.equal(one, other)
        )
    if isinstance(one, dict):
        return type(one) is type(other) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return (
            type(one) is type(other)
            and len(one) == len(other)
            and all(same(*pair) for pair in zip(one, other, strict=True))
        )
    both_nan = isinstance(one, float) and math.isnan(one) and math.isnan(other)
    return both_nan or (type(one) is type(other) and one == other)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=4)
DTYPES = [torch.float32, torch.bfloat16, torch.float64, torch.bool, torch.uint8, torch.int64]
TENSORS = st.builds(
    lambda shape, dtype, order: torch.ones(shape).cumsum(0).to(dtype).permute(*order) if len(shape) == 4
    else torch.ones(shape, dtype=dtype),
    st.lists(st.integers(0, 3), max_size=4), st.sampled_from(DTYPES), st.permutations([0, 1, 2, 3]),
)  # fmt: skip
STATES = st.recursive(
    SCALARS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
        | st.dictionaries(st.integers(), st.integers(), max_size=2).map(Counter)
    ),
    max_leaves=8,
)


@given(state=STATES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_state_comes_back_as_it_was(state: Any, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "x.safetensors", state)
    assert same(checkpoints.load(tmp_path / "x.safetensors", CPU), state)


def test_optimizers_and_schedules_go_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def make() -> tuple[Any, ...]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
        schedules = [
            torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2, 2]),
            torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=9),
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
        ]
        return model, optimizer, *schedules

    def step(model: Any, optimizer: Any, *schedules: Any) -> None:
        optimizer.zero_grad()
        x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
        model(x.contiguous(memory_format=torch.channels_last)).square().sum().backward()
        optimizer.step()
        for schedule in schedules:
            schedule.step()

    whole, first, second = make(), make(), make()
    for _ in range(3):
        step(*whole)
    step(*first)
    checkpoints.save(tmp_path / "x", [checkpoints.dump(item) for item in first])
    for item, saved in zip(second, checkpoints.load(tmp_path / "x", CPU), strict=True):
        checkpoints.put_back(item, saved)
    for _ in range(2):
        step(*second)
    assert same([item.state_dict() for item in second[:2]], [item.state_dict() for item in whole[:2]])
    assert [schedule.get_last_lr() for schedule in second[2:]] == [schedule.get_last_lr() for schedule in whole[2:]]


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, Path("x"), b"x"])
def test_what_no_checkpoint_can_hold_is_refused(value: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=type(value).__name__):
        checkpoints.save(tmp_path / "x", {"a": value})


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("evil",))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)


def content_of(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda path: checkpoints.save(path, change(checkpoints.load(path, CPU)))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "a bit flipped": flipped,
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "a torch file": lambda path: torch.save({"done": 1}, path),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "x").touch()),
    "other tensors": lambda path: save_file({"x": torch.ones(2)}, path),
    "another structure": lambda path: save_file({"x": torch.ones(2)}, path, {"about": '["tensor"]'}),
    "an unknown tensor": lambda path: save_file({"x": torch.ones(2)}, path, {"about": '["tensor", "9", null]'}),
    "no JSON": lambda path: save_file({"x": torch.ones(2)}, path, {"about": "{"}),
    "a list": content_of(lambda content: [content]),
    "no state": content_of(lambda content: {**content, "state": {}}),
    "no streams": content_of(lambda content: {key: value for key, value in content.items() if key != "generators"}),
    "a broken stream": content_of(lambda content: {**content, "generators": {"data": torch.zeros(3)}}),
    "a stream too many": content_of(
        lambda content: {**content, "generators": content["generators"] | {"late": torch.zeros(3)}}
    ),
    "another shape": content_of(
        lambda content: {**content, "state": content["state"] | {"model": nn.Linear(9, 2).state_dict()}}
    ),
    "another optimizer": content_of(
        lambda content: {**content, "state": content["state"] | {"optimizer": {"state": {}, "param_groups": []}}}
    ),
    "a wider tensor": content_of(lambda content: {**content, "state": content["state"] | {"total": torch.zeros(2, 1)}}),
    "no number of epochs": content_of(lambda content: {**content, "done": "two"}),
}


def train(folder: Path | None, epochs: int = 3, dies: bool = False) -> list[Any]:
    context = Context(model_factory=lambda: nn.Linear(4, 2), checkpoints=folder, checkpoint_every=0)
    model = context.build_model()
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    votes: list[int] = []
    total = torch.zeros(1)
    stream = context.generator("data")
    for epoch in context.epochs("main", epochs, model=model, optimizer=optimizer, votes=votes, total=total):
        if dies and epoch:
            raise KeyboardInterrupt
        x = torch.randn(8, 4, generator=stream)
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        votes.append(epoch)
        total += x.sum() + torch.rand(1, generator=context.generator("late")) + torch.rand(1)
    return [*(value.detach().clone() for value in model.parameters()), total, votes]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_cannot_be_used_is_set_aside_and_changes_nothing(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    expected = train(None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "c", dies=True)
    (path,) = (tmp_path / "c").iterdir()
    DAMAGE[damage](path)
    torch.manual_seed(5)
    with pytest.warns(
        UserWarning, match=rf"checkpoint {path} cannot be used .*set aside as {path.name}\.damaged"
    ) as said:
        assert same(train(tmp_path / "c"), expected)
    assert len(said) == 1 and "\n" not in str(said[0].message)
    assert sorted(item.name for item in (tmp_path / "c").iterdir()) == [path.name, f"{path.name}.damaged"]
    assert not (tmp_path / "evil").exists()
    assert same(train(tmp_path / "c"), expected)  # from the new one


def test_memory_that_is_out_is_no_damage(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "x", {"a": torch.ones(1)})

    def restore(_: Any) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        checkpoints.resume(tmp_path / "x", CPU, restore, dict)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"file/c: a part of the path is a file; set DEFENSELIB_STORE"):
        train(tmp_path / "file" / "c")
    with pytest.raises(DamagedFileError, match="file is damaged"):
        checkpoints.load(tmp_path / "file", CPU)
