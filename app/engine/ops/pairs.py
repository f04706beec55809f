"""A depthwise convolution and the 1x1 convolution behind it, by one kernel where that is faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.engine.epilogue import compile_steps
from app.engine.ir import Const, Launch, Node
from app.engine.ops.conv import ALL, Geometry, bias, conv_2d, depthwise_conv_2d, steps
from app.engine.ops.gemm import LDS_BYTES, WAVE, Block, blocks, cycles, packed
from app.engine.ops.precision import halved
from app.engine.ops.window import Axis, axes
from app.engine.passes.pairs import PAIR
from app.engine.profile import DeviceProfile
from app.engine.registry import op

i32 = np.int32
# Cycles of a wavefront for one tap of a window: two loads, their addresses, four multiply-adds.
TAP = 70
CLOCK = 1.26e9
LAUNCH_CYCLES = 7e-6 * CLOCK


@dataclass(frozen=True, slots=True)
class Way:
    """one: a single kernel computes both."""

    one: bool


@op(PAIR)
def depthwise_pointwise(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a depthwise convolution and the 1x1 convolution of its result, in one launch or two.

    Shapes: x [N,H,W,C], w [1,KH,KW,C], bias [C], w [O,1,1,C], bias [O] -> y [N,OH,OW,O].
    Source: TFLite reference_ops::DepthwiseConv, then Conv.
    """
    first: Node = replace(node.options["depthwise"], inputs=node.inputs[:3])
    second: Node = replace(node.options["pointwise"], outputs=node.outputs, epilogue=node.epilogue,
                           inputs=(first.outputs[0], *node.inputs[3:]))
    taps = first.input(1).shape
    window = axes(first.input(0).shape, (taps[1], taps[2]), first.options)
    middle, outputs = first.outputs[0], second.input(1).shape[0]
    rows, k = middle.size // middle.shape[3], middle.shape[3]
    block = _block(profile, rows, outputs, k, window)
    label = f"pair {rows}x{outputs}x{k} {window[0].kernel}x{window[1].kernel}"
    chosen = profile.choices.pick(
        label, [Way(False), Way(True)],
        lambda way: (_together(block, profile, rows, outputs, k, window) if way.one
                     else _apart(profile, rows, outputs, k, window)))
    if not chosen.one:
        return [*depthwise_conv_2d(first, profile), *conv_2d(second, profile)]
    return [_launch(first, second, window, block, profile)]


def _block(profile: DeviceProfile, rows: int, outputs: int, k: int,
           window: tuple[Axis, Axis]) -> Block:
    # What else spills registers on gfx803 beside a window's taps (make kernels-report).
    there = [b for b in blocks(4, 4, profile.max_work_group, min(LDS_BYTES, profile.local_bytes))
             if b.fetches == 1 and (b.tm <= 2 or b.group > WAVE * b.slices)]
    return min(there, key=lambda b: (_together(b, profile, rows, outputs, k, window), b.group))


def _together(b: Block, profile: DeviceProfile, rows: int, outputs: int, k: int,
              window: tuple[Axis, Axis]) -> float:
    # Every block of outputs computes the windows of its pixels anew.
    taps = TAP * window[0].kernel * window[1].kernel * b.fetches * b.steps(k)
    waves = -(-rows // b.rows) * -(-outputs // b.width) * (b.group // WAVE)
    simds = 4 * max(profile.compute_units, 1)
    return (cycles(b, profile, rows, outputs, k, 1) + -(-waves // simds) * taps + LAUNCH_CYCLES)


def _apart(profile: DeviceProfile, rows: int, outputs: int, k: int,
           window: tuple[Axis, Axis]) -> float:
    there = blocks(4, 4, profile.max_work_group, min(LDS_BYTES, profile.local_bytes))
    product = min(cycles(b, profile, rows, outputs, k, 1) for b in there)
    simds = 4 * max(profile.compute_units, 1)
    waves = -(-rows * k // (4 * WAVE))
    taps = -(-waves // simds) * (TAP * window[0].kernel * window[1].kernel + 100)
    read = rows * window[0].stride * window[1].stride
    moved = 4 * k * (read + 2 * rows) / (profile.bandwidth or 256e9) * CLOCK
    return product + max(taps, moved) + 2 * LAUNCH_CYCLES


def _launch(first: Node, second: Node, window: tuple[Axis, Axis], block: Block,
            profile: DeviceProfile) -> Launch:
    x, middle, y = first.input(0), first.outputs[0], second.outputs[0]
    down, across = window
    w, channels, outputs = second.input(1), x.shape[3], second.input(1).shape[0]
    pixels, rows = down.out * across.out, x.shape[0] * down.out * across.out
    half, turns = halved(w, profile), block.steps(channels)
    one = Axis(1, 1, 1, 1, 0, 0, 1)
    g = Geometry(1, channels, outputs, 1, one, Axis(rows, 1, 1, 1, 0, 0, rows))
    inner, before = compile_steps(steps(first), middle, "i")
    outer, after = compile_steps(steps(second), y)
    numbers = (down.extent, across.extent, channels, channels, across.out, pixels, rows, outputs,
               1, across.kernel, channels, down.stride, across.stride, down.before, across.before,
               down.dilation, across.dilation, turns, 0, pixels, across.out, 1, outputs, 0)
    args = (x, packed(w, g, block, turns, ALL, half), bias(second, outputs), y,
            *map(i32, numbers), Const(first.input(1), "flat", np.ravel), bias(first, channels),
            *before, *after)
    defines = {**block.defines(), "POINT": 0, "HALF_WEIGHTS": int(half), **outer,
               "WINDOW_H": down.kernel, "WINDOW_W": across.kernel,
               "INNER_PARAMS": inner["EPI_PARAMS"], "INNER": inner["EPILOGUE"]}
    size = (-(-outputs // block.width) * block.group, -(-rows // block.rows), 1)
    again = -(-outputs // block.width)
    flops = g.flops + 2 * middle.size * down.kernel * across.kernel * again
    return Launch("gemm", "gemm", args, size, (block.group, 1, 1), defines, flops,
                  even=outputs % 4 == 0)

