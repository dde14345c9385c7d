"""`HostImages` against the plain tensor that it stands for, and what it keeps in memory."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from defenselib.data.host import files, images
from defenselib.data.host.images import HostImages, digest_in_parts
from defenselib.data.types import ImageSet, digest_of
from defenselib.errors import FolderError, InvalidValueError

N = 40


@pytest.fixture(params=[False, True], ids=["plain", "ahead"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[HostImages, Tensor]:
    """The same images in a mapped file and in memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (N, 3, 8, 6), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="c")
    return HostImages.over(mapped, ahead=request.param), torch.from_numpy(pixels.copy())


def same(host: Tensor, plain: Tensor) -> bool:
    """Whether both stand for the same pixels, looked at in batches."""
    assert host.shape == plain.shape and host.dtype == plain.dtype
    return all(torch.equal(host[part].clone(), plain[part]) for part in torch.arange(len(plain)).split(7))


PICKS: list[Any] = [
    lambda x: x[torch.tensor([5, 5, 0, -1])],
    lambda x: x[torch.arange(len(x)) % 3 == 0],
    lambda x: x.index_select(0, torch.tensor([3, 1])),
    lambda x: x[4:19],
    lambda x: x[::3],
    lambda x: x[-4:],
    lambda x: x.permute(0, 2, 3, 1)[torch.tensor([2, 7])],
    lambda x: x.permute(0, 2, 3, 1)[3:6].float(),
    lambda x: x[7],
    lambda x: x[-1],
    lambda x: x[:0],
    lambda x: x[:, :, 2:4],
    lambda x: x[:, torch.tensor([2, 0])],
    lambda x: x[:5].to(torch.float32, memory_format=torch.channels_last) / 255,
    lambda x: torch.stack(list(x[:3])),
    lambda x: x.clone(),
    lambda x: x.contiguous(memory_format=torch.channels_last),
    lambda x: x.flip(-1),
    lambda x: torch.cat([x, torch.ones_like(x[:2])]),
    lambda x: torch.cat([x[9:12], x[:1]])[torch.tensor([3, 0])],
    lambda x: x.split(11)[2],
    lambda x: x[3:9].permute(0, 2, 3, 1).reshape(-1, 3),
    lambda x: x[3:9].contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).reshape(2, -1),
]


@pytest.mark.parametrize("pick", PICKS)
def test_gives_what_the_tensor_gives(pick: Any, pair: tuple[HostImages, Tensor]) -> None:
    host, plain = pair
    assert same(pick(host), pick(plain))
    assert type(host[torch.tensor([1])]) is Tensor and isinstance(host[3:], HostImages)
    assert np.array_equal(host.numpy(), plain.numpy()) and np.array_equal(host[::2].numpy(), plain[::2].numpy())
    assert digest_in_parts(ImageSet(host, torch.arange(N)), step=7) == digest_of(ImageSet(plain, torch.arange(N)))


def test_what_is_written_changes_a_clone_alone(
    pair: tuple[HostImages, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SEGMENT", 5 * 3 * 8 * 6)  # five images a file: several are begun
    host, plain = pair
    content = (tmp_path / "images.npy").read_bytes()
    poisoned, expected = host.clone(), plain.clone()
    for part in torch.arange(3, 31, 2).split(4):
        for item in (poisoned, expected):
            item[part] = 255 - item[part]
    other = poisoned.clone()
    other[torch.arange(N) < 2] = torch.zeros(3, 8, 6, dtype=torch.uint8)
    assert same(poisoned, expected) and same(host, plain)
    expected[:2] = 0
    assert same(other, expected) and (tmp_path / "images.npy").read_bytes() == content
    assert same(ImageSet(other, torch.arange(N)).select(torch.tensor([1, 30, 3])).images, expected[[1, 30, 3]])


def test_changing_all_images_in_place_is_refused(pair: tuple[HostImages, Tensor]) -> None:
    with pytest.raises(InvalidValueError, match="would change images in their files"):
        pair[0].zero_()


def test_what_needs_too_many_images_at_once_says_so(
    pair: tuple[HostImages, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "LARGEST_COPY", 10 * 3 * 8 * 6)
    assert same(pair[0][:10].flip(-1), pair[1][:10].flip(-1))
    with pytest.raises(InvalidValueError, match="needs all of 11 images at once"):
        pair[0][:11].flip(-1)


def test_an_index_of_very_many_images_stays_in_the_file(
    pair: tuple[HostImages, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 10 * 3 * 8 * 6)
    index = torch.randperm(N)
    assert type(pair[0][index[:10]]) is Tensor and isinstance(pair[0][index[:11]], HostImages)
    assert same(pair[0][index], pair[1][index])


@settings(max_examples=60)
@given(
    order=st.lists(st.integers(-N, N - 1), min_size=2, max_size=30),
    asked=st.lists(st.tuples(st.integers(0, 29), st.integers(1, 9), st.booleans()), max_size=12),
)
def test_reading_ahead_never_gives_another_batch(
    order: list[int], asked: list[tuple[int, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever slices of an order are asked for, in whatever turn, and whoever changes the order in between."""
    plain = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (N, 3, 4, 4), dtype=np.uint8))
    host, index = HostImages.over(plain.numpy().copy(), ahead=True), torch.tensor(order)
    for start, size, change in asked:
        part = index[start : start + size]
        batch = host[part]
        assert torch.equal(batch, plain[part])
        batch.zero_()  # whoever has a batch may change it
        if change:
            index.mul_(-1).sub_(1)  # the same memory, other samples
    for part in index.split(3):
        assert torch.equal(host[part], plain[part]) and torch.equal(host[part], plain[part])


def test_the_batch_that_follows_is_fetched_in_a_thread(pair: tuple[HostImages, Tensor]) -> None:
    host = pair[0]
    fetched: list[list[int]] = []
    gather = host.pool.gather
    host.pool.gather = lambda numbers, pinned=False: fetched.append(numbers.tolist()) or gather(numbers)  # type: ignore[method-assign,assignment,misc,func-returns-value]
    order = torch.randperm(N)
    for part in order.split(16):
        host[part]
    if host.ahead is not None:
        host.ahead._thread.shutdown()  # type: ignore[union-attr]
    # Each batch once, whoever fetched it.
    assert sorted(map(len, fetched)) == [8, 16, 16] and sorted(i for part in fetched for i in part) == list(range(N))


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(
    pair: tuple[HostImages, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FolderError, match=r"no space is left.*DEFENSELIB_CACHE"):
        pair[0].clone()[torch.tensor([1])] = pair[1][:1]


def test_replaced_images_leave_no_file_behind(pair: tuple[HostImages, Tensor]) -> None:
    folder = Path(os.environ["DEFENSELIB_CACHE"]) / "decoded"
    poisoned = pair[0].clone()
    poisoned[torch.tensor([1])] = pair[1][:1]
    assert folder.is_dir() and not list(folder.iterdir())
    opened = len(os.listdir("/proc/self/fd"))
    del poisoned, pair
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= opened
