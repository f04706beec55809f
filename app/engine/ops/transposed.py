"""Transposed convolutions: a plain convolution for each remainder of the stride."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from app.engine.ir import Data, Launch, Node
from app.engine.ops.computed import with_packing
from app.engine.ops.conv import Geometry, conv_launch
from app.engine.ops.window import Axis, axes
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, require_dtype, shape

# Parts up to which the device takes a layer; nets that scale by 32 at once have 1,024.
MOST_PHASES = 4096


@shape("TRANSPOSE_CONV")
def transpose_conv_shape(node: Node) -> Sequence[Shape]:
    """The constant output shape, with the batch of x."""
    wanted = node.input(0).data
    require(wanted is not None, "TRANSPOSE_CONV with a computed output shape has no kernel")
    assert wanted is not None
    return [(node.input(2).shape[0], *(int(e) for e in wanted.reshape(-1)[1:]))]


@op("TRANSPOSE_CONV")
def transpose_conv(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a transposed convolution as one plain convolution per phase of the stride.

    Shapes: output shape [4], w [O,KH,KW,C], x [N,H,W,C], bias [O] -> y [N,OH,OW,O].
    Raises: UnsupportedOp unless x is float32.
    Source: TFLite reference_ops::TransposeConv.
    """
    x, w, y = node.input(2), node.input(1), node.outputs[0]
    turned = replace(node, inputs=(x, w, node.optional(3)))
    require_dtype(turned, "float32")
    forward = axes(y.shape, (w.shape[1], w.shape[2]), node.options)
    if w.data is None:
        return with_packing(turned, 1, profile,
                            lambda n, p: transposed_launches(n, p, forward))
    return transposed_launches(turned, profile, forward)


def transposed_launches(node: Node, profile: DeviceProfile,
                        forward: tuple[Axis, Axis]) -> list[Launch]:
    """One launch per phase; node has inputs x, w [O,KH,KW,C], bias; forward is the window that
    the convolution from y to x would have.

    Raises: UnsupportedOp if there are too many phases.
    """
    x, y = node.input(0), node.outputs[0]
    launches: list[Launch] = []
    (sh, high), (sw, wide) = ((a.stride, min(a.stride, a.extent)) for a in forward)
    require(high * wide <= MOST_PHASES,
            f"{node.op} with strides of {sh} and {sw} is for the CPU: it takes {high * wide} parts")
    for rows, first, tap in phases(forward[0], x.shape[1]):
        for columns, left, side in phases(forward[1], x.shape[2]):
            width = y.shape[2]
            pixels = (first * width + left, y.shape[1] * width, sh * width, sw)
            g = Geometry(x.shape[0], x.shape[3], y.shape[3], 1, rows, columns, pixels)
            select = (f"phase {tap},{side}", _taps(tap, sh, side, sw))
            launches.extend(conv_launch(node, profile, g, select))
    return launches


def _taps(tap: int, sh: int, side: int, sw: int) -> Callable[[Data], Data]:
    return lambda w: w[:, tap::sh, side::sw][:, ::-1, ::-1]


def phases(forward: Axis, extent: int) -> list[tuple[Axis, int, int]]:
    """For each remainder of the stride that has an output: the window over x, its first output,
    its first tap."""
    found = []
    for first in range(min(forward.stride, forward.extent)):
        tap = (first + forward.before) % forward.stride
        count = len(range(tap, forward.kernel, forward.stride))
        begin = (first + forward.before - tap) // forward.stride
        out = len(range(first, forward.extent, forward.stride))
        found.append((Axis(extent, count, 1, 1, count - 1 - begin, 0, out), first, tap))
    return found
