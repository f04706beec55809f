"""Resizing by cubic curves, on the host: TFLite has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.resize import wanted_size
from app.engine.registry import Shape, host, shape

# TensorFlow looks the curve up at so many places between two pixels.
PLACES = 1024
# How far the curve swings over: with Keys' own, pixels beyond the edge do not count.
KEYS, PLAIN = -.5, -.75


@shape("RESIZE_BICUBIC")
def resized_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C], size [2] -> [N,h,w,C].

    Raises: ValueError if x is no picture; UnsupportedOp of a computed size.
    """
    x, size = node.input(0).shape, wanted_size(node, 1)
    if len(x) != 4:
        raise ValueError(f"{x} is no picture")
    return [(x[0], *size, x[3])]


@host("RESIZE_BICUBIC")
def resized(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Pictures of another size, each row and column a sum of four.

    Source: TensorFlow's ResizeBicubic.
    """
    x, size = arrays
    assert x is not None
    assert size is not None
    rows, columns = (_matrix(extent, int(wanted), node)
                     for extent, wanted in zip(x.shape[1:3], size.reshape(-1), strict=True))
    return [np.einsum("ih,nhwc,jw->nijc", rows, x, columns, optimize=True).astype(np.float32)]


def _matrix(extent: int, wanted: int, node: Node) -> Data:
    """What each new pixel takes of each old one.

    Shapes: [wanted, extent].
    """
    corners = node.options["align_corners"] and wanted > 1
    scale = np.float32((extent - 1) / (wanted - 1) if corners else extent / wanted)
    keys = bool(node.options["half_pixel_centers"])
    half = np.float32(.5 if keys else 0)
    places = (np.arange(wanted, dtype=np.float32) + half) * scale - half
    before = np.floor(places).astype(np.int64)
    part = np.rint((places - before) * PLACES) / PLACES
    made = np.zeros((wanted, extent))
    for k in range(-1, 3):
        pixel = before + k
        weight = _curve(np.abs(part - k), KEYS if keys else PLAIN)
        near = pixel.clip(0, extent - 1)
        if keys:
            weight = np.where(pixel == near, weight, 0)
        np.add.at(made, (np.arange(wanted), near), weight)
    return made / made.sum(1, keepdims=True) if keys else made


def _curve(x: Data, a: float) -> Data:
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0))
