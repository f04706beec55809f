"""Changes of element type, and the steps between integers and the floats that hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Launch, Local, Node, Scratch, Tensor
from app.engine.ops.tiles import lanes
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

i32 = np.int32
# What one work-group of a card rounds alone, and the most groups that look for a row's ends.
LONG_ROW, MOST_PARTS = 2048, 64
TYPES = {"float32": "float", "int8": "char", "uint8": "uchar", "int16": "short",
         "uint16": "ushort", "int32": "int", "uint32": "uint", "int64": "long",
         "uint64": "ulong", "bool": "uchar"}
# Floats in registers.
HALF = "float16"
LOADS = ("LOAD_QUANTIZED", "STORE_QUANTIZED")


@op("CAST")
def cast(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a conversion as C converts: floats are cut off, integers wrap.

    Raises: UnsupportedOp for types that no kernel knows.
    Source: TFLite kernels/cast.cc.
    """
    x, y = node.input(0), node.outputs[0]
    for tensor in (x, y):
        require(tensor.dtype in TYPES or tensor.dtype == HALF,
                f"CAST of {tensor.dtype} has no kernel")
    convert = "((v) != 0)" if y.dtype == "bool" else f"(({TYPES.get(y.dtype, 'float')})(v))"
    return _cast(x, y, 0, TYPES.get(x.dtype, "float"), convert, profile)


@host("CAST")
def cast_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Fold a conversion of a constant."""
    assert arrays[0] is not None
    with np.errstate(all="ignore"):
        return [arrays[0].astype(node.outputs[0].dtype)]


@shape(*LOADS, "QUANTIZE_ROWS")
def same(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op(*LOADS)
def load_or_store(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the step from integers to floats that hold q - zero_point, or back."""
    x, y = node.input(0), node.outputs[0]
    convert = "(v)" if y.dtype == "float32" else f"(({TYPES[y.dtype]})(int)(v))"
    return _cast(x, y, int(node.options["offset"]), "float", convert, profile)


def _cast(x: Tensor, y: Tensor, offset: int, between: str, convert: str,
          profile: DeviceProfile) -> Sequence[Launch]:
    if not y.size:
        return []
    per = max(1, min(y.size, 8192)) if profile.is_cpu else 4
    return [Launch("cast", "cast", (x, y, i32(y.size), i32(offset)), (-(-y.size // per),),
                   (profile.group,),
                   {"TX": TYPES.get(x.dtype, "half"), "TY": TYPES.get(y.dtype, "half"),
                    "TC": between, "PER": per, "CONVERT(v)": convert,
                    **({"X16": 1} if x.dtype == HALF else {}),
                    **({"Y16": 1} if y.dtype == HALF else {})})]


@op("QUANTIZE_ROWS")
def quantize_rows(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the rounding of a float tensor to 8 bits, row by row (0: image by image).

    Raises: UnsupportedOp unless x is float32.
    Source: TFLite tensor_utils::AsymmetricQuantizeFloats, SymmetricQuantizeFloats.
    """
    x, y = node.input(0), node.outputs[0]
    require(x.dtype == "float32", f"QUANTIZE_ROWS of {x.dtype} has no kernel")
    if not y.size:
        return []
    row = int(node.options["row"]) or x.size // x.shape[0]
    rows, symmetric = x.size // row, int(bool(node.options["symmetric"]))
    if profile.is_cpu:
        return [Launch("rows", "rows_cpu", (x, y, i32(rows), i32(row)), (rows, 1, 1), (1, 1, 1),
                       {"VW": lanes(profile, row), "SYMMETRIC": symmetric})]
    defines, numbers = {"VW": 1, "SYMMETRIC": symmetric}, (i32(rows), i32(row))
    if row <= LONG_ROW:
        return [Launch("rows", "rows", (x, y, *numbers, Local(4 * 64), Local(4 * 64)),
                       (rows * 64,), (64,), defines)]
    # One group for a whole picture would leave the rest of the card idle.
    parts = min(MOST_PARTS, -(-row // LONG_ROW))
    ends = Scratch(8 * rows * parts)
    items = -(-row // (4 * 64)) * 64
    return [Launch("rows", "row_ends", (x, ends, *numbers, i32(parts), Local(4 * 256),
                                        Local(4 * 256)), (256 * parts, rows), (256, 1), defines),
            Launch("rows", "rows_of_ends", (x, ends, y, *numbers, i32(parts)), (items, rows),
                   (64, 1), defines)]
