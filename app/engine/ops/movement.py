"""Strided copies: the launch that concatenation, padding, slicing and transposing share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Arg, Const, Launch, Tensor
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, require

i32 = np.int32
RANK = 5
# Elements that one work-item moves on a CPU.
CHUNK = 4096
# OpenCL's name of each element type; bool is a byte, float16 moves as bits.
TYPES = {"float32": "float", "float16": "ushort", "int8": "char", "uint8": "uchar",
         "int16": "short", "uint16": "ushort", "int32": "int", "uint32": "uint",
         "int64": "long", "uint64": "ulong", "bool": "uchar", "float64": "ulong",
         "complex64": "float2"}


def dense(shape: Shape) -> list[int]:
    """Element strides of a row-major tensor."""
    result, step = [], 1
    for extent in reversed(shape):
        result.append(step)
        step *= extent
    return result[::-1]


def copy_launch(x: Tensor, y: Tensor, extents: Sequence[int], read: Sequence[int],
                write: Sequence[int], profile: DeviceProfile, start: tuple[int, int] = (0, 0),
                ) -> Launch:
    """Copy a box of extents from x to y, each with its own strides and first element.

    Units: strides and start in elements; strides may be zero or negative in x.
    Raises: UnsupportedOp if more than 5 dimensions remain after merging.
    """
    source = x if x.data is None else Const(x, "flat", np.ravel)
    return strided_copy(source, y, x.dtype, extents, read, write, profile, start)


def strided_copy(source: Arg, y: Arg, dtype: str, extents: Sequence[int], read: Sequence[int],
                 write: Sequence[int], profile: DeviceProfile, start: tuple[int, int] = (0, 0),
                 ) -> Launch:
    """copy_launch between any two pieces of device memory, scratch included."""
    require(dtype in TYPES, f"elements of type {dtype} have no kernel")
    dims, reads, writes = merged(extents, read, write)
    require(len(dims) <= RANK, f"a strided copy of {len(dims)} dimensions; the kernel knows {RANK}")
    pad = RANK - len(dims)
    dims, reads, writes = [1] * pad + dims, [0] * pad + reads, [0] * pad + writes
    unit = int(reads[-1] == 1 and writes[-1] == 1)
    per = chunk(dims[4], profile)
    if profile.is_cpu:
        # Of short rows a work-item takes many: to start one costs as much as to copy 100 bytes.
        per *= max(1, min(dims[3], CHUNK // per))
    args = (source, y, *map(i32, dims), i32(start[0]), *map(i32, reads), i32(start[1]),
            *map(i32, writes), i32(per))
    return Launch("copy", "copy", args,
                  (chunks(dims[3], dims[4], per), dims[2], dims[0] * dims[1]),
                  (profile.group, 1, 1), {"T": TYPES[dtype], "UNIT": unit, "VALUE": 0})


def chunks(rows: int, extent: int, per: int) -> int:
    """How many pieces of `per` elements rows make; a piece has parts of one row, or whole rows."""
    return -(-rows // max(per // max(extent, 1), 1)) * -(-extent // per)


def chunk(extent: int, profile: DeviceProfile) -> int:
    """Elements of a row for one work-item: neighbouring lanes of a GPU take neighbours."""
    return max(1, min(extent, CHUNK)) if profile.is_cpu else 1


def fill_launch(y: Tensor, value: str, profile: DeviceProfile) -> Launch:
    """Set every element of y to an OpenCL expression."""
    per = max(1, min(y.size, CHUNK)) if profile.is_cpu else 4
    return Launch("copy", "fill", (y, i32(y.size), i32(per)), (-(-y.size // per),),
                  (profile.group,), {"T": TYPES[y.dtype], "UNIT": 1, "VALUE": value})


def merged(extents: Sequence[int], read: Sequence[int],
           write: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Extents and strides without dimensions of 1, neighbours that step evenly made one."""
    dims: list[int] = []
    reads: list[int] = []
    writes: list[int] = []
    for extent, r, w in zip(extents, read, write, strict=True):
        if extent == 1:
            continue
        if dims and reads[-1] == r * extent and writes[-1] == w * extent:
            dims[-1] *= extent
            reads[-1], writes[-1] = r, w
        else:
            dims.append(extent)
            reads.append(r)
            writes.append(w)
    return (dims or [1]), (reads or [1]), (writes or [1])
