"""Products of 8-bit integers by the dot products of four that some CPUs have, exactly.

The activations that passes.quantize holds as floats become bytes again, in an image that is padded,
so that no window is at a border. The instruction takes its first factor without a sign: a constant
is added to it, and taken back from the sums.
Source: Intel's manual of instructions, VPDPBUSD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from app.engine.ir import Arg, Const, Data, Launch, Node, Tensor
from app.engine.ops.tiles import CHUNK_FLOPS, Tile, dot_tile, lanes
from app.engine.ops.window import Axis
from app.engine.profile import DeviceProfile

if TYPE_CHECKING:
    from app.engine.ops.conv import Geometry, Selection

i32 = np.int32
# What compile_steps makes of an epilogue.
Compiled = tuple[dict[str, str | int], list[Arg]]
# The fewest outputs of a group that lanes are made of.
LEAST = 8
# Bytes that follow an image, so that the last four of a window may be read at once.
SLACK = 4
# Numbers that a work-item turns into bytes where there are no rows.
LINE = 1 << 14


def pays(profile: DeviceProfile, node: Node, g: Geometry) -> bool:
    """Whether a convolution is of 8-bit numbers on a device that has such dot products."""
    return (profile.dots and "zero" in node.options and g.outputs // g.groups >= LEAST
            and not g.stacked and g.rows.out > 0 and g.columns.out > 0 and g.batch > 0)


def launches(node: Node, profile: DeviceProfile, g: Geometry, select: Selection, bias: Arg,
             compiled: Compiled) -> list[Launch]:
    """Turn the input into bytes, multiply.

    Shapes: x [N,H,W,C] float32 of integers, w as g and select have it, of integers that int8 can
            hold when "shift" of them is taken away, bias [O] of integers.
    """
    zero, shift = int(node.options["zero"]), int(node.options["shift"])
    first, made = _bytes(node.input(0), node.outputs[0], g, zero)
    sums = Const(node.input(1), f"sums {select[0]} {g.groups} {zero}",
                 lambda data: -zero * _sums(select[1](data), g))
    return [first, _product(node, profile, g, select, (made, sums, bias), (), compiled, shift)]


def rounded_launches(node: Node, profile: DeviceProfile, g: Geometry, row: int, symmetric: bool,
                     bias: Arg, compiled: Compiled) -> list[Launch]:
    """Round the input to 8 bits over the range of each of its rows, multiply.

    Shapes: x [N,H,W,C] float32 in rows of so many numbers, w [O,KH,KW,C/groups] int8 with scales,
            bias [O]; where g pads, rows are images.
    Source: TFLite's hybrid kernels, see passes.quantize.
    """
    x, w, y = node.input(0), node.input(1), node.outputs[0]
    assert w.quant is not None
    scales = np.asarray(w.quant.scales, np.float32)
    rows, (image, width) = x.size // row, _padded(g)
    height, lines, line = _height(image), image.extent, g.columns.extent * g.channels
    if not _pads(g):
        height, lines, line, width = 1, 1, row, row
    made = Tensor(f"{y.name}/bytes", (rows * height * width + SLACK,), "uint8")
    ranges = Tensor(f"{y.name}/ranges", (rows, 2), "float32")
    numbers = (rows, lines, line, height, width, image.before if _pads(g) else 0,
               _left(g) * g.channels)
    first = Launch("rows", "rows_bytes", (x, made, ranges, *map(i32, numbers)), (rows, 1, 1),
                   (1, 1, 1), {"VW": lanes(profile, line), "SYMMETRIC": int(symmetric),
                               "BYTES": 1}, x.size)
    sums = Const(w, "sums of rows", lambda data: _sums(data, g))
    by_output = Const(w, "scales", lambda _: np.broadcast_to(scales, g.outputs))
    per = g.batch * g.rows.out * g.columns.out // rows
    return [first, _product(node, profile, g, ("all", np.asarray), (made, sums, bias),
                            (ranges, by_output, i32(per)), compiled)]


def _product(node: Node, profile: DeviceProfile, g: Geometry, select: Selection,
             factors: tuple[Arg, Arg, Arg], rows: tuple[Arg, ...], compiled: Compiled,
             shift: int = 0) -> Launch:
    """The launch that multiplies; factors are the bytes, their part of the sums and the bias."""
    w, y = node.input(1), node.outputs[0]
    made, sums, bias = factors
    image, width = _padded(g)
    of_group, depth = g.outputs // g.groups, g.channels // g.groups
    together = g.columns.dilation == 1 and g.groups == 1
    segments = 1 if together else max(g.columns.kernel, 1)
    segment = -(-(depth * g.columns.kernel // segments) // 4)
    tile = dot_tile(profile, g.columns.out, of_group, g.rows.kernel * segments * segment,
                    bool(shift))
    panels = -(-of_group // tile.lanes)
    sets = -(-panels // tile.panels)
    tiles = -(-g.columns.out // tile.rows)
    window = g.rows.kernel * g.columns.kernel * depth
    work = 2 * tile.rows * tile.panels * tile.lanes * window
    chunk = max(1, min(tiles, CHUNK_FLOPS // max(work, 1)))
    start = (image.before - g.rows.before) * width + (_left(g) - g.columns.before) * g.channels
    _, of_y, _, groups_y = g.apart
    numbers = (start, _height(image) * width, depth,
               g.rows.stride * width, g.columns.stride * g.channels, g.rows.dilation * width,
               g.columns.dilation * g.channels, g.rows.out, g.columns.out, of_group, g.groups,
               g.rows.kernel, segments, segment, tiles, chunk, sets, *g.steps, of_y, groups_y, 0)
    epilogue, operands = compiled
    more = rows
    if shift:
        taps = depth * g.columns.kernel // segments
        more = Const(w, f"ones {taps}", lambda _: _ones(taps, segment)), i32(shift)
    args = (made, _packed(w, g, tile, select, segments, segment, shift), sums, bias, y,
            *map(i32, numbers), *more, *operands)
    size = (-(-tiles // chunk), sets * g.groups, g.batch * g.rows.out)
    return Launch("dots", "dots", args, size, (1, 1, 1),
                  {"VW": tile.lanes, "RM": tile.rows, "NP": tile.panels, "ROWS": int(bool(rows)),
                   "SHIFTED": int(bool(shift)), **epilogue}, g.flops)


def _left(g: Geometry) -> int:
    return max(0, g.columns.before)


def _padded(g: Geometry) -> tuple[Axis, int]:
    """The rows of the padded image, and the bytes of one."""
    rows, columns = g.rows, g.columns
    before = max(0, rows.before)
    last = (rows.out - 1) * rows.stride + rows.reach - rows.before
    image = Axis(rows.extent, 1, 1, 1, before, max(0, last - rows.extent), rows.out)
    last = (columns.out - 1) * columns.stride + columns.reach - columns.before
    return image, (_left(g) + max(columns.extent, last)) * g.channels


def _height(image: Axis) -> int:
    return image.before + image.extent + image.after


def _pads(g: Geometry) -> bool:
    image, width = _padded(g)
    return _height(image) > image.extent or width > g.columns.extent * g.channels


def _bytes(x: Tensor, y: Tensor, g: Geometry, zero: int) -> tuple[Launch, Tensor]:
    image, width = _padded(g)
    lines, line, height = image.extent, g.columns.extent * g.channels, _height(image)
    total = g.batch * lines * line
    count = g.batch * height
    if not _pads(g):
        line = width = min(LINE, total)
        lines = height = count = -(-total // line)
    made = Tensor(f"{y.name}/bytes", (count * width + SLACK,), "uint8")
    numbers = (lines, line, total, height, width, image.before, _left(g) * g.channels, count - 1,
               zero)
    return Launch("bytes", "bytes", (x, made, *map(i32, numbers)), (count, 1, 1), (1, 1, 1),
                  {"VW": 16}, total), made


def _packed(w: Tensor, g: Geometry, tile: Tile, select: Selection, segments: int,
            segment: int, shift: int) -> Const:
    """[group][panel][KH * segments * segment][lanes][4], zeros at the ends of segments."""
    of_group = g.outputs // g.groups
    starts = [min(p * tile.lanes, of_group - tile.lanes) for p in range(-(-of_group // tile.lanes))]

    def pack(data: Data) -> Data:
        taps = g.columns.kernel * (g.channels // g.groups) // segments
        rows = select[1](data).reshape(g.groups, of_group, g.rows.kernel * segments, taps)
        filled = np.zeros((*rows.shape[:3], 4 * segment), np.int8)
        filled[..., :taps] = rows - shift
        panels = np.stack([filled[:, s:s + tile.lanes] for s in starts], 1)
        # [group, panel, lane, segment, 4 * k] -> [group, panel, segment, k, lane, 4]
        split = panels.reshape(*panels.shape[:4], segment, 4)
        return np.ascontiguousarray(split.transpose(0, 1, 3, 4, 2, 5))

    return Const(w, f"dots{tile.lanes}/{g.groups} {select[0]} {segments}", pack)


def _ones(taps: int, segment: int) -> Data:
    """Ones for the taps of a segment, zeros behind them."""
    ones = np.zeros(4 * segment, np.int8)
    ones[:taps] = 1
    return ones


def _sums(w: Data, g: Geometry) -> Data:
    """The weights of each output in sum: what a constant that is added to x adds, by that."""
    sums: Data = w.reshape(g.outputs, w.size // g.outputs).sum(1, dtype=np.float64)
    return sums.astype(np.int32)
