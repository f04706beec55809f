"""Depthwise convolutions shaped for GPUs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.engine.ir import Arg, Const, Launch, Tensor
from app.engine.ops.gemm import WAVE
from app.engine.ops.tiles import lanes
from app.engine.ops.window import Axis
from app.engine.profile import DeviceProfile

i32 = np.int32
# Vectors of four that one lane may hold, so that four wavefronts fit a SIMD of gfx803.
VECTORS = 13


def depthwise_gpu(x: Tensor, w: Tensor, bias: Arg, y: Tensor, window: tuple[Axis, Axis],
                  epilogue: Mapping[str, str | int], operands: list[Arg],
                  profile: DeviceProfile) -> Launch:
    """The launch of a depthwise convolution with multiplier 1.

    Shapes: x [N,H,W,C], w [1,KH,KW,C], bias [C] -> y [N,OH,OW,C].
    """
    rows, columns = window
    channels, height = x.shape[3], x.shape[0] * rows.out
    width = lanes(profile, channels)
    vectors = -(-channels // width)
    run = run_of(profile, columns, vectors * height)
    runs = -(-columns.out // run)
    numbers = (rows.extent, columns.extent, channels, rows.out, columns.out, rows.stride,
               rows.before, columns.before, rows.dilation, vectors, runs)
    defines = {"VW": width, "RM": run, "KH": rows.kernel, "KW": columns.kernel,
               "SW": columns.stride, "DW": columns.dilation, **epilogue}
    if not _held(columns, run):
        defines["APART"] = 1
    args = (x, Const(w, "flat", np.ravel), bias, y, *map(i32, numbers), *operands)
    return Launch("depthwise_gpu", "depthwise_gpu", args, (vectors * runs, height), (WAVE, 1),
                  defines, 2 * y.size * rows.kernel * columns.kernel,
                  even=channels % width == 0)


def run_of(profile: DeviceProfile, columns: Axis, rows: int) -> int:
    """Pixels of a run: as many as the registers take while the work-items still fill every SIMD
    twice; rows counts the vectors of channels times the output rows."""
    enough = profile.compute_units * 4 * 2 * WAVE
    for run in (4, 2):
        fits = run <= columns.out and _held(columns, run)
        if fits and rows * -(-columns.out // run) >= enough:
            return run
    return 1


def _held(columns: Axis, run: int) -> bool:
    """Tell whether the registers hold the inputs of a run, beside its sums and a tap."""
    inputs = {r * columns.stride + s * columns.dilation
              for r in range(run) for s in range(columns.kernel)}
    return run + len(inputs) + 1 <= VECTORS
