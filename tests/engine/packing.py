"""Constants of types that numpy does not have, as a .tflite file holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Packed:
    """What a buffer holds, and what its tensor says of it."""

    shape: tuple[int, ...]
    dtype: str
    content: Bytes


def pack(data: NDArray[Any], dtype: str) -> Packed | None:
    """Pack an array of bytes (strings), int8 as "int4", or uint8 as "int2", four numbers each;
    None if it needs no packing."""
    if data.dtype.kind == "S":
        return Packed(data.shape, "bytes", strings(data.reshape(-1).tolist()))
    if dtype == "int2":
        return Packed((*data.shape[:-1], 4 * data.shape[-1]), dtype, data.reshape(-1))
    if dtype == "int4":
        flat = np.append(data.reshape(-1), np.zeros(data.size % 2, "i1")).astype("i1") & 15
        return Packed(data.shape, dtype, (flat[::2] | flat[1::2] << 4).view("u1"))
    return None


def strings(items: Sequence[bytes]) -> Bytes:
    """A buffer of strings: their number, where each begins and the last ends, their bytes."""
    ends = 4 * (len(items) + 2) + np.cumsum([0, *map(len, items)])
    numbers = np.array([len(items), *ends], "<i4")
    return np.frombuffer(numbers.tobytes() + b"".join(items), np.uint8)
