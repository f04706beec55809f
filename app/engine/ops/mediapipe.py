"""MediaPipe's custom ops, which tflite-runtime refuses."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from app.engine.ir import Const, Launch, Node, Tensor
from app.engine.ops.movement import fill_launch
from app.engine.ops.transposed import transposed_launches
from app.engine.ops.window import Axis, axis
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, require_dtype, shape
from app.errors import InvalidModel

i32, f32 = np.int32, np.float32
TRANSPOSE = "CUSTOM:Convolution2DTransposeBias"
POOL, UNPOOL = "CUSTOM:MaxPoolingWithArgmax2D", "CUSTOM:MaxUnpooling2D"
BILINEAR, LANDMARKS = "CUSTOM:TransformTensorBilinear", "CUSTOM:TransformLandmarks"
MATRIX = "CUSTOM:Landmarks2TransformMatrix"
SAME = 1


def _numbers(node: Node, count: int) -> tuple[int, ...]:
    """The first integers of options that are a C struct.

    Raises: InvalidModel if they are missing.
    """
    raw = node.options.get("custom", b"")
    if len(raw) < 4 * count:
        raise InvalidModel(f"{node.op} has {len(raw)} bytes of options and needs {4 * count}")
    return struct.unpack(f"<{count}i", raw[:4 * count])


def options_map(node: Node) -> dict[str, Any]:
    """Options that are a flexbuffer map.

    Raises: InvalidModel if they are none.
    """
    try:
        options = flexbuffers.Loads(node.options.get("custom", b""))
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise InvalidModel(f"{node.op} has options that are no flexbuffer: {error}") from error
    if not isinstance(options, dict):
        raise InvalidModel(f"{node.op} has options that are no map")
    return options


def widened(node: Node) -> tuple[Axis, Axis]:
    """The windows that the convolution from the output to the input would have."""
    padding, stride_w, stride_h = _numbers(node, 3)
    x, w = node.input(0).shape, node.input(1).shape
    made = []
    for extent, kernel, stride in ((x[1], w[1], stride_h), (x[2], w[2], stride_w)):
        if stride < 1:
            raise InvalidModel(f"{node.op} has a stride of {stride}")
        total = max(0, kernel - (extent - 1) % stride - 1) if padding == SAME else 0
        out = stride * (extent - 1) + kernel - total
        made.append(Axis(out, kernel, stride, 1, total // 2, total - total // 2, extent))
    return made[0], made[1]


@shape(TRANSPOSE)
def transpose_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C] -> [N,OH,OW,O]."""
    rows, columns = widened(node)
    return [(node.input(0).shape[0], rows.extent, columns.extent, node.input(1).shape[0])]


@op(TRANSPOSE)
def transpose_conv(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a transposed convolution whose output size follows from its input.

    Shapes: x [N,H,W,C], w [O,KH,KW,C], bias [O] -> y [N,OH,OW,O].
    Raises: UnsupportedOp unless x is float32 and w constant.
    """
    require_dtype(node, "float32")
    require(node.input(1).data is not None, f"{node.op} with computed weights has no kernel")
    return transposed_launches(node, profile, widened(node))


def pool_axes(node: Node, up: bool) -> tuple[Axis, Axis]:
    """The windows of a pooling, or of the pooling that an unpooling turns back."""
    padding, stride_w, stride_h, filter_w, filter_h = _numbers(node, 5)
    x, text = node.input(0).shape, "SAME" if padding == SAME else "VALID"
    factors = (filter_h, filter_w) if up else (1, 1)
    return (axis(x[1] * factors[0], filter_h, stride_h, 1, text),
            axis(x[2] * factors[1], filter_w, stride_w, 1, text))


@shape(POOL)
def pool_shape(node: Node) -> Sequence[Shape]:
    """Maxima and their places, [N,OH,OW,C]."""
    rows, columns = pool_axes(node, up=False)
    x = node.input(0).shape
    return [(x[0], rows.out, columns.out, x[3])] * 2


@op(POOL)
def pool(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the maximum of each window and where in the window it is.

    Raises: UnsupportedOp unless x is float32.
    """
    require_dtype(node, "float32")
    x, (y, place) = node.input(0), node.outputs
    rows, columns = pool_axes(node, up=False)
    n, h, w, c = x.shape
    numbers = (h, w, c, rows.out, columns.out, rows.kernel, columns.kernel, rows.stride,
               columns.stride, rows.before, columns.before, n * rows.out)
    return [Launch("mediapipe", "pool_argmax", (x, y, place, *map(i32, numbers)),
                   (c, columns.out, n * rows.out), (profile.group, 1, 1))]


@shape(UNPOOL)
def unpool_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C] -> [N,H*KH,W*KW,C]."""
    rows, columns = pool_axes(node, up=True)
    x = node.input(0).shape
    return [(x[0], rows.extent, columns.extent, x[3])]


@op(UNPOOL)
def unpool(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan zeros, then each value at its place in its window.

    Raises: UnsupportedOp if windows overlap.
    """
    require_dtype(node, "float32")
    x, place, y = node.input(0), node.input(1), node.outputs[0]
    rows, columns = pool_axes(node, up=True)
    require(rows.stride >= rows.kernel and columns.stride >= columns.kernel,
            f"{node.op} with overlapping windows has no kernel")
    n, h, w, c = x.shape
    numbers = (h, w, c, rows.extent, columns.extent, columns.kernel, rows.stride, columns.stride,
               rows.before, columns.before, n * h)
    return [fill_launch(y, "0", profile),
            Launch("mediapipe", "unpool", (x, place, y, *map(i32, numbers)), (c, w, n * h),
                   (profile.group, 1, 1))]


@shape(BILINEAR)
def bilinear_shape(node: Node) -> Sequence[Shape]:
    """[1,H,W,C] -> [1,OH,OW,C]."""
    options = options_map(node)
    return [(1, int(options["output_height"]), int(options["output_width"]),
             node.input(0).shape[3])]


@op(BILINEAR)
def transform_bilinear(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the resampling of an image through a matrix.

    Shapes: x [1,H,W,C], matrix [1,4,4] -> y [1,OH,OW,C].
    Raises: UnsupportedOp unless x is one float32 image.
    """
    require_dtype(node, "float32")
    x, matrix, y = node.input(0), node.input(1), node.outputs[0]
    require(x.shape[0] == 1, f"{node.op} of {x.shape[0]} images has no kernel")
    _, oh, ow, c = y.shape
    return [Launch("mediapipe", "transform_bilinear",
                   (x, matrix, y, *map(i32, (x.shape[1], x.shape[2], c, oh, ow))), (c, ow, oh),
                   (profile.group, 1, 1))]


@shape(LANDMARKS)
def landmarks_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op(LANDMARKS)
def transform_landmarks(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan points through a matrix.

    Shapes: x [1,K,2] or [1,K,3], matrix [1,4,4] -> y as x.
    Raises: UnsupportedOp for the first version of the op, which has options.
    """
    require_dtype(node, "float32")
    x, matrix, y = node.input(0), node.input(1), node.outputs[0]
    require(len(x.shape) == 3 and x.shape[0] == 1 and x.shape[2] in (2, 3),
            f"{node.op} on {x.shape} has no kernel")
    return [Launch("mediapipe", "transform_landmarks",
                   (x, matrix, y, i32(x.shape[1]), i32(x.shape[2])), (x.shape[1],),
                   (profile.group,))]


@shape(MATRIX)
def matrix_shape(node: Node) -> Sequence[Shape]:
    """One 4x4 matrix."""
    return [(1, 4, 4)]


@op(MATRIX)
def landmarks_matrix(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the matrix that cuts the turned box around some landmarks out of an image.

    Shapes: x [1,K,3] -> y [1,4,4].
    Raises: UnsupportedOp for the first version of the op; InvalidModel for landmarks that x
            does not have.
    """
    require_dtype(node, "float32")
    x, options = node.input(0), options_map(node)
    require(len(x.shape) == 3 and x.shape[0] == 1 and x.shape[2] == 3,
            f"{node.op} on {x.shape} has no kernel")
    subset = np.asarray(options["subset_idxs"], np.int32).reshape(-1)
    ends = [int(options["left_rotation_idx"]), int(options["right_rotation_idx"])]
    if not subset.size or min([*subset, *ends]) < 0 or max([*subset, *ends]) >= x.shape[1]:
        raise InvalidModel(f"{node.op} names landmarks that {x.shape} does not have")
    chosen = Const(Tensor(f"{node.op}/subset", subset.shape, "int32", subset), "flat", np.ravel)
    floats = [f32(options[k]) for k in ("target_rotation_radians", "output_height",
                                        "output_width", "scale_x", "scale_y")]
    return [Launch("mediapipe", "landmarks_matrix",
                   (x, chosen, node.outputs[0], i32(subset.size), *map(i32, ends), *floats),
                   (1,), (1,))]
