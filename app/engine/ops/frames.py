"""What passes.volumes makes of 3D convolutions: frames that become channels, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Launch, Node
from app.engine.ops.movement import copy_launch, fill_launch
from app.engine.ops.tiles import lanes
from app.engine.ops.window import Axis, axes, axis
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, shape

i32 = np.int32


def depth_axis(node: Node, extent: int) -> Axis:
    """The window along the frames; weights are input 1, [KD,KH,KW,..]."""
    return axis(extent, node.input(1).shape[0], int(node.options["stride_d"]),
                int(node.options.get("dilation_dfactor", 1)), str(node.options["padding"]))


@shape("CONV_3D")
def conv_shape(node: Node) -> Sequence[Shape]:
    """[N,D,H,W,C] * [KD,KH,KW,C,O] -> [N,OD,OH,OW,O].

    Raises: ValueError if the channels differ.
    """
    x, w = node.input(0).shape, node.input(1).shape
    if x[4] != w[3]:
        raise ValueError(f"{x[4]} channels by weights for {w[3]}")
    rows, columns = axes(x[1:], (w[1], w[2]), dict(node.options))
    return [(x[0], depth_axis(node, x[1]).out, rows.out, columns.out, w[4])]


@shape("CONV_3D_TRANSPOSE")
def transposed_shape(node: Node) -> Sequence[Shape]:
    """The constant output shape, with the batch of x."""
    wanted = node.input(0).data
    require(wanted is not None, "CONV_3D_TRANSPOSE of a computed output shape has no kernel")
    assert wanted is not None
    return [(node.input(2).shape[0], *(int(e) for e in wanted.reshape(-1)[1:]))]


@op("FRAMES")
def frames(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan one copy for each frame of the window, after zeros where it reaches beyond the ends.

    Shapes: x [N,D,H,W,C] -> y [N*OD,H,W,KD*C].
    """
    x, y = node.input(0), node.outputs[0]
    depth = depth_axis(node, x.shape[1])
    batch, pixels, channels = x.shape[0], x.shape[2] * x.shape[3], x.shape[4]
    wide, image = depth.kernel * channels, pixels * channels
    launches = []
    if depth.before or depth.after:
        launches.append(fill_launch(y, "0", profile))
    for k in range(depth.kernel):
        at = k * depth.dilation - depth.before
        first = max(0, -(at // depth.stride))
        count = min(depth.out, (depth.extent - 1 - at) // depth.stride + 1) - first
        if count <= 0:
            continue
        launches.append(copy_launch(
            x, y, (batch, count, pixels, channels),
            (depth.extent * image, depth.stride * image, channels, 1),
            (depth.out * pixels * wide, pixels * wide, wide, 1), profile,
            ((first * depth.stride + at) * image, first * pixels * wide + k * channels)))
    return launches


@op("ADD_FRAMES")
def add_frames(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the sum of what every frame adds to the frames under its window.

    Shapes: x [N*D,H,W,KD*O] -> y [N,OD,H,W,O].
    """
    x, y = node.input(0), node.outputs[0]
    batch, given = node.input(2).shape[:2]
    depth = depth_axis(node, y.shape[1])
    outputs = y.shape[4]
    width = lanes(profile, outputs)
    pixels = y.shape[2] * y.shape[3]
    numbers = (given, depth.kernel, depth.stride, depth.dilation, depth.before, y.shape[1], pixels,
               outputs)
    return [Launch("frames", "add_frames", (x, y, *map(i32, numbers)),
                   (-(-outputs // width), pixels, batch * y.shape[1]), (profile.group, 1, 1),
                   {"VW": width}, y.size * depth.kernel)]
