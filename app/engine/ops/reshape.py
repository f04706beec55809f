"""Ops that only rename a shape, and concatenation and padding by strided copies."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from app.engine.epilogue import literal
from app.engine.ir import Data, Launch, Node
from app.engine.ops.movement import TYPES, copy_launch, dense, fill_launch
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape, view

FREE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


@view(*FREE)
def same_memory(node: Node) -> int:
    """Nothing moves."""
    return 0


@view("BITCAST")
def same_bytes(node: Node) -> int:
    """Nothing moves, whatever the bytes are taken for.

    Raises: UnsupportedOp if there are not as many.
    """
    x, y = node.input(0), node.outputs[0]
    require(x.nbytes == y.nbytes, f"BITCAST of {x.nbytes} bytes as {y.nbytes} has no kernel")
    return 0


@op("BITCAST", *FREE)
def moved(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """The copy that is needed where a view cannot be, as for a constant."""
    x, y = node.input(0), node.outputs[0]
    require(x.nbytes == y.nbytes, f"{node.op} of {x.nbytes} bytes as {y.nbytes} has no kernel")
    return [copy_launch(x, y, (x.size,), (1,), (1,), profile)] if x.size else []


@host(*FREE)
def reshaped(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Fold a reshape of a constant."""
    assert arrays[0] is not None
    if node.op == "RESHAPE":
        return [arrays[0].reshape(reshape_shape(node)[0])]
    return [arrays[0].reshape(SHAPES_OF[node.op](node)[0])]


@shape("RESHAPE")
def reshape_shape(node: Node) -> Sequence[Shape]:
    """The wanted shape with its -1 filled in.

    Raises: ValueError if the sizes differ.
    """
    wanted = node.optional(1)
    if wanted is not None and wanted.data is not None:
        target = [int(e) for e in wanted.data.reshape(-1)]
    else:
        target = [int(e) for e in node.options.get("new_shape", node.outputs[0].shape)]
    size = node.input(0).size
    known = int(np.prod([e for e in target if e != -1], dtype=np.int64))
    if target.count(-1) == 1 and known:
        target[target.index(-1)] = size // known
    if int(np.prod(target, dtype=np.int64)) != size:
        return [_stretched(node, target, size)]
    return [tuple(target)]


def _stretched(node: Node, target: list[int], size: int) -> Shape:
    # Converters fix the batch in a reshape; another batch then belongs into its first dimension.
    rest = int(np.prod(target[1:], dtype=np.int64)) if target else 0
    # Nothing at all is a batch of none, or no batch.
    batch = size > 0 or not node.input(0).shape[:1] or node.input(0).shape[0] == 0
    if batch and rest and size % rest == 0 and size // rest % max(target[0], 1) == 0:
        return (size // rest, *target[1:])
    raise ValueError(f"{node.input(0).shape} does not reshape to {tuple(target)}")


@shape("SQUEEZE")
def squeeze_shape(node: Node) -> Sequence[Shape]:
    """The chosen dimensions of 1, or all of them, vanish."""
    x = node.input(0).shape
    chosen = [int(d) % len(x) for d in node.options.get("squeeze_dims", ())]
    gone = chosen or [i for i, e in enumerate(x) if e == 1]
    if any(x[i] != 1 for i in gone):
        raise ValueError(f"dimensions {chosen} of {x} are not all 1")
    return [tuple(e for i, e in enumerate(x) if i not in gone)]


@shape("EXPAND_DIMS")
def expand_shape(node: Node) -> Sequence[Shape]:
    """A dimension of 1 appears at the axis."""
    x, axis = list(node.input(0).shape), node.input(1).data
    require(axis is not None, "EXPAND_DIMS at a computed axis has no shape")
    assert axis is not None
    position = int(axis.reshape(-1)[0])
    x.insert(position if position >= 0 else position + len(x) + 1, 1)
    return [tuple(x)]


SHAPES_OF = {"SQUEEZE": squeeze_shape, "EXPAND_DIMS": expand_shape}


@shape("CONCATENATION")
def concat_shape(node: Node) -> Sequence[Shape]:
    """Extents add up along the axis.

    Raises: ValueError if the others differ.
    """
    shapes = [t.shape for t in node.inputs if t is not None]
    axis = int(node.options["axis"]) % len(shapes[0])
    rest = {s[:axis] + s[axis + 1:] for s in shapes}
    if len(rest) != 1:
        raise ValueError(f"{shapes} do not concatenate along axis {axis}")
    total = sum(s[axis] for s in shapes)
    return [(*shapes[0][:axis], total, *shapes[0][axis + 1:])]


@op("CONCATENATION")
def concatenation(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan one strided copy per input into its place.

    Raises: UnsupportedOp if the inputs are quantised differently from the output.
    """
    y = node.outputs[0]
    axis = int(node.options["axis"]) % len(y.shape)
    inner = int(np.prod(y.shape[axis + 1:], dtype=np.int64))
    launches, start = [], 0
    for index in range(len(node.inputs)):
        x = node.input(index)
        require(x.quant == y.quant or x.dtype == "float32" or _same_scale(x, y),
                "CONCATENATION of differently quantised tensors has no kernel")
        run = x.shape[axis] * inner
        if x.size and index not in node.options.get("in_place", ()):
            launches.append(copy_launch(x, y, (x.size // run, run), (run, 1),
                                        (y.shape[axis] * inner, 1), profile, (0, start)))
        start += run
    return launches


def _same_scale(x: object, y: object) -> bool:
    a, b = getattr(x, "quant", None), getattr(y, "quant", None)
    return (a is None or b is None
            or (a.scales == b.scales and a.zero_points == b.zero_points))


def paddings(node: Node) -> list[tuple[int, int]]:
    """The constant paddings, before and after, one pair a dimension.

    Raises: UnsupportedOp if they are computed by the model.
    """
    data = node.input(1).data
    require(data is not None, f"{node.op} with computed paddings has no kernel")
    assert data is not None
    return [(int(b), int(a)) for b, a in data.reshape(-1, 2)]


@shape("PAD", "PADV2")
def pad_shape(node: Node) -> Sequence[Shape]:
    """Each extent grows by its paddings."""
    return [tuple(e + b + a for e, (b, a) in
                  zip(node.input(0).shape, paddings(node), strict=True))]


@op("PAD", "PADV2")
def pad(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a fill and a copy into the middle.

    Raises: UnsupportedOp if paddings or the value are computed, or a padding is negative.
    """
    x, y, amounts = node.input(0), node.outputs[0], paddings(node)
    require(all(b >= 0 and a >= 0 for b, a in amounts), f"{node.op} by less than 0 has no kernel")
    require(y.dtype in TYPES, f"{node.op} on {y.dtype} has no kernel")
    steps = dense(y.shape)
    start = sum(b * s for (b, _), s in zip(amounts, steps, strict=True))
    launches = [fill_launch(y, _pad_value(node), profile)] if y.size else []
    if x.size:
        launches.append(copy_launch(x, y, x.shape, dense(x.shape), steps, profile, (0, start)))
    return launches


@host("PAD")
def pad_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy, for numbers that TFLite does not pad.

    Raises: ValueError if a padding is negative.
    """
    x = arrays[0]
    assert x is not None
    return [np.pad(x, paddings(node), constant_values=int(_pad_value(node)))]


def _pad_value(node: Node) -> str:
    given, y = node.optional(2), node.outputs[0]
    if given is not None:
        require(given.data is not None, "PADV2 with a computed value has no kernel")
        assert given.data is not None
        value = given.data.reshape(-1)[0]
        if y.dtype == "float32":
            return literal(float(value))
        if y.dtype == "complex64":
            return f"(float2)({literal(float(value.real))}, {literal(float(value.imag))})"
        # Other numbers with fractions are moved as their bits.
        return str(int(value) if value.dtype.kind in "iub"
                   else int.from_bytes(value.tobytes(), sys.byteorder))
    zero = y.quant.zero_points[0] if y.quant and y.dtype in {"int8", "uint8", "int16"} else 0
    return str(zero)
