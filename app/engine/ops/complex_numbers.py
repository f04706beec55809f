"""What is read off complex numbers, and what makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.engine.ir import Data, Launch, Node
from app.engine.ops.cast import TYPES
from app.engine.ops.typed import map_launch
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

PARTS = {"REAL": "p.x", "IMAG": "p.y", "COMPLEX_ABS": "length(p)", "ANGLE": "atan2(p.y, p.x)",
         "CONJ": "(float2)(p.x, -p.y)"}
SINGLE: dict[str, Callable[[Data], Data]] = {
    "ANGLE": np.angle, "CONJ": np.conj, "REAL": np.real, "IMAG": np.imag}
PAIRS = {**TYPES, "complex64": "float2"}


@shape(*PARTS)
def part_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op(*PARTS)
def part(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = the real part, the imaginary part, the length, the angle or the conjugate of each
    number.

    Raises: UnsupportedOp unless x is complex64.
    """
    x = node.input(0)
    require(x.dtype == "complex64", f"{node.op} of {x.dtype} has no kernel")
    return map_launch(node, (x,), PARTS[node.op], profile, types=PAIRS)


@shape("COMPLEX")
def pair_shape(node: Node) -> Sequence[Shape]:
    """The shape that both parts stretch to.

    Raises: ValueError if they do not fit.
    """
    return [np.broadcast_shapes(node.input(0).shape, node.input(1).shape)]


@op("COMPLEX")
def pair(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = a + i b.

    Raises: UnsupportedOp unless a and b are float32.
    """
    a, b = node.input(0), node.input(1)
    require((a.dtype, b.dtype) == ("float32", "float32"),
            f"COMPLEX of {a.dtype} and {b.dtype} has no kernel")
    return map_launch(node, (a, b), "(float2)(p, q)", profile, types=PAIRS)


@host("COMPLEX", "ANGLE", "CONJ", "REAL", "IMAG")
def on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy, where TFLite has no such operation."""
    x = arrays[0]
    assert x is not None
    if node.op in SINGLE:
        return [SINGLE[node.op](x)]
    assert arrays[1] is not None
    made: Data = np.empty(np.broadcast_shapes(x.shape, arrays[1].shape), node.outputs[0].dtype)
    made.real, made.imag = x, arrays[1]
    return [made]
