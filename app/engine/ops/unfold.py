"""Convolutions of small images on CPUs: windows side by side, then one matrix product.

The direct kernel runs along the rows of an image and takes the pixels at its borders one by one;
of an image of 3 by 3 all but one are. Laid side by side, windows fill a tile whatever image they
are of, and the weights are read once for many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.engine.ir import Launch, Node, Tensor
from app.engine.ops.tiles import cycles
from app.engine.ops.window import Axis
from app.engine.profile import DeviceProfile

# What lies side by side must stay in a core's cache. Units: bytes.
MOST = 1 << 20
# What laying down taps that lie together takes beside a load and a store for each 16 floats
# (measured, AVX-512). Units: cycles.
TAP = 12
# It must save this much of the direct way's time, by the tiles' cycles.
SAVES = 0.2


def pays(profile: DeviceProfile, batch: int, channels: int, outputs: int, rows: Axis,
         columns: Axis) -> bool:
    """Whether a convolution of one group is faster so."""
    pixels, window = batch * rows.out * columns.out, rows.kernel * columns.kernel
    depth = window * channels
    if not profile.is_cpu or window == 1 or not pixels or 4 * pixels * depth > MOST:
        return False
    inner, border = columns.inner, columns.out - columns.inner
    line = cycles(profile, inner, outputs) if inner else 0.0
    line += border * _inside(columns, border) * cycles(profile, 1, outputs)
    direct = batch * rows.out * _inside(rows, rows.out - rows.inner) * line
    run = channels * (columns.kernel if columns.dilation == 1 else 1)
    laid = cycles(profile, pixels, outputs) + pixels * (TAP / run + 1 / 8)
    return laid < (1 - SAVES) * direct


def _inside(axis: Axis, border: int) -> float:
    """The share of the taps that lie inside the image: of the pixels at the border, or of all if
    so many are there."""
    if not border:
        return 1.0
    taps = [sum(0 <= o * axis.stride - axis.before + k * axis.dilation < axis.extent
                for k in range(axis.kernel)) for o in range(axis.out)]
    return sum(taps) / (axis.kernel * axis.out)


Product = Callable[[Node], Sequence[Launch]]


def launches(node: Node, rows: Axis, columns: Axis, product: Product) -> list[Launch]:
    """Lay the windows side by side, multiply.

    product plans the convolution of what has one pixel a window: x [pixels, KH*KW*C].
    """
    x = node.input(0)
    pixels = x.shape[0] * rows.out * columns.out
    side = Tensor(f"{node.outputs[0].name}/windows",
                  (pixels, rows.kernel * columns.kernel * x.shape[3]), "float32")
    numbers = (rows.extent, columns.extent, x.shape[3], rows.out, columns.out, rows.kernel,
               columns.kernel, rows.stride, columns.stride, rows.before, columns.before,
               rows.dilation, columns.dilation)
    first = Launch("unfold", "unfold", (x, side, *map(np.int32, numbers)), (pixels, 1, 1),
                   (1, 1, 1), {}, side.size)
    inner = Node(node.op, (side, *node.inputs[1:]), node.outputs, node.options, node.epilogue)
    return [first, *product(inner)]
