"""`HostImages`: a uint8 tensor (N, 3, H, W) whose images lie in files on the host and come to the device in batches;
in which memory a data set lies, and its digest where it lies in none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from defenselib.data.host.ahead import ReadAhead, Ready
from defenselib.data.host.files import Mapped, Pool
from defenselib.data.types import Dataset, ImageSet
from defenselib.errors import InvalidValueError

AT_ONCE = 1 << 28  # bytes: an index of more images makes another `HostImages` instead of a batch
LARGEST_COPY = 1 << 30  # bytes that an operation which needs all pixels at once may copy
Handler = Callable[..., Any]
_aten: Any = torch.ops.aten
# A data set is poisoned (a copy of it), put into another memory order (another one), and a network trains beside it.
SHARE = 4


class HostImages(Tensor):
    """Behaves as the tensor that it stands for. What picks images by index gives a batch on `device`; what picks very
    many, and slices, clones and concatenations, give another `HostImages` of the same files. Written to, it keeps the
    new images in a file of its own kind: the files of the data set are never changed. Any other operation copies all
    images first, and says so where they are too many.

    pool, numbers: which of its images these are, int64 (N,) on the host. axes: the order of the dimensions, the first
    of which stays the first. ahead: whether the batch that follows is copied while this one is worked on.
    """

    pool: Pool
    numbers: Tensor
    axes: tuple[int, ...]
    ahead: ReadAhead | None
    target: torch.device
    stream: torch.cuda.Stream | None

    @staticmethod
    def __new__(
        cls,
        pool: Pool,
        numbers: Tensor | None = None,
        device: torch.device | str = "cpu",
        axes: tuple[int, ...] = (0, 1, 2, 3),
        ahead: bool | ReadAhead | None = None,
    ) -> HostImages:
        numbers = torch.arange(len(pool)) if numbers is None else numbers
        shape = (len(numbers), *pool.shape)
        size = [shape[axis] for axis in axes]
        made: HostImages = Tensor._make_wrapper_subclass(cls, size, dtype=torch.uint8, device=torch.device(device))
        made.pool, made.numbers, made.axes = pool, numbers, axes
        wanted = torch.device(device).type == "cuda" if ahead is None else bool(ahead)
        made.ahead = ahead if isinstance(ahead, ReadAhead) else ReadAhead(made._fetch) if wanted else None
        made.target, made.stream = torch.device(device), None
        return made

    @classmethod
    def over(cls, array: NDArray[Any], device: torch.device | str = "cpu", ahead: bool | None = None) -> HostImages:
        """Images of an array, uint8 (N, 3, H, W), mapped by `numpy.load(..., mmap_mode="c")` or in memory."""
        return cls(Pool([Mapped.of(array)]), device=device, ahead=ahead)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = _HANDLERS.get(func)
        found = NotImplemented if handler is None else handler(*args, **kwargs)
        if found is not NotImplemented:
            return found

        def whole(item: Any) -> Any:
            # Contiguous, as this tensor says that it is: whoever reshapes it relies on that.
            return item.copied(str(func)).contiguous() if isinstance(item, HostImages) else item

        if func._schema.is_mutable and isinstance(args[0], HostImages):
            raise InvalidValueError(f"{func} would change images in their files; copy a batch and change that")
        return func(*tree_map(whole, list(args)), **tree_map(whole, dict(kwargs)))

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"HostImages({tuple(self.shape)}, device={self.target})"

    def numpy(self, *, force: bool = False) -> NDArray[Any]:
        """As of any tensor; without a copy where the images lie one after the other in one file."""
        found = self.pool.view(self.numbers)
        self.pool.count(self.nbytes)
        return (self.copied("numpy").cpu() if found is None else found.permute(self.axes)).numpy()

    def derived(self, numbers: Tensor | None = None, axes: tuple[int, ...] | None = None) -> HostImages:
        """Other images of the same files, on the same device, or the same ones with their dimensions reordered."""
        followed: Any = self.ahead is not None if numbers is not None or axes is not None else self.ahead
        return HostImages(
            self.pool,
            self.numbers if numbers is None else numbers,
            self.target,
            self.axes if axes is None else axes,
            followed,
        )

    def copied(self, what: str) -> Tensor:
        """All images as a plain tensor on the device. Errors: InvalidValueError where they are too many for `what`."""
        if self.nbytes > LARGEST_COPY:
            raise InvalidValueError(
                f"{what} needs all of {len(self.numbers)} images at once, {self.nbytes / 1e9:.1f} GB; at most "
                f"{LARGEST_COPY / 1e9:.1f} GB are copied: take them in batches"
            )
        return self._fetched(self.numbers)

    def batch(self, index: Tensor) -> Tensor:
        """The images at `index`, int64 (n,), copied to the device."""
        if self.ahead is None:
            return self._fetched(self.numbers[index.cpu()])
        return self.ahead.take(index).permute(self.axes)

    def _fetched(self, numbers: Tensor) -> Tensor:
        found, copied = self._copy(numbers)
        if copied is not None:
            torch.cuda.current_stream(found.device).wait_event(copied)
            found.record_stream(torch.cuda.current_stream(found.device))
        return found.permute(self.axes)

    def _fetch(self, positions: Tensor) -> Ready:
        return self._copy(self.numbers[positions])

    def _copy(self, numbers: Tensor) -> Ready:
        if self.target.type != "cuda":
            return self.pool.gather(numbers).to(self.target), None
        # Copies have a stream of their own, so that they run beside the work that the device has.
        if self.stream is None:
            self.stream = torch.cuda.Stream(self.target)
        images = self.pool.gather(numbers, pinned=True)
        with torch.cuda.stream(self.stream):
            moved = images.to(self.target, non_blocking=True)
            return moved, self.stream.record_event()


def _index(images: HostImages, indices: Sequence[Tensor | None]) -> Any:
    index = indices[0]
    if index is None or any(item is not None for item in indices[1:]):
        return NotImplemented
    if index.dtype in (torch.bool, torch.uint8):
        index = index.nonzero().squeeze(1)
    if index.dim() != 1:
        return NotImplemented
    if len(index) * images[:1].nbytes <= AT_ONCE:
        return images.batch(index)
    return images.derived(images.numbers[index.cpu()])


def _slice(images: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    if dim % images.dim():
        return NotImplemented
    return images.derived(images.numbers[slice(start, end, step)].clone())


def _split(images: HostImages, size: int, dim: int = 0) -> Any:
    if dim % images.dim():
        return NotImplemented
    return [images.derived(part.clone()) for part in images.numbers.split(size)]


def _select(images: HostImages, dim: int, index: int) -> Any:
    if dim % images.dim():
        return NotImplemented
    return images._fetched(images.numbers[index : index + 1] if index != -1 else images.numbers[-1:])[0]


def _clone(images: HostImages, *, memory_format: Any = None) -> HostImages:
    return images.derived(images.numbers.clone())  # pixels have one order in a file; a batch may be given another


def _permute(images: HostImages, dims: Sequence[int]) -> Any:
    dims = [dim % images.dim() for dim in dims]
    if dims[0] != 0:
        return NotImplemented
    made = images.derived(axes=tuple(images.axes[dim] for dim in dims))
    made.ahead = images.ahead  # the same images, so the same batches
    return made


def _to(images: HostImages, *, dtype: Any = None, device: Any = None, **more: Any) -> Any:
    if dtype not in (None, torch.uint8):
        return NotImplemented
    return HostImages(images.pool, images.numbers, images.device if device is None else device, images.axes)


def _put(images: HostImages, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Any:
    index = indices[0]
    if accumulate or index is None or len(indices) > 1 or images.axes != (0, 1, 2, 3):
        return NotImplemented
    if index.dtype in (torch.bool, torch.uint8):
        index = index.nonzero().squeeze(1)
    shape = (*index.shape, *images.shape[1:])
    images.numbers[index.cpu()] = images.pool.append(values.to(torch.uint8).expand(shape).cpu())
    if images.ahead is not None:
        images.ahead = ReadAhead(images._fetch)  # what was read ahead may be what was replaced
    return images


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    first = next(item for item in tensors if isinstance(item, HostImages))
    plain = all(item.axes == (0, 1, 2, 3) for item in tensors if isinstance(item, HostImages))
    if dim % first.dim() or not plain or any(item.dtype != torch.uint8 for item in tensors):
        return NotImplemented
    sources: list[Mapped] = []
    numbers: list[Tensor] = []
    total = 0
    for item in tensors:
        own = item.pool.sources if isinstance(item, HostImages) else [Mapped(item.cpu())]
        here = item.numbers if isinstance(item, HostImages) else torch.arange(len(item))
        sources += own
        numbers.append(here + total)
        total += sum(len(source.images) for source in own)
    return HostImages(Pool(sources), torch.cat(numbers), first.device)


_HANDLERS: Mapping[Any, Handler] = {
    _aten.index.Tensor: _index,
    _aten.index_select.default: lambda images, dim, index: NotImplemented if dim else _index(images, [index]),
    _aten.slice.Tensor: _slice,
    _aten.split.Tensor: _split,
    _aten.select.int: _select,
    _aten.clone.default: _clone,
    _aten.detach.default: lambda images: images.derived(),
    _aten.alias.default: lambda images: images.derived(),
    _aten.permute.default: _permute,
    _aten._to_copy.default: _to,
    _aten.index_put_.default: _put,
    _aten.cat.default: _cat,
}


def place(dataset: Dataset, device: torch.device | str) -> Dataset:
    """The data set on the device. One whose images lie in files stays there, and batches are copied, unless the device
    has memory for `SHARE` times its size."""
    device = torch.device(device)
    stored = [item for item in (dataset.train, dataset.test) if isinstance(item.images, HostImages)]
    if stored and device.type == "cuda":
        size = dataset.train.images.nbytes + dataset.test.images.nbytes
        if SHARE * size <= torch.cuda.mem_get_info(device)[0]:
            return replace(dataset, train=_copied(dataset.train, device), test=_copied(dataset.test, device))
    return dataset.to(device)


def _copied(data: ImageSet, device: torch.device, step: int = 512) -> ImageSet:
    """All images in the memory of the device, copied part by part."""
    images = torch.empty(data.images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(data), step):
        part = slice(start, start + step)
        images[part] = data.images[part].to(device)
    return ImageSet(images, data.labels.to(device))


def digest_in_parts(*sets: ImageSet, step: int = 512) -> str:
    """`types.digest_of` of sets that do not fit the memory: the same digest, taken of so many images at a time."""
    state = hashlib.sha256()
    for item in sets:
        for tensor in (item.images, item.labels):
            state.update(str(tuple(tensor.shape)).encode())
            for part in tensor.split(step):
                state.update(part.cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
