"""MediaPipe's custom ops in numpy: for machines without a card, and as the kernels' judge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.mediapipe import (
    BILINEAR,
    LANDMARKS,
    MATRIX,
    POOL,
    TRANSPOSE,
    UNPOOL,
    options_map,
    pool_axes,
    widened,
)
from app.engine.registry import host

Arrays = Sequence[Data | None]


def _given(arrays: Arrays, position: int) -> Data:
    array = arrays[position]
    assert array is not None
    return array


@host(TRANSPOSE)
def transpose_conv(node: Node, arrays: Arrays) -> Sequence[Data]:
    """Add every input pixel times the weights to the window that it widens to.

    Shapes: x [N,H,W,C], w [O,KH,KW,C], bias [O] -> y [N,OH,OW,O].
    """
    x, w, bias = (_given(arrays, i) for i in range(3))
    rows, columns = widened(node)
    n, height, width, _ = x.shape
    tall = rows.stride * (height - 1) + rows.kernel
    wide = columns.stride * (width - 1) + columns.kernel
    made = np.zeros((n, tall, wide, w.shape[0]), np.float32)
    for i in range(rows.kernel):
        for j in range(columns.kernel):
            made[:, i:i + rows.stride * (height - 1) + 1:rows.stride,
                 j:j + columns.stride * (width - 1) + 1:columns.stride] += x @ w[:, i, j].T
    top, left = rows.before, columns.before
    return [made[:, top:top + rows.extent, left:left + columns.extent] + bias]


@host(POOL)
def pool(node: Node, arrays: Arrays) -> Sequence[Data]:
    """The maximum of each window, and its number in the window plus 0.1."""
    x = _given(arrays, 0)
    rows, columns = pool_axes(node, up=False)
    n, height, width, channels = x.shape
    tall = (rows.out - 1) * rows.stride + rows.kernel
    wide = (columns.out - 1) * columns.stride + columns.kernel
    padded = np.full((n, max(tall, height + rows.before), max(wide, width + columns.before),
                      channels), -np.finfo("f4").max, np.float32)
    padded[:, rows.before:rows.before + height, columns.before:columns.before + width] = x
    windows = np.stack([padded[:, i:i + tall - rows.kernel + 1:rows.stride,
                               j:j + wide - columns.kernel + 1:columns.stride]
                        for i in range(rows.kernel) for j in range(columns.kernel)])
    return [windows.max(0), windows.argmax(0).astype(np.float32) + np.float32(0.1)]


@host(UNPOOL)
def unpool(node: Node, arrays: Arrays) -> Sequence[Data]:
    """Put every value at its place in its window, zeros elsewhere."""
    x, place = _given(arrays, 0), _given(arrays, 1).astype(np.int64)
    rows, columns = pool_axes(node, up=True)
    n, height, width, channels = np.indices(x.shape)
    down = height * rows.stride - rows.before + place // columns.kernel
    across = width * columns.stride - columns.before + place % columns.kernel
    inside = ((place >= 0) & (down >= 0) & (down < rows.extent) & (across >= 0)
              & (across < columns.extent))
    made = np.zeros((x.shape[0], rows.extent, columns.extent, x.shape[3]), np.float32)
    made[n[inside], down[inside], across[inside], channels[inside]] = x[inside]
    return [made]


@host(BILINEAR)
def transform_bilinear(node: Node, arrays: Arrays) -> Sequence[Data]:
    """The image at matrix * (j + 1/2, i + 1/2) - 1/2; zero outside."""
    image, matrix = _given(arrays, 0)[0], _given(arrays, 1).reshape(4, 4)
    options = options_map(node)
    i, j = np.indices((int(options["output_height"]), int(options["output_width"])), np.float32)
    half = np.float32(0.5)
    across, down = ((matrix[k, 0] * j + matrix[k, 1] * i
                     + (matrix[k, 3] + (matrix[k, 0] * half + matrix[k, 1] * half - half)))
                    for k in (0, 1))
    height, width = image.shape[:2]
    inside = (across >= 0) & (across <= width - 1) & (down >= 0) & (down <= height - 1)
    w, h = (np.where(inside, v, 0).astype(np.int64) for v in (across, down))
    right, lower = ((v - k)[..., None] for v, k in ((across, w), (down, h)))
    beside, below = np.minimum(w + 1, width - 1), np.minimum(h + 1, height - 1)
    upper = (1 - right) * image[h, w] + right * image[h, beside]
    under = (1 - right) * image[below, w] + right * image[below, beside]
    mixed = lower * under + (1 - lower) * upper
    return [np.where(inside[..., None], mixed, 0).astype(np.float32)[None]]


@host(LANDMARKS)
def transform_landmarks(node: Node, arrays: Arrays) -> Sequence[Data]:
    """Points through the first two rows of a matrix; a third coordinate stays."""
    x, matrix = _given(arrays, 0), _given(arrays, 1).reshape(4, 4)
    made = x.copy()
    made[..., :2] = x[..., :2] @ matrix[:2, :2].T + matrix[:2, 3]
    return [made]


@host(MATRIX)
def landmarks_matrix(node: Node, arrays: Arrays) -> Sequence[Data]:
    """The matrix that cuts the turned box around some landmarks out of an image."""
    points, options = _given(arrays, 0)[0, :, :2].astype("f8"), options_map(node)
    left, right = (points[int(options[f"{side}_rotation_idx"])] for side in ("left", "right"))
    angle = float(options["target_rotation_radians"]) - np.arctan2(*(right - left)[::-1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    box = points[np.asarray(options["subset_idxs"], np.int64).reshape(-1)] @ turn.T
    low, high = box.min(0), box.max(0)
    size = np.array([float(options["output_width"]), float(options["output_height"])])
    scales = np.array([float(options["scale_x"]), float(options["scale_y"])]) * (high - low) / size
    made = np.eye(4)
    made[:2, :2] = turn.T * scales
    made[:2, 3] = turn.T @ (low + high) / 2 - made[:2, :2] @ size / 2
    return [made[None].astype(np.float32)]
