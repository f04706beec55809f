"""Resizing of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.epilogue import compile_steps
from app.engine.ir import Arg, Data, Launch, Node
from app.engine.ops.movement import TYPES
from app.engine.ops.tiles import lanes, spread
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, require_dtype, shape

i32, f32 = np.int32, np.float32


@shape("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C] and a constant size -> [N,OH,OW,C]."""
    x, (height, width, *_) = node.input(0).shape, wanted_size(node, 1)
    return [(x[0], height, width, x[3])]


def wanted_size(node: Node, position: int) -> list[int]:
    """The size of a picture that an input asks for.

    Raises: UnsupportedOp if it is computed.
    """
    size = node.input(position).data
    require(size is not None, f"{node.op} to a computed size has no kernel")
    assert size is not None
    return [int(e) for e in size.reshape(-1)]


def scale(node: Node, extent: int, out: int) -> np.float32:
    """Input pixels per output pixel. Source: TFLite reference_ops::ResizeBilinear."""
    if node.options.get("align_corners") and out > 1:
        return f32(extent - 1) / f32(out - 1)
    return f32(extent) / f32(out)


def _grid(node: Node, extent: int, out: int) -> tuple[np.float32, np.float32, np.float32]:
    """Scale, shift and offset of an axis: position = (i + shift) * scale - offset, in input pixels.

    Source: TFLite reference_ops::ResizeBilinear and, where "coarse" is set, ResizeBilinearInteger,
            which knows positions to 1/1024 pixel.
    """
    half = bool(node.options.get("half_pixel_centers"))
    if not node.options.get("coarse"):
        shift = f32(0.5 if half else 0.0)
        return scale(node, extent, out), shift, shift
    ends = int(bool(node.options.get("align_corners")) and out > 1)
    above, below = extent - ends, out - ends
    parts = (1024 * above + below // 2) // below
    return f32(parts / 1024), f32(0.0), f32((512 - parts // 2) / 1024 if half else 0.0)


@op("RESIZE_BILINEAR")
def resize_bilinear(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a bilinear resize.

    Shapes: x [N,H,W,C] -> y [N,OH,OW,C].
    Raises: UnsupportedOp unless x is float32 and the size constant.
    """
    require_dtype(node, "float32")
    x, y = node.input(0), node.outputs[0]
    _, h, w, c = x.shape
    n, oh, ow, _ = y.shape
    width = lanes(profile, c)
    run = ow if profile.is_cpu else 1
    blocks = -(-c // width) if profile.is_cpu else 1
    defines, operands = compile_steps(node.epilogue, y)
    rows, columns = _grid(node, h, oh), _grid(node, w, ow)
    args = (x, y, *map(i32, (h, w, c, oh, ow)), *rows, *columns, *operands)
    size, local, flat = spread(profile, (-(-c // (width * blocks)), -(-ow // run), n * oh))
    return [Launch("resize", "resize_bilinear", args, size, local,
                   {"VW": width, "RUN": run, "BLOCKS": blocks, **flat, **defines}, 8 * y.size,
                   even=c % width == 0)]


@op("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a resize that repeats or leaves out pixels, for any element type.

    Shapes: x [N,H,W,C] -> y [N,OH,OW,C].
    """
    x, y = node.input(0), node.outputs[0]
    require(x.dtype in TYPES, f"{node.op} on {x.dtype} has no kernel")
    _, h, w, c = x.shape
    n, oh, ow, _ = y.shape
    defines: dict[str, str | int] = {
        "T": TYPES[x.dtype], "ALIGN": int(bool(node.options.get("align_corners"))),
        "SHIFT": "0.5f" if node.options.get("half_pixel_centers") else "0.0f"}
    args: tuple[Arg, ...] = (x, y, *map(i32, (h, w, c, oh, ow)), scale(node, h, oh),
                             scale(node, w, ow))
    return [Launch("nearest", "nearest", args, (ow, oh, n), (profile.group, 1, 1), defines)]


@host("RESIZE_NEAREST_NEIGHBOR")
def nearest_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy."""
    x, (height, width) = arrays[0], wanted_size(node, 1)
    assert x is not None
    return [x[:, _picked(node, x.shape[1], height)[:, None], _picked(node, x.shape[2], width)]]


def _picked(node: Node, extent: int, out: int) -> Data:
    shift = f32(0.5 if node.options.get("half_pixel_centers") else 0)
    places = (np.arange(out, dtype=f32) + shift) * scale(node, extent, out)
    # No place is below zero, so half is rounded up, as round() does it.
    whole = np.floor(places + f32(0.5)) if node.options.get("align_corners") else np.floor(places)
    picked: Data = np.clip(whole.astype(np.int64), 0, extent - 1)
    return picked
