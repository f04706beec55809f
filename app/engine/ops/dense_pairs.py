"""Two dense layers on one row, by one kernel where another launch would cost more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.engine.epilogue import compile_steps
from app.engine.ir import Const, Data, Launch, Local, Node, Tensor
from app.engine.ops.conv import bias, steps
from app.engine.ops.precision import halved
from app.engine.passes.dense_pairs import DENSE_PAIR
from app.engine.profile import DeviceProfile
from app.engine.registry import OPS, op

i32 = np.int32
GROUP = 256
# Weights of the first layer, which every work-group reads, and values between the layers: with
# these the kernel takes less than a launch more than its two halves.
FIRST, BETWEEN = 1 << 16, 256


@op(DENSE_PAIR)
def dense_pair(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan two fully connected layers, or 1x1 convolutions of one pixel, in one launch or two.

    Shapes: x of K numbers, w [H,K] or [H,1,1,K], bias [H], w [O,H] or [O,1,1,H], bias [O] -> y of
            O numbers.
    """
    first: Node = replace(node.options["first"], inputs=node.inputs[:3])
    second: Node = replace(node.options["second"], outputs=node.outputs, epilogue=node.epilogue,
                           inputs=(first.outputs[0], *node.inputs[3:]))
    h, k = first.outputs[0].size, first.input(0).size
    if h * k > FIRST or h > BETWEEN:
        return [*OPS[first.op](first, profile), *OPS[second.op](second, profile)]
    w, v, y = first.input(1), second.input(1), node.outputs[0]
    half = halved(w, profile) and halved(v, profile)
    inner, before = compile_steps(steps(first), first.outputs[0], "i")
    outer, after = compile_steps(steps(second), y)
    share = 64
    while share > 4 and GROUP // share < h:
        share //= 2
    args = (first.input(0), _weights(w, half, False), bias(first, h), _weights(v, half, True),
            bias(second, y.size), y, Local(4 * h), *map(i32, (k, h, y.size)), *before, *after)
    defines = {"VW": 1, "LK": share, "HALF_WEIGHTS": int(half), **outer,
               "INNER_PARAMS": inner["EPI_PARAMS"], "INNER": inner["EPILOGUE"]}
    groups = -(-y.size // GROUP)
    return [Launch("dense_pair", "dense_pair", args, (groups * GROUP,), (GROUP,), defines,
                   2 * h * (groups * k + y.size))]


def _weights(w: Tensor, half: bool, turned: bool) -> Const:
    def pack(data: Data) -> Data:
        rows = data.reshape(data.shape[0], -1)
        return np.ascontiguousarray(rows.T if turned else rows, "f2" if half else "f4")

    return Const(w, f"dense {turned} {half}", pack)
