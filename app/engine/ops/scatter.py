"""Writes where the data say: SCATTER_ND, SCATTER (StableHLO's), segments,
DYNAMIC_UPDATE_SLICE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.engine.ir import Data, Launch, Node, Scratch, Tensor
from app.engine.ops.gather import INDEX, MAX_DEPTH, flat
from app.engine.ops.movement import TYPES, chunk
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

i32 = np.int32
# Comparisons of places with indices above which the CPU, which needs none, is quicker.
MOST = 1 << 28
# How two numbers become one, for kernels and for numpy.
FOLDS: dict[str, tuple[str, Any]] = {
    "SUM": ("(a) + (b)", np.add), "DIFFERENCE": ("(a) - (b)", np.subtract),
    "PRODUCT": ("(a) * (b)", np.multiply),
    "MAX": ("((a) < (b) ? (b) : (a))", np.maximum), "MIN": ("((b) < (a) ? (b) : (a))", np.minimum),
    "ALL": ("((a) && (b))", np.logical_and), "ANY": ("((a) || (b))", np.logical_or),
}
WITHOUT_SUM = {"bool", "float16", "float64", "complex64"}


def _extents(node: Node) -> Shape:
    data = node.input(2).data
    require(data is not None, "SCATTER_ND into a computed shape has no kernel")
    assert data is not None
    return tuple(int(e) for e in data.reshape(-1))


@shape("SCATTER_ND")
def scatter_shape(node: Node) -> Sequence[Shape]:
    """The constant shape.

    Raises: ValueError if the updates do not fit indices and shape.
    """
    index, x, out = node.input(0).shape, node.input(1).shape, _extents(node)
    depth = index[-1] if index else 0
    if depth > len(out) or x != (*index[:-1], *out[depth:]):
        raise ValueError(f"updates of {x} at indices of {index} do not fit {out}")
    return [out]


@op("SCATTER_ND")
def scatter_nd(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = sums of the updates; every result looks for its own, so that no two are added at
    once and the order is TFLite's.

    Shapes: indices [...,D], updates [...,N] -> y [X0..XD-1,N].
    Raises: UnsupportedOp for types that no kernel knows, more than 5 indices, or so many updates
            into so much that the CPU is quicker.
    Source: TFLite reference_ops::ScatterNd.
    """
    index, x = node.input(0), node.input(1)
    require(x.dtype in TYPES and x.dtype not in WITHOUT_SUM,
            f"SCATTER_ND of {x.dtype} has no kernel")
    require(index.dtype in INDEX, f"SCATTER_ND by {index.dtype} has no kernel")
    return _launches(node, index, index.shape[-1], x, "0", "SUM", profile)


@shape("SCATTER")
def combined_shape(node: Node) -> Sequence[Shape]:
    """Output as input.

    Raises: ValueError if the updates do not fit indices and input.
    """
    x, index, updates = (node.input(i).shape for i in range(3))
    if updates != (*index[:-1], *x[index[-1]:]):
        raise ValueError(f"updates of {updates} at indices of {index} do not fit {x}")
    return [x]


@op("SCATTER")
def scatter(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = x with updates combined into it, one after the other: see passes.bodies.

    Shapes: x [X0..XD-1,N], indices [...,D], updates [...,N] -> y as x. Updates outside are dropped.
    Raises: UnsupportedOp for types that no kernel knows, or as SCATTER_ND.
    Source: the StableHLO specification, scatter.
    """
    x, index, updates = (node.input(i) for i in range(3))
    kind = str(node.options["kind"])
    require(x.dtype in TYPES and (x.dtype not in WITHOUT_SUM or kind == "LAST"
                                  or (x.dtype == "bool" and kind in ("ALL", "ANY"))),
            f"SCATTER of {x.dtype} has no kernel")
    require(index.dtype in INDEX, f"SCATTER by {index.dtype} has no kernel")
    return _launches(node, index, index.shape[-1], updates, x, kind, profile)


@host("SCATTER")
def scatter_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy."""
    x, index, updates = arrays
    assert x is not None
    assert index is not None
    assert updates is not None
    depth, kind, y = index.shape[-1], str(node.options["kind"]), x.copy()
    places = index.reshape(-1, depth)
    slices = updates.reshape(len(places), *x.shape[depth:])
    inside = ((places >= 0) & (places < np.array(x.shape[:depth]))).all(-1)
    for place, part in zip(map(tuple, places[inside]), slices[inside], strict=True):
        y[place] = part if kind == "LAST" else FOLDS[kind][1](y[place], part)
    return [y]


# What each operation on segments does, and what an empty segment has, by the type's extremes.
SEGMENTS = {"SEGMENT_SUM": ("SUM", "0"), "UNSORTED_SEGMENT_SUM": ("SUM", "0"),
            "UNSORTED_SEGMENT_PROD": ("PRODUCT", "1"), "UNSORTED_SEGMENT_MAX": ("MAX", "LEAST"),
            "UNSORTED_SEGMENT_MIN": ("MIN", "MOST")}
EXTREMES = {"float32": ("-FLT_MAX", "FLT_MAX"), "int32": ("INT_MIN", "INT_MAX")}


@shape(*SEGMENTS)
def segments_shape(node: Node) -> Sequence[Shape]:
    """A row for each segment, if their number is known.

    Raises: UnsupportedOp if the model computes it; ValueError if there are not as many numbers of
            segments as rows.
    """
    x, index = node.input(0).shape, node.input(1)
    known = (index if node.op == "SEGMENT_SUM" else node.input(2)).data
    require(known is not None, f"{node.op} of a computed number of segments has no kernel")
    assert known is not None
    if x[:len(index.shape)] != index.shape:
        raise ValueError(f"rows of {x} are not in segments of {index.shape}")
    count = int(known.max(initial=-1)) + 1 if node.op == "SEGMENT_SUM" else int(known.ravel()[0])
    return [(count, *x[len(index.shape):])]


@op(*SEGMENTS)
def segments(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = what the rows of each segment come to; rows of a negative segment are left out.

    Shapes: x [I..,N], segments [I..] -> y [count,N].
    Raises: UnsupportedOp unless x is float32 or int32, or as SCATTER_ND.
    Source: TFLite kernels/unsorted_segment.cc, reference_ops::SegmentSum.
    """
    x, index = node.input(0), node.input(1)
    require(x.dtype in EXTREMES, f"{node.op} of {x.dtype} has no kernel")
    require(index.dtype in INDEX, f"{node.op} by {index.dtype} has no kernel")
    kind, start = SEGMENTS[node.op]
    least, most = EXTREMES[x.dtype]
    start = {"LEAST": least, "MOST": most}.get(start, start)
    return _launches(node, index, 1, x, start, kind, profile)


def _launches(node: Node, index: Tensor, depth: int, x: Tensor, base: Tensor | str, kind: str,
              profile: DeviceProfile) -> Sequence[Launch]:
    """Every place of the output begins as base has it, and takes in the updates x that go there."""
    y = node.outputs[0]
    require(0 < depth <= MAX_DEPTH, f"{node.op} by {depth} indices has no kernel")
    if not y.size:
        return []
    extents = y.shape[:depth]
    count, places = index.size // depth, int(np.prod(extents, dtype=np.int64))
    inner = y.size // places
    require(count * places <= MOST, f"{node.op} of {count} slices into {places} is for the CPU")
    place = Scratch(4 * max(count, 1))
    per = chunk(inner, profile)
    missing = [1] * (MAX_DEPTH - depth)
    defines: dict[str, str | int] = {
        "T": TYPES[x.dtype], "TI": INDEX[index.dtype],
        "START(at)": base if isinstance(base, str) else "base[at]",
        "STEP(a, b)": "b" if kind == "LAST" else FOLDS[kind][0]}
    first = Launch("gather", "scatter_places",
                   (flat(index), place, *map(i32, (count, depth, *missing, *extents))), (count,),
                   (profile.group,), defines)
    return [*([first] if count else []),
            Launch("gather", "scatter",
                   (place, flat(x), flat(x if isinstance(base, str) else base), y,
                    *map(i32, (count, inner, places, per))),
                   (-(-inner // per), places), (profile.group, 1), defines, y.size)]


@shape("DYNAMIC_UPDATE_SLICE")
def update_shape(node: Node) -> Sequence[Shape]:
    """Output as input.

    Raises: ValueError if the update is larger than that.
    """
    x, u = node.input(0).shape, node.input(1).shape
    if len(x) != len(u) or any(e > o for e, o in zip(u, x, strict=True)):
        raise ValueError(f"an update of {u} does not fit into {x}")
    return [x]


@op("DYNAMIC_UPDATE_SLICE")
def update_slice(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = x with a box of it replaced; the box is moved inside where it would stand out.

    Shapes: x [X0..], update [U0..], start [rank] -> y [X0..].
    Raises: UnsupportedOp for types that no kernel knows, or more than 5 dimensions.
    Source: TFLite kernels/dynamic_update_slice.cc.
    """
    x, u, start, y = node.input(0), node.input(1), node.input(2), node.outputs[0]
    require(x.dtype in TYPES, f"{node.op} of {x.dtype} has no kernel")
    require(start.dtype in INDEX, f"{node.op} at {start.dtype} has no kernel")
    rank = len(x.shape)
    require(0 < rank <= MAX_DEPTH, f"{node.op} of {rank} dimensions has no kernel")
    missing = (1,) * (MAX_DEPTH - rank)
    extents, box = (*missing, *x.shape), (*missing, *u.shape)
    per = chunk(extents[4], profile)
    return [Launch("gather", "update",
                   (flat(x), flat(u), flat(start), y, *map(i32, (rank, *extents, *box, per))),
                   (extents[3] * -(-extents[4] // per), extents[2], extents[0] * extents[1]),
                   (profile.group, 1, 1),
                   {"T": TYPES[x.dtype], "TI": INDEX[start.dtype]}, y.size)]
