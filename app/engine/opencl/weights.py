"""Packed constants on one device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl

from app.engine.ir import Const, Data

FLAGS = cl.mem_flags.READ_WRITE


class Weights:
    """Packed constants on one device, shared by every plan of a model."""

    def __init__(self, context: cl.Context, queue: cl.CommandQueue) -> None:
        self._context, self._queue = context, queue
        self._buffers: dict[tuple[int, str], tuple[Any, Data]] = {}
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
            # data is kept so that its id stays its own.
            self._buffers[key] = (buffer, data)
            self.nbytes += packed.nbytes
        return self._buffers[key][0]

    def clear(self) -> None:
        """Free everything; no plan may run afterwards."""
        self._buffers.clear()
        self.nbytes = 0
