"""Pooling over windows, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.epilogue import compile_steps
from app.engine.ir import Launch, Node
from app.engine.ops.conv import steps
from app.engine.ops.reduce import fold_gpu
from app.engine.ops.tiles import lanes, spread
from app.engine.ops.window import Axis, axes, lying
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require_dtype, shape

i32 = np.int32
KINDS = {
    "MAX_POOL_2D": {"INIT": "-INFINITY", "STEP": "v = v < in ? in : v;", "SCALE": ""},
    "AVERAGE_POOL_2D": {"INIT": "0.0f", "STEP": "v += in;", "SCALE": "v /= (float)count;"},
    "L2_POOL_2D": {"INIT": "0.0f", "STEP": "v += in * in;",
                   "SCALE": "v = sqrt(v / (float)count); v = v > FLT_MAX ? FLT_MAX : v;"},
}

# Those that fold what they have made as they fold pixels.
WHOLE = {name: {"INIT": text["INIT"], "STEP": text["STEP"], "DONE": text["SCALE"]}
         for name, text in KINDS.items() if name != "L2_POOL_2D"}


def _covers(axis: Axis) -> bool:
    """Whether the only window is over all of the image."""
    return axis.out == 1 and axis.kernel - axis.before >= axis.extent


@shape(*KINDS)
def pool_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C] -> [N,OH,OW,C]."""
    x, options = node.input(0).shape, dict(node.options)
    rows, columns = axes(x, (options["filter_height"], options["filter_width"]), options)
    return [(x[0], rows.out, columns.out, x[3])]


@op(*KINDS)
def pool_2d(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the maximum, mean or root mean square of each window, channel by channel.

    Shapes: x [N,H,W,C] -> y [N,OH,OW,C].
    Raises: UnsupportedOp unless x is float32.
    Source: TFLite reference_ops::MaxPool, AveragePool, L2Pool.
    """
    require_dtype(node, "float32")
    x, y, options = node.input(0), node.outputs[0], dict(node.options)
    rows, columns = lying(*axes(x.shape, (options["filter_height"], options["filter_width"]),
                                options))
    channels = x.shape[3]
    if not profile.is_cpu and node.op in WHOLE and _covers(rows) and _covers(columns):
        # A work-item for each vector of channels would take the whole image alone.
        extents = (x.shape[0], 1, 1, rows.extent * columns.extent, channels)
        return fold_gpu(x, y, extents, WHOLE[node.op], steps(node), profile)
    width = lanes(profile, channels)
    defines, operands = compile_steps(steps(node), y)
    numbers = (rows.extent, columns.extent, channels, rows.out, columns.out, rows.kernel,
               columns.kernel, rows.stride, columns.stride, rows.before, columns.before)
    size, local, flat = spread(profile, (-(-channels // width), columns.out,
                                         x.shape[0] * rows.out))
    return [Launch("pool", "pool", (x, y, *map(i32, numbers), *operands), size, local,
                   {"VW": width, **flat, **KINDS[node.op], **defines},
                   y.size * rows.kernel * columns.kernel, even=channels % width == 0)]
