"""Normalisation over rows: the op that passes.simplify makes of a chain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.epilogue import compile_steps
from app.engine.ir import Launch, Node
from app.engine.ops.gemm import WAVE
from app.engine.ops.tiles import lanes
from app.engine.profile import DeviceProfile
from app.engine.registry import op

i32 = np.int32


@op("LAYER_NORM")
def layer_norm(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan (x - mean) / sqrt(variance + epsilon) over the last axis.

    Shapes: x [..., K] -> y [..., K]; float32.
    """
    x, y = node.input(0), node.outputs[0]
    if not x.size:
        return []
    length = x.shape[-1]
    defines, operands = compile_steps(node.epilogue, y)
    args = (x, y, i32(x.size // length), i32(length), np.float32(node.options["epsilon"]),
            *operands)
    if not profile.is_cpu:
        return [Launch("norm_gpu", "layer_norm_gpu", args, (x.size // length * WAVE,), (WAVE,),
                       {"VW": 1, **defines}, 8 * x.size)]
    return [Launch("norm", "layer_norm", args, (x.size // length,), (1,),
                   {"VW": lanes(profile, length), **defines}, 8 * x.size)]
