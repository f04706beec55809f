"""Ops that normalise rows along the last axis, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Arg, Launch, Node
from app.engine.ops.gemm import WAVE
from app.engine.ops.tiles import lanes
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, require_dtype, shape

i32 = np.int32
KERNELS = {"SOFTMAX": "softmax", "LOG_SOFTMAX": "log_softmax", "L2_NORMALIZATION": "l2_norm"}


@shape(*KERNELS)
def row_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op(*KERNELS)
def rows(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan softmax, its logarithm, or division by the Euclidean length, row by row.

    Shapes: x [..., K] -> y [..., K].
    Raises: UnsupportedOp unless x is float32, and with an activation, which TFLite refuses.
    Source: TFLite reference_ops::Softmax, LogSoftmax, L2Normalization.
    """
    require_dtype(node, "float32")
    own = str(node.options.get("fused_activation_function", "NONE"))
    require(own == "NONE", f"{node.op} with {own} has no kernel")
    x, y = node.input(0), node.outputs[0]
    if not x.size:
        return []
    length = x.shape[-1] if x.shape else 1
    count = x.size // length
    args: tuple[Arg, ...] = (x, y, i32(count), i32(length))
    if node.op == "SOFTMAX":
        args = (*args, np.float32(node.options.get("beta", 1.0)))
    if not profile.is_cpu:
        return [Launch("softmax_gpu", KERNELS[node.op] + "_gpu", args, (count * WAVE,), (WAVE,), {},
                       5 * x.size)]
    return [Launch("softmax", KERNELS[node.op], args, (count,), (1,),
                   {"VW": lanes(profile, length)}, 5 * x.size)]
