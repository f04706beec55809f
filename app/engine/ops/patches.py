"""Pictures cut into patches: TensorFlow's ExtractImagePatches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from app.engine.ir import Data, Launch, Node
from app.engine.ops.movement import copy_launch, fill_launch
from app.engine.ops.window import Axis, axis
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

# Copies above which the CPU, which needs none, is quicker.
MOST = 64


def _axes(node: Node) -> list[Axis]:
    """The windows along height and width of x [N,H,W,C].

    Raises: InvalidModel if the numbers make no window; ValueError if x is too small or no picture.
    """
    x = node.input(0).shape
    if len(x) != 4:
        raise ValueError(f"{x} are no pictures with channels")
    return [axis(extent, kernel, stride, rate, str(node.options["padding"]))
            for extent, kernel, stride, rate in zip(
                x[1:3], node.options["kernel"], node.options["strides"], node.options["rates"],
                strict=True)]


@shape("PATCHES")
def patches_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C] -> [N,OH,OW,KH*KW*C].

    Raises: as _axes.
    """
    rows, columns = _axes(node)
    x = node.input(0).shape
    return [(x[0], rows.out, columns.out, rows.kernel * columns.kernel * x[3])]


def _inside(own: Axis, k: int) -> tuple[int, int, int]:
    """Of place k in each window: the first output that has it inside, how many do, and where that
    first one has it."""
    at = k * own.dilation - own.before
    first = max(0, -(at // own.stride))
    count = min(own.out, (own.extent - 1 - at) // own.stride + 1) - first
    return first, max(count, 0), first * own.stride + at


def _pieces(rows: Axis, columns: Axis, whole: bool) -> Iterator[tuple[int, int]]:
    for i in range(rows.kernel):
        for j in range(1 if whole else columns.kernel):
            yield i, j


@op("PATCHES")
def patches(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan copies for each row of a patch, or for each place in it where rows have gaps or stand
    out.

    Shapes: x [N,H,W,C] -> y [N,OH,OW,KH*KW*C].
    Raises: UnsupportedOp for types that no kernel knows, or patches that take too many copies.
    """
    x, y = node.input(0), node.outputs[0]
    if not y.size:
        return []
    rows, columns = _axes(node)
    padded = [own.before > 0 or own.after > 0 for own in (rows, columns)]
    whole = not padded[1] and columns.dilation == 1
    places = list(_pieces(rows, columns, whole))
    require(len(places) <= MOST,
            f"patches of {rows.kernel}x{columns.kernel} in {len(places)} copies are for the CPU")
    channels, deep = x.shape[3], y.shape[3]
    line, wide = x.shape[2] * channels, columns.out * deep
    length = columns.kernel * channels if whole else channels
    launches = [fill_launch(y, "0", profile)] if any(padded) else []
    for i, j in places:
        top, high, row = _inside(rows, i)
        left, count, column = (0, columns.out, 0) if whole else _inside(columns, j)
        if high and count:
            launches.append(copy_launch(
                x, y, (x.shape[0], high, count, length),
                (x.shape[1] * line, rows.stride * line, columns.stride * channels, 1),
                (rows.out * wide, wide, deep, 1), profile,
                (row * line + column * channels,
                 top * wide + left * deep + (i * columns.kernel + j) * channels)))
    return launches


@host("PATCHES")
def patches_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy."""
    x = arrays[0]
    assert x is not None
    rows, columns = _axes(node)
    y = np.zeros(patches_shape(node)[0], x.dtype)
    parts = y.reshape(*y.shape[:3], rows.kernel * columns.kernel, -1)
    for i, j in _pieces(rows, columns, False):
        top, high, row = _inside(rows, i)
        left, count, column = _inside(columns, j)
        if high and count:
            parts[:, top:top + high, left:left + count, i * columns.kernel + j] = (
                x[:, row::rows.stride, column::columns.stride][:, :high, :count])
    return [y]
