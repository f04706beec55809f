"""Constants whose numbers have fewer than eight bits: several lie in one byte, the first below."""

from __future__ import annotations

import math

import numpy as np

from app.engine.ir import Data

BITS = {"int4": 4, "int2": 2}
# What holds such numbers once they are unpacked: numpy does not have their types.
STORED = dict.fromkeys(BITS, "int8")


def unpacked(raw: Data, shape: tuple[int, ...], dtype: str) -> Data:
    """The numbers of a constant as int8, each in a byte of its own.

    Raises: ValueError if there are more or fewer of them.
    Source: tflite schema, TensorType; the numbers are two's complements.
    """
    bits, count = BITS[dtype], math.prod(shape)
    if -(-count * bits // 8) != raw.size:
        raise ValueError(f"{raw.size} bytes cannot hold {count} numbers of {bits} bits")
    words = raw.view(np.int8)
    parts = [(words << (8 - bits - shift)).astype(np.int8) >> (8 - bits)
             for shift in range(0, 8, bits)]
    numbers: Data = np.stack(parts, -1).reshape(-1)
    return numbers[:count].reshape(shape)


def packed(numbers: Data, dtype: str) -> Data:
    """The bytes of a constant, as a file has them: what unpacked undoes."""
    bits = BITS[dtype]
    each = 8 // bits
    flat = np.append(numbers, np.zeros(-numbers.size % each, np.int8)).reshape(-1, each)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    shares = (flat.view(np.uint8) & np.uint8((1 << bits) - 1)) << shifts
    made: Data = np.bitwise_or.reduce(shares, -1)
    return made
