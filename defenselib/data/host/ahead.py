"""Copying the next batch while the device works on this one.

Whoever trains draws the order of a whole pass at once and takes one slice of it after the other. So the batch that
follows is known from the place of an index in its storage, without a word from the loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

ORDERS = 8  # that are followed at a time: a learner on two pools has two
Ready = tuple[Tensor, "torch.cuda.Event | None"]
Fetch = Callable[[Tensor], Ready]  # of positions int64 (n,) on the host


@dataclass
class _Order:
    """One order of samples: its copy on the host, and what was fetched of it by (first, count)."""

    source: Tensor  # holds the memory, so that no other order can come to lie in its place
    version: int
    positions: Tensor
    coming: dict[tuple[int, int], Future[Ready]] = field(default_factory=dict)
    last: tuple[tuple[int, int], Tensor] | None = None


class ReadAhead:
    """Fetches batches by index, and beside it, in a thread, the batch that comes next in the same order."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._orders: OrderedDict[int, _Order] = OrderedDict()
        self._thread: ThreadPoolExecutor | None = None

    def take(self, index: Tensor) -> Tensor:
        """The images at `index`, int64 (n,), on its device or not; the caller may change them in place."""
        order = self._order(index)
        if order is None:
            return _waited(self._fetch(index.cpu()))
        wanted = (int(index.storage_offset()), len(index))
        if order.last is not None and order.last[0] == wanted:
            return order.last[1].clone()  # a second view of the same batch
        future = order.coming.pop(wanted, None)
        found = _waited(self._fetch(_part(order, wanted)) if future is None else future.result())
        order.coming.clear()  # the order was left, and what was fetched of it is not wanted
        end = sum(wanted)
        following = (end, min(len(index), len(order.positions) - end))
        if following[1] > 0:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
            order.coming[following] = self._thread.submit(self._fetch, _part(order, following))
        order.last = (wanted, found)
        return found.clone()

    def _order(self, index: Tensor) -> _Order | None:
        """The order that an index is a slice of; None for one that stands alone."""
        if index.is_inference() or not index.is_contiguous():
            return None
        storage = index.untyped_storage()
        if storage.nbytes() <= index.nbytes:
            return None
        key, version = storage.data_ptr(), index._version
        order = self._orders.get(key)
        if order is None or order.version != version or order.positions.nbytes != storage.nbytes():
            whole = torch.empty(0, dtype=index.dtype, device=index.device).set_(storage)  # type: ignore[call-overload]
            # A copy also on the host: what is read ahead must not change under the thread.
            order = self._orders[key] = _Order(whole, version, whole.to("cpu", copy=True))
        self._orders.move_to_end(key)
        while len(self._orders) > ORDERS:
            self._orders.popitem(last=False)
        return order


def _part(order: _Order, wanted: tuple[int, int]) -> Tensor:
    return order.positions[wanted[0] : sum(wanted)]


def _waited(ready: Ready) -> Tensor:
    """What was copied, as the work that follows on this device may use it."""
    found, copied = ready
    if copied is not None:
        stream = torch.cuda.current_stream(found.device)
        stream.wait_event(copied)
        found.record_stream(stream)
    return found
