"""Packed constants on one device."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl

from app.engine.ir import Const, Data

FLAGS = cl.mem_flags.READ_WRITE


class Uploaded(NamedTuple):
    """One packed constant on the device, and the checksum of what was sent there."""

    name: str
    buffer: Any
    nbytes: int
    checksum: int
    # Kept so that its id stays its own.
    data: Data


class Weights:
    """Packed constants on one device, shared by every plan of a model."""

    def __init__(self, context: cl.Context, queue: cl.CommandQueue) -> None:
        self._context, self._queue = context, queue
        self._buffers: dict[tuple[int, str], Uploaded] = {}
        self.nbytes = 0

    def get(self, const: Const) -> Any:
        """The buffer of a constant; packs and uploads it the first time."""
        data = const.tensor.data
        if data is None:
            raise ValueError(f"{const.tensor.name} is not a constant")
        key = (id(data), const.label)
        if key not in self._buffers:
            packed = np.ascontiguousarray(const.pack(data))
            buffer = cl.Buffer(self._context, FLAGS, max(packed.nbytes, 4))
            if packed.nbytes:
                cl.enqueue_copy(self._queue, buffer, packed, is_blocking=True)
            self._buffers[key] = Uploaded(const.tensor.name, buffer, packed.nbytes,
                                          zlib.crc32(packed.data), data)
            self.nbytes += packed.nbytes
        return self._buffers[key].buffer

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
        self._buffers.clear()
        self.nbytes = 0
