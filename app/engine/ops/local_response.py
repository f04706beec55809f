"""Normalisation by the neighbouring channels, as the nets of 2012 to 2015 have it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Launch, Node
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, require_dtype, shape

i32, f32 = np.int32, np.float32


@shape("LOCAL_RESPONSE_NORMALIZATION")
def same_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op("LOCAL_RESPONSE_NORMALIZATION")
def local_response(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan x / (bias + alpha * sum of the squares of the channels next to x) ^ beta.

    Shapes: x [..., K] -> y [..., K].
    Raises: UnsupportedOp unless x is float32 and the radius is not negative.
    Source: TFLite optimized_ops::LocalResponseNormalization; both ends belong to the window.
    """
    require_dtype(node, "float32")
    x, y = node.input(0), node.outputs[0]
    radius = int(node.options.get("radius", 0))
    require(radius >= 0, "LOCAL_RESPONSE_NORMALIZATION with a negative radius has no kernel")
    if not x.size:
        return []
    length = x.shape[-1]
    per = length if profile.is_cpu else 1
    bias, alpha, beta = (f32(node.options.get(k, 0.0)) for k in ("bias", "alpha", "beta"))
    args = (x, y, i32(x.size), i32(length), i32(min(radius, length)), bias, alpha, beta, i32(per))
    return [Launch("local_response", "local_response", args, (-(-x.size // per),),
                   (profile.group,), {}, x.size * (2 * radius + 4))]
