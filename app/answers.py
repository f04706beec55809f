"""Answers kept for requests that come again: off unless it is given some bytes."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from app.tensors import Array

# What an entry costs beside its arrays: key, dictionary, array headers.
_OVERHEAD = 512


def key(model: str, version: str, edition: str, inputs: Mapping[str, Array]) -> bytes:
    """Name a request by what decides its answer: the model's edition and the inputs' bytes.

    edition changes with the model's file and with how it is run.
    """
    digest = hashlib.sha256()
    for part in (model, version, edition):
        digest.update(part.encode() + b"\0")
    for name in sorted(inputs):
        array = inputs[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        if array.dtype == object:
            for item in array.ravel():
                digest.update(len(item).to_bytes(8, "little") + item)
        else:
            digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.digest()


class Answers:
    """The answers used last, up to a bound; safe for threads.

    Units: max_bytes in bytes of outputs; 0 switches the cache off.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, dict[str, Array]] = OrderedDict()
        self._bytes = 0

    @property
    def on(self) -> bool:
        """There is room for answers at all."""
        return self._max_bytes > 0

    @property
    def size(self) -> int:
        """Bytes held now."""
        return self._bytes

    def get(self, name: bytes) -> dict[str, Array] | None:
        """Find an answer; its arrays are read-only."""
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
            return found

    def put(self, name: bytes, outputs: Mapping[str, Array]) -> None:
        """Keep a copy of an answer, and let the oldest go where it needs their room."""
        size = _size(outputs)
        if size > self._max_bytes:
            return
        # Copies: a row of a batch would hold the whole batch in memory.
        kept = {output: array.copy() for output, array in outputs.items()}
        for array in kept.values():
            array.flags.writeable = False
        with self._lock:
            if name in self._kept:
                return
            self._kept[name] = kept
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, old = self._kept.popitem(last=False)
                self._bytes -= _size(old)


def _size(outputs: Mapping[str, Array]) -> int:
    held = _OVERHEAD
    for array in outputs.values():
        held += array.nbytes
        if array.dtype == object:
            held += sum(len(item) for item in array.ravel())
    return held
