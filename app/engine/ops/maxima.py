"""Largest numbers in windows of pictures, on the host: with their places, or of sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.window import Axis, axis
from app.engine.registry import Shape, host, require, shape


def _windows(node: Node) -> tuple[Axis, Axis]:
    x = node.input(0).shape
    if len(x) != 4:
        raise ValueError(f"{x} are no pictures with channels")
    kernel: Sequence[int] = (node.input(1).shape[:2] if node.op == "DILATION_2D"
                             else tuple(node.options["ksize"])[1:3])
    strides = tuple(node.options["strides"])
    strides = strides[1:3] if len(strides) == 4 else strides
    rows, columns = (axis(extent, k, s, r, str(node.options["padding"])) for extent, k, s, r in zip(
        x[1:3], kernel, strides, node.options.get("rates", (1, 1)), strict=True))
    return rows, columns


def _parts(x: Data, windows: tuple[Axis, Axis]) -> Iterator[tuple[int, int, Data, Data, Data]]:
    """What each place of a window holds: its two numbers, the values, and their rows and columns.

    Outside of the picture is the least number there is.
    """
    rows, columns = windows
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    for i in range(rows.kernel):
        for j in range(columns.kernel):
            at = [np.arange(own.out) * own.stride + k * own.dilation - own.before
                  for own, k in ((rows, i), (columns, j))]
            inside = [(a >= 0) & (a < own.extent) for a, own in zip(at, windows, strict=True)]
            near = [a.clip(0, own.extent - 1) for a, own in zip(at, windows, strict=True)]
            values = np.where((inside[0][:, None] & inside[1])[:, :, None],
                              x[:, near[0]][:, :, near[1]], least)
            yield i, j, values, at[0], at[1]


@shape("MAX_POOL_WITH_ARGMAX")
def pooled_shapes(node: Node) -> Sequence[Shape]:
    """[N,H,W,C] -> [N,OH,OW,C] twice.

    Raises: InvalidModel if the numbers make no window; ValueError of other dimensions.
    """
    x, (rows, columns) = node.input(0).shape, _windows(node)
    return [(x[0], rows.out, columns.out, x[3])] * 2


@host("MAX_POOL_WITH_ARGMAX")
def pooled(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The largest value of each window, and its place: (row * W + column) * C + channel.

    Source: TensorFlow's MaxPoolWithArgmax; the first of equal ones.
    """
    (x,) = arrays
    assert x is not None
    best = place = None
    channels = np.arange(x.shape[3])
    for _, _, values, rows, columns in _parts(x, _windows(node)):
        own = (rows[:, None, None] * x.shape[2] + columns[:, None]) * x.shape[3] + channels
        if best is None or place is None:
            best, place = values, np.broadcast_to(own, values.shape)
        else:
            better = values > best
            best, place = np.where(better, values, best), np.where(better, own, place)
    assert best is not None
    assert place is not None
    if node.options["include_batch_in_index"]:
        place = place + (np.arange(x.shape[0]) * x[0].size)[:, None, None, None]
    return [best.astype(x.dtype), place.astype(node.outputs[1].dtype)]


@shape("DILATION_2D")
def dilated_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C], [KH,KW,C] -> [N,OH,OW,C].

    Raises: InvalidModel if the numbers make no window; ValueError of other dimensions.
    """
    x, w, (rows, columns) = node.input(0).shape, node.input(1).shape, _windows(node)
    require(len(w) == 3 and w[2] == x[3], f"DILATION_2D of {x} by {w} has no kernel")
    return [(x[0], rows.out, columns.out, x[3])]


@host("DILATION_2D")
def dilated(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The largest sum of a value and its weight in each window.

    Source: TensorFlow's Dilation2D.
    """
    x, w = arrays
    assert x is not None
    assert w is not None
    best: Data | None = None
    for i, j, values, _, _ in _parts(x, _windows(node)):
        own = values + w[i, j]
        best = own if best is None else np.maximum(best, own)
    assert best is not None
    return [best.astype(x.dtype)]


@shape("ROLL")
def as_given(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@host("ROLL")
def rolled(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Every element some places on along its axis, the last ones at the front.

    Raises: ValueError if there is no such axis.
    Source: TensorFlow's Roll.
    """
    x, by, along = arrays
    assert x is not None
    assert by is not None
    assert along is not None
    return [np.roll(x, by.reshape(-1).tolist(), along.reshape(-1).tolist())]
