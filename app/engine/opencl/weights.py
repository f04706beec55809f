"""Packed constants on one device."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl

from app.engine.ir import Const, Data

FLAGS = cl.mem_flags.READ_WRITE
Key = tuple[int, str]


class Uploaded(NamedTuple):
    """One packed constant on the device, and the checksum of what was sent there.

    buffer is its own memory: the whole buffer `base`, or a part of it from byte `offset` on.
    """

    name: str
    buffer: Any
    base: Any
    offset: int
    nbytes: int
    checksum: int
    # Kept so that its id stays its own.
    data: Data


class Weights:
    """Packed constants on one device, shared by every plan of a model. Thread-safe."""

    def __init__(self, context: cl.Context, queue: cl.CommandQueue) -> None:
        self._context, self._queue = context, queue
        # Where a part of a buffer may begin.
        self._align = max(context.devices[0].mem_base_addr_align // 8, 1)
        self._buffers: dict[Key, Uploaded] = {}
        self._lock = threading.Lock()
        self.nbytes = 0

    def get(self, const: Const) -> Any:
        """The buffer of a constant; packs and uploads it the first time."""
        return self.together([const])[0].buffer

    def together(self, constants: Sequence[Const]) -> list[Uploaded]:
        """Where constants lie; those that are not on the device yet share one buffer."""
        with self._lock:
            new = {key: (c, data, np.ascontiguousarray(c.pack(data))) for c in constants
                   for data in (_data(c),) for key in ((id(data), c.label),)
                   if key not in self._buffers}
            if new:
                self._upload(new)
            return [self._buffers[id(_data(c)), c.label] for c in constants]

    def _upload(self, new: Mapping[Key, tuple[Const, Data, Data]]) -> None:
        offsets, end = [], 0
        for _, _, packed in new.values():
            offsets.append(end)
            end += -(-max(packed.nbytes, 4) // self._align) * self._align
        base = cl.Buffer(self._context, FLAGS, end)
        for (key, (const, data, packed)), offset in zip(new.items(), offsets, strict=True):
            size = max(packed.nbytes, 4)
            buffer = base if len(new) == 1 else base.get_sub_region(offset, size)
            if packed.nbytes:
                cl.enqueue_copy(self._queue, buffer, packed, is_blocking=True)
            self._buffers[key] = Uploaded(const.tensor.name, buffer, base, offset, packed.nbytes,
                                          zlib.crc32(packed.data), data)
            self.nbytes += packed.nbytes

    def uploaded(self) -> tuple[Uploaded, ...]:
        """What is on the device now."""
        return tuple(self._buffers.values())

    def intact(self, constant: Uploaded) -> bool:
        """Read a constant back: whether the device still holds what was sent."""
        found = np.empty(constant.nbytes, "u1")
        if found.size:
            cl.enqueue_copy(self._queue, found, constant.buffer, is_blocking=True)
        return zlib.crc32(found.data) == constant.checksum

    def clear(self) -> None:
        """Free everything; no plan may run afterwards."""
        with self._lock:
            self._buffers.clear()
            self.nbytes = 0


def _data(const: Const) -> Data:
    if const.tensor.data is None:
        raise ValueError(f"{const.tensor.name} is not a constant")
    return const.tensor.data
