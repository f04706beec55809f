"""Arithmetic of sliding windows: padding, output extents and which outputs touch the border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import InvalidModel


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a window. Units: pixels.

    before and after are the padding; left counts the outputs whose window begins before the
    input, inner those whose window lies inside it.
    """

    extent: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    out: int

    @property
    def reach(self) -> int:
        """Extent of the dilated window."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def left(self) -> int:
        """Outputs whose window begins in the padding."""
        return max(0, min(self.out, -(-self.before // self.stride)))

    @property
    def inner(self) -> int:
        """Outputs whose window lies inside the input."""
        room = self.extent + self.before - self.reach
        return max(0, min(self.out, room // self.stride + 1) - self.left) if room >= 0 else 0


def axis(extent: int, kernel: int, stride: int, dilation: int, padding: str,
         pads: tuple[int, int] = (0, 0)) -> Axis:
    """Place a window along an axis.

    pads is explicit padding that a fused PAD adds; it goes with padding VALID only.
    Raises: InvalidModel if the numbers make no window; ValueError if the input is too small.
    Source: TFLite kernels/padding.h.
    """
    if min(kernel, stride, dilation) < 1:
        raise InvalidModel(f"a window of {kernel} with stride {stride} and dilation {dilation} "
                           "is none; all must be at least 1")
    reach = (kernel - 1) * dilation + 1
    if padding == "SAME":
        out = -(-extent // stride)
        total = max(0, (out - 1) * stride + reach - extent)
        before, after = total // 2, total - total // 2
    else:
        before, after = pads
        room = extent + before + after - reach + stride
        out = max(room, 0) // stride
        if extent and not out:
            raise ValueError(f"an axis of {extent} is too small for a window of {reach}")
    return Axis(extent, kernel, stride, dilation, before, after, max(out, 0))


def axes(shape: tuple[int, ...], kernel: tuple[int, int],
         options: Mapping[str, Any]) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a window over [N,H,W,C], from decoded options."""
    pads = options.get("pads", ((0, 0), (0, 0)))
    padding = str(options["padding"])
    return (axis(shape[1], kernel[0], int(options["stride_h"]),
                 int(options.get("dilation_hfactor", 1)), padding, pads[0]),
            axis(shape[2], kernel[1], int(options["stride_w"]),
                 int(options.get("dilation_wfactor", 1)), padding, pads[1]))


def lying(rows: Axis, columns: Axis) -> tuple[Axis, Axis]:
    """The axes of the same windows over the image laid on its side, if it is one column.

    The numbers lie as they did; kernels take many pixels of a row at a time, of a column one.
    """
    column = Axis(1, 1, columns.stride, columns.dilation, 0, 0, 1)
    return (columns, rows) if columns == column else (rows, columns)
