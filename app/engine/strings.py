"""String tensors as a .tflite file stores them, and as arrays of bytes objects."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from app.engine.ir import Data

Shape = tuple[int, ...]


def decoded(raw: Data, shape: Shape) -> Data:
    """The strings of a constant: their number, where each begins and the last ends, their bytes.

    Shapes: raw [bytes] uint8 -> shape, bytes objects.
    Source: TFLite string_util.h.
    Raises: ValueError if the buffer does not hold as many strings as the shape asks for.
    """
    content = raw.tobytes()
    count = int.from_bytes(content[:4], "little")
    if count != math.prod(shape) or len(content) < 4 * (count + 2):
        raise ValueError(f"{len(content)} bytes cannot hold {math.prod(shape)} strings")
    ends = np.frombuffer(content, "<i4", count + 1, 4)
    made: Data = np.empty(count, "O")
    made[:] = [content[a:b] for a, b in pairwise(ends)]
    return made.reshape(shape)


def encoded(strings: Data) -> Data:
    """The buffer that decoded() reads.

    Shapes: any, bytes objects -> [bytes] uint8.
    """
    items = strings.reshape(-1).tolist()
    starts = np.cumsum([4 * (len(items) + 2), *map(len, items)]).astype("<i4")
    head = np.int32(len(items)).astype("<i4").tobytes() + starts.tobytes()
    return np.frombuffer(head + b"".join(items), np.uint8)
