"""Colours of pictures, on the host: TFLite has none of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.registry import Shape, host, shape

NAMES = ("RGB_TO_HSV", "HSV_TO_RGB", "ADJUST_HUE", "ADJUST_SATURATION", "ADJUST_CONTRAST")


@shape(*NAMES)
def as_given(node: Node) -> Sequence[Shape]:
    """Output as input.

    Raises: ValueError unless the last axis holds three colours, or has pictures before it.
    """
    x = node.input(0).shape
    if node.op == "ADJUST_CONTRAST":
        if len(x) < 3:
            raise ValueError(f"{x} is no picture")
    elif not x or x[-1] != 3:
        raise ValueError(f"{x} has no three colours in its last axis")
    return [x]


@host("RGB_TO_HSV")
def to_hsv(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Hue (0 to 1 once around), saturation and value of red, green, blue.

    Shapes: x [..,3] -> y [..,3].
    Source: TensorFlow's RGBToHSV.
    """
    (x,) = arrays
    assert x is not None
    return [_hsv(x)]


@host("HSV_TO_RGB")
def to_rgb(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Red, green and blue of hue, saturation and value.

    Shapes: x [..,3] -> y [..,3].
    Source: TensorFlow's HSVToRGB.
    """
    (x,) = arrays
    assert x is not None
    return [_rgb(x)]


@host("ADJUST_HUE")
def turned(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Every hue, turned by a part of the circle.

    Source: TensorFlow's AdjustHue.
    """
    x, delta = arrays
    assert x is not None
    assert delta is not None
    hsv = _hsv(x)
    hsv[..., 0] = np.mod(hsv[..., 0] + delta, 1)
    return [_rgb(hsv)]


@host("ADJUST_SATURATION")
def faded(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Every saturation times a factor, from 0 to 1.

    Source: TensorFlow's AdjustSaturation.
    """
    x, factor = arrays
    assert x is not None
    assert factor is not None
    hsv = _hsv(x)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor, 0, 1)
    return [_rgb(hsv)]


@host("ADJUST_CONTRAST")
def contrasted(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Every channel's distance from its mean over the picture, times a factor.

    Shapes: x [..,H,W,C] -> y the same.
    Source: TensorFlow's AdjustContrastv2.
    """
    x, factor = arrays
    assert x is not None
    assert factor is not None
    mean = x.mean((-3, -2), keepdims=True, dtype=np.float64)
    return [((x - mean) * factor + mean).astype(x.dtype)]


def _hsv(x: Data) -> Data:
    red, green, blue = np.moveaxis(x, -1, 0)
    high, low = x.max(-1), x.min(-1)
    spread = high - low
    with np.errstate(all="ignore"):
        sixth = np.where(spread > 0, 1 / (6 * spread), 0)
        hue = np.where(red == high, (green - blue) * sixth,
                       np.where(green == high, (blue - red) * sixth + 2 / 6,
                                (red - green) * sixth + 4 / 6))
        saturation = np.where(high > 0, spread / high, 0)
    made: Data = np.stack([np.where(hue < 0, hue + 1, hue), saturation, high], -1).astype(x.dtype)
    return made


def _rgb(hsv: Data) -> Data:
    hue, saturation, value = np.moveaxis(hsv, -1, 0)
    around = hue * 6
    pure = np.stack([np.abs(around - 3) - 1, 2 - np.abs(around - 2), 2 - np.abs(around - 4)], -1)
    mixed = 1 + saturation[..., None] * (np.clip(pure, 0, 1) - 1)
    made: Data = (mixed * value[..., None]).astype(hsv.dtype)
    return made
