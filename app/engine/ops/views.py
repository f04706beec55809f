"""Ops whose results are strided views of their inputs: slices, transposes, tiles, blocks.

Each is written once, as numpy on an array. On real arrays that folds constants and runs on the
host; on a picture, an array with the tensor's strides and no memory, it gives the shape and the
strides of the copy that the device makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from app.engine.ir import Data, Launch, Node, Tensor
from app.engine.ops.movement import RANK, copy_launch, dense, merged
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape, view

MAX_COPIES = 32
Viewer = Callable[[Node, Data], Sequence[Data]]


def picture(extents: Shape) -> Data:
    """An array of a shape with dense strides, one byte an element, that must never be read."""
    return as_strided(np.zeros(1, np.uint8), extents, dense(extents), writeable=False)


def constant(node: Node, position: int) -> list[int]:
    """An input that must be a constant, as a flat list.

    Raises: UnsupportedOp if the model computes it.
    """
    data = node.input(position).data
    require(data is not None, f"{node.op} with a computed input {position} has no kernel")
    assert data is not None
    return [int(v) for v in data.reshape(-1)]


def copy_view(x: Tensor, read: Data, y: Tensor, write: Data, base: tuple[Data, Data],
              profile: DeviceProfile) -> list[Launch]:
    """Copy what one picture shows of x to where another shows it in y.

    Raises: UnsupportedOp if that takes more than 32 launches, for want of dimensions in one.
    """
    if not read.size:
        return []
    if len(merged(read.shape, read.strides, write.strides)[0]) > RANK:
        axis = min((a for a, e in enumerate(read.shape) if e > 1), key=lambda a: read.shape[a])
        before: tuple[Any, ...] = (slice(None),) * axis
        launches = [launch for i in range(read.shape[axis])
                    for launch in copy_view(x, read[(*before, i)], y, write[(*before, i)], base,
                                            profile)]
        require(len(launches) <= MAX_COPIES, f"a strided copy of {read.ndim} dimensions is not "
                                             f"possible in {MAX_COPIES} launches")
        return launches
    start = tuple(_address(part) - _address(whole)
                  for part, whole in zip((read, write), base, strict=True))
    return [copy_launch(x, y, read.shape, read.strides, write.strides, profile,
                        (start[0], start[1]))]


def _address(array: Data) -> int:
    return int(array.__array_interface__["data"][0])


def transpose(node: Node, x: Data) -> Sequence[Data]:
    """Dimensions in the order of the permutation."""
    return [x.transpose(constant(node, 1))]


def slice_(node: Node, x: Data) -> Sequence[Data]:
    """A box: begin and size, where -1 is the rest."""
    begin, size = constant(node, 1), constant(node, 2)
    for b, s, e in zip(begin, size, x.shape, strict=True):
        if b < 0 or b > e or (s >= 0 and b + s > e):
            raise ValueError(f"a slice from {begin} of {size} leaves {x.shape}")
    return [x[tuple(slice(b, None if s < 0 else b + s)
                    for b, s in zip(begin, size, strict=True))]]


def strided_slice(node: Node, x: Data) -> Sequence[Data]:
    """numpy's slicing, from numbers and bit masks."""
    begin, end, step = (constant(node, i) for i in (1, 2, 3))
    masks = {k: int(node.options.get(f"{k}_mask", 0))
             for k in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    index: list[slice | int | None] = []
    for i, (b, e, s) in enumerate(zip(begin, end, step, strict=True)):
        bit = 1 << i
        if masks["ellipsis"] & bit:
            taken = sum(1 for j in range(len(begin))
                        if j != i and not masks["new_axis"] & (1 << j))
            index += [slice(None)] * (x.ndim - taken)
        elif masks["new_axis"] & bit:
            index.append(None)
        elif masks["shrink_axis"] & bit:
            axis = sum(1 for part in index if part is not None)
            index.append(0 if masks["begin"] & bit else b % x.shape[axis])
        else:
            last = b + e if node.options.get("offset") else e
            index.append(slice(None if masks["begin"] & bit else b,
                               None if masks["end"] & bit else last, s))
    # The ellipsis makes a view even of one element, where numpy would make a scalar.
    return [x[(*index, ...)]]


def split(node: Node, x: Data) -> Sequence[Data]:
    """Equal parts along an axis."""
    count = len(node.outputs)
    axis = constant(node, 0)[0] % x.ndim
    if x.shape[axis] % count:
        raise ValueError(f"{x.shape} does not split into {count} along axis {axis}")
    part = x.shape[axis] // count
    return _cut(x, axis, [part] * count)


def split_v(node: Node, x: Data) -> Sequence[Data]:
    """Parts of given sizes along an axis; -1 is the rest."""
    sizes, axis = constant(node, 1), constant(node, 2)[0] % x.ndim
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(s for s in sizes if s >= 0)
    if sum(sizes) != x.shape[axis]:
        raise ValueError(f"{x.shape} does not split into {sizes} along axis {axis}")
    return _cut(x, axis, sizes)


def _cut(x: Data, axis: int, sizes: Sequence[int]) -> list[Data]:
    before = (slice(None),) * axis
    ends = np.cumsum(sizes)
    return [x[(*before, slice(int(e) - s, int(e)))] for e, s in zip(ends, sizes, strict=True)]


def unpack(node: Node, x: Data) -> Sequence[Data]:
    """One part per index of an axis, without that axis."""
    axis = int(node.options.get("axis", 0)) % x.ndim
    before: tuple[Any, ...] = (slice(None),) * axis
    return [x[(*before, i, ...)] for i in range(x.shape[axis])]


def reverse(node: Node, x: Data) -> Sequence[Data]:
    """Axes backwards."""
    return [np.flip(x, tuple(a % x.ndim for a in constant(node, 1)))]


def broadcast_to(node: Node, x: Data) -> Sequence[Data]:
    """Stretched to a shape."""
    return [np.broadcast_to(x, constant(node, 1))]


# Input that is viewed, and the view.
PLAIN: dict[str, tuple[int, Viewer]] = {
    "TRANSPOSE": (0, transpose), "SLICE": (0, slice_), "STRIDED_SLICE": (0, strided_slice),
    "SPLIT": (1, split), "SPLIT_V": (0, split_v), "UNPACK": (0, unpack),
    "REVERSE_V2": (0, reverse), "BROADCAST_TO": (0, broadcast_to),
}


def tile(node: Node, x: Data) -> Sequence[Data]:
    """[m0, e0, m1, e1, ...]: dense, that is the tiled tensor."""
    counts = constant(node, 1)
    pairs = [e for m, s in zip(counts, x.shape, strict=True) for e in (m, s)]
    spread = x[tuple(i for _ in x.shape for i in (None, slice(None)))]
    return [np.broadcast_to(spread, pairs)]


def space_to_depth(node: Node, x: Data) -> Sequence[Data]:
    """[N, H/b, W/b, b, b, C]."""
    b, (n, h, w, c) = int(node.options["block_size"]), x.shape
    if h % b or w % b:
        raise ValueError(f"{x.shape} has no blocks of {b}")
    return [x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5)]


def depth_to_space(node: Node, x: Data) -> Sequence[Data]:
    """[N, H, b, W, b, C/(b*b)]."""
    b, (n, h, w, c) = int(node.options["block_size"]), x.shape
    if c % (b * b):
        raise ValueError(f"{x.shape} has no blocks of {b}")
    return [x.reshape(n, h, w, b, b, c // (b * b)).transpose(0, 1, 3, 2, 4, 5)]


def _tiled_shape(node: Node) -> Shape:
    x = node.input(0).shape
    return tuple(e * m for e, m in zip(x, constant(node, 1), strict=True))


def _deep_shape(node: Node) -> Shape:
    b, (n, h, w, c) = int(node.options["block_size"]), node.input(0).shape
    return n, h // b, w // b, c * b * b


def _wide_shape(node: Node) -> Shape:
    b, (n, h, w, c) = int(node.options["block_size"]), node.input(0).shape
    return n, h * b, w * b, c // (b * b)


# Views with more dimensions than the result, and the shape that they are then given.
FOLDED: dict[str, tuple[Viewer, Callable[[Node], Shape]]] = {
    "TILE": (tile, _tiled_shape), "SPACE_TO_DEPTH": (space_to_depth, _deep_shape),
    "DEPTH_TO_SPACE": (depth_to_space, _wide_shape),
}


def views(node: Node, x: Data) -> Sequence[Data]:
    """Apply a node's view to an array or a picture."""
    return PLAIN[node.op][1](node, x) if node.op in PLAIN else FOLDED[node.op][0](node, x)


def _source(node: Node) -> int:
    return PLAIN[node.op][0] if node.op in PLAIN else 0


@shape(*PLAIN, *FOLDED)
def view_shape(node: Node) -> Sequence[Shape]:
    """The shapes of the views.

    Raises: ValueError if the input does not allow them.
    """
    if node.op == "SLICE" and node.input(1).data is None and all(
            e >= 0 for e in constant(node, 2)):
        # Where it begins is computed, how much it takes is not.
        return [tuple(constant(node, 2))]
    shapes = [v.shape for v in views(node, picture(node.input(_source(node)).shape))]
    return shapes if node.op in PLAIN else [FOLDED[node.op][1](node)]


@view("SLICE", "STRIDED_SLICE")
def whole_piece(node: Node) -> int:
    """Nothing moves where a slice is one piece of its input's memory.

    Raises: UnsupportedOp if it is not.
    """
    whole = picture(node.input(0).shape)
    (part,) = views(node, whole)
    require(part.size > 0 and part.flags.c_contiguous, f"{node.op} picks pieces apart")
    return (_address(part) - _address(whole)) * np.dtype(node.input(0).dtype).itemsize


@host(*PLAIN, *FOLDED)
def view_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The views of real data."""
    x = arrays[_source(node)]
    assert x is not None
    made = views(node, x)
    return made if node.op in PLAIN else [made[0].reshape(FOLDED[node.op][1](node))]


@op(*PLAIN, *FOLDED)
def view_on_device(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan one strided copy per output.

    Raises: UnsupportedOp if a copy has far more than 5 dimensions.
    """
    x = node.input(_source(node))
    whole = picture(x.shape)
    launches = []
    for y, part in zip(node.outputs, views(node, whole), strict=True):
        target = picture(part.shape)
        launches += copy_view(x, part, y, target, (whole, target), profile)
    return launches
