"""Convolutions and matrix products with constant weights, in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.engine.epilogue import compile_steps
from app.engine.ir import Const, Data, Fused, Launch, Node, Tensor
from app.engine.ops import dots, unfold, winograd
from app.engine.ops.computed import with_packing
from app.engine.ops.depthwise import depthwise_gpu
from app.engine.ops.gemm import conv_gemm
from app.engine.ops.matmul import dense_launches
from app.engine.ops.precision import halved
from app.engine.ops.tiles import CHUNK_FLOPS, along, dense_tile, depthwise_tile
from app.engine.ops.window import Axis, axes, lying
from app.engine.passes.rows import ROWS_PRODUCT
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, require_dtype, shape

i32 = np.int32


# A name and the function that takes what a kernel wants from the model's weights.
Selection = tuple[str, Callable[[Data], Data]]
ALL: Selection = ("all", np.asarray)


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution as the kernel sees it: an image, two window axes, groups.

    Groups are channels side by side, or where stacked, images one after the other.
    """

    batch: int
    channels: int
    outputs: int
    groups: int
    rows: Axis
    columns: Axis
    pixels: tuple[int, int, int, int] | None = None
    stacked: bool = False

    @property
    def steps(self) -> tuple[int, int, int, int]:
        """First output pixel, and the pixels between images, rows and columns."""
        return self.pixels or (0, self.rows.out * self.columns.out, self.columns.out, 1)

    @property
    def apart(self) -> tuple[int, int, int, int]:
        """How far pixels are apart in x and in y, and groups in x and in y. Units: floats."""
        x, y = self.channels // self.groups, self.outputs // self.groups
        if not self.stacked:
            return self.channels, self.outputs, x, y
        return (x, y, x * self.batch * self.rows.extent * self.columns.extent,
                y * self.batch * self.rows.out * self.columns.out)

    @property
    def flops(self) -> int:
        """Two per multiply-add, padding included."""
        window = self.rows.kernel * self.columns.kernel * self.channels // self.groups
        return 2 * self.batch * self.rows.out * self.columns.out * self.outputs * window


# The dimension of the weights that the outputs are on.
OUTPUTS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}


@shape(*OUTPUTS)
def conv_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,C] * [O,KH,KW,C/groups] or [1,KH,KW,O] -> [N,OH,OW,O].

    Raises: ValueError if the weights are for another number of channels.
    """
    x, w = node.input(0).shape, node.input(1).shape
    more, less = (w[3], x[3]) if node.op == "DEPTHWISE_CONV_2D" else (x[3], w[3])
    if not less or not more or more % less or w[OUTPUTS[node.op]] % (more // less):
        raise ValueError(f"{x[3]} channels by weights of {w}")
    rows, columns = axes(x, (w[1], w[2]), dict(node.options))
    return [(x[0], rows.out, columns.out, w[OUTPUTS[node.op]])]


@op("CONV_2D")
def conv_2d(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a convolution with bias, activation and epilogue in one launch.

    Shapes: x [N,H,W,C], w [O,KH,KW,C/groups], bias [O] -> y [N,OH,OW,O].
    Raises: UnsupportedOp unless x is float32.
    Source: TFLite reference_ops::Conv.
    """
    require_dtype(node, "float32")
    w = node.input(1)
    if w.data is None:
        return with_packing(node, 1, profile, _direct)
    g = _geometry(node)
    if dots.pays(profile, node, g):
        return _direct(node, profile)
    chosen = winograd.way(profile, node, g, steps(node))
    if chosen.tile:
        def product(inner: Node, extents: tuple[int, int, int, int],
                    select: Selection) -> Sequence[Launch]:
            count, pixels, channels, outputs = extents
            row = replace(_row(pixels, count * channels, count * outputs, count),
                          stacked=profile.is_cpu)
            return conv_launch(inner, profile, row, select)

        return winograd.launches(node, g, chosen.tile, bias(node, g.outputs), product,
                                 compile_steps(steps(node), node.outputs[0]), profile)
    return _direct(node, profile)


def _geometry(node: Node) -> Geometry:
    x, w = node.input(0), node.input(1)
    groups = max(1, x.shape[3] // w.shape[3])
    rows, columns = lying(*axes(x.shape, (w.shape[1], w.shape[2]), dict(node.options)))
    return Geometry(x.shape[0], x.shape[3], w.shape[0], groups, rows, columns)


def _direct(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    g = _geometry(node)
    if not dots.pays(profile, node, g) and g.groups == 1 and unfold.pays(
            profile, g.batch, g.channels, g.outputs, g.rows, g.columns):
        pixels = g.batch * g.rows.out * g.columns.out
        window = g.rows.kernel * g.columns.kernel * g.channels
        row = _row(pixels, window, g.outputs)
        return unfold.launches(node, g.rows, g.columns,
                               lambda inner: conv_launch(inner, profile, row))
    return conv_launch(node, profile, flatten(g))


def _row(pixels: int, channels: int, outputs: int, groups: int = 1) -> Geometry:
    """A convolution of single pixels in one long row."""
    one = Axis(1, 1, 1, 1, 0, 0, 1)
    return Geometry(1, channels, outputs, groups, one, Axis(pixels, 1, 1, 1, 0, 0, pixels))


def flatten(g: Geometry) -> Geometry:
    """A 1x1 convolution with stride 1 is one long row: no run of pixels then ends early."""
    plain = all(a.kernel == a.stride == 1 and not a.before and not a.after
                for a in (g.rows, g.columns))
    if not plain:
        return g
    return _row(g.batch * g.rows.out * g.columns.out, g.channels, g.outputs, g.groups)


def conv_launch(node: Node, profile: DeviceProfile, g: Geometry,
                select: Selection = ALL) -> Sequence[Launch]:
    """The launch of one convolution of inputs x, weights, bias.

    Shapes: select turns the weights into [O, KH, KW, C/groups], or any reshaping of that.
    """
    x, w, y = node.input(0), node.input(1), node.outputs[0]
    if not profile.is_cpu:
        return [conv_gemm(x, w, bias(node, g.outputs), y, g, select,
                          *compile_steps(steps(node), y), profile)]
    if dots.pays(profile, node, g):
        return dots.launches(node, profile, g, select, bias(node, g.outputs),
                             compile_steps(steps(node), y))
    of_group = g.outputs // g.groups
    depth = g.rows.kernel * g.columns.kernel * (g.channels // g.groups)
    whole = g.columns.dilation == 1 and g.groups == 1
    run = g.channels // g.groups * (g.columns.kernel if whole else 1)
    tile = dense_tile(profile, g.columns.inner, of_group, depth, run)
    epilogue, operands = compile_steps(steps(node), y)
    tiles = -(-g.columns.inner // tile.rows) if g.columns.inner else 0
    panels = -(-of_group // tile.lanes)
    sets = -(-panels // tile.panels)
    border = g.columns.out - g.columns.inner
    work = 2 * tile.rows * tile.panels * tile.lanes * depth
    half = halved(w, profile)
    chunk = max(1, min(tiles + border, CHUNK_FLOPS // max(work, 1)))
    of_x, of_y, groups_x, groups_y = g.apart
    numbers = (g.rows.extent, g.columns.extent, of_x, g.channels // g.groups, g.rows.out,
               g.columns.out, of_group, g.groups, g.rows.kernel, g.columns.kernel, g.rows.stride,
               g.columns.stride, g.rows.before, g.columns.before, g.rows.dilation,
               g.columns.dilation, g.columns.left, g.columns.inner, tiles, chunk, sets, *g.steps,
               of_y, groups_x, groups_y, 0)
    defines = {"VW": tile.lanes, "RM": tile.rows, "NP": tile.panels,
               "HALF_WEIGHTS": int(half),
               "SEGS": 1 if whole else "KW", **epilogue}
    if tile.lanes == 1:
        defines["ALONG"] = along(profile)
    args = (x, packed(w, g, tile.lanes, select, half), bias(node, g.outputs), y,
            *map(i32, numbers), *operands)
    size = (-(-(tiles + border) // chunk), sets * g.groups, g.batch * g.rows.out)
    return [Launch("conv", "conv", args, size, (1, 1, 1), defines, g.flops)]


def steps(node: Node) -> tuple[Fused, ...]:
    """The node's own activation, then its epilogue."""
    own = str(node.options.get("fused_activation_function", "NONE"))
    return (() if own == "NONE" else (Fused(own),)) + node.epilogue


def bias(node: Node, outputs: int) -> Tensor | Const:
    """Input 2, or zeros in its place."""
    tensor = node.optional(2)
    if tensor is not None:
        return tensor if tensor.data is None else Const(tensor, "flat", np.ravel)
    return Const(ZERO, f"zeros{outputs}", lambda _: np.zeros(outputs, np.float32))


ZERO = Tensor("", (1,), "float32", np.zeros(1, np.float32))


def packed(w: Tensor, g: Geometry, width: int, select: Selection = ALL,
           half: bool = False) -> Const:
    """Weights in panels of width outputs: [group][panel][KH][KW][C/groups][width]."""
    of_group = g.outputs // g.groups
    starts = [min(p * width, of_group - width) for p in range(-(-of_group // width))]

    def pack(data: Data) -> Data:
        rows = select[1](data).reshape(g.groups, of_group, -1)
        panels = [rows[:, s:s + width].transpose(0, 2, 1) for s in starts]
        stacked: Data = np.stack(panels, 1)
        return stacked.astype("f2" if half else "f4", copy=False)

    return Const(w, f"panels{width}/{g.groups} {select[0]} {half}", pack)


@op("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a depthwise convolution; with a multiplier it is a grouped convolution.

    Shapes: x [N,H,W,C], w [1,KH,KW,C*multiplier] -> y [N,OH,OW,C*multiplier].
    Raises: UnsupportedOp unless x is float32.
    Source: TFLite reference_ops::DepthwiseConv.
    """
    require_dtype(node, "float32")
    x, w, y = node.input(0), node.input(1), node.outputs[0]
    if w.data is None:
        return with_packing(node, 1, profile, depthwise_conv_2d)
    rows, columns = lying(*axes(x.shape, (w.shape[1], w.shape[2]), dict(node.options)))
    channels = x.shape[3]
    if w.shape[3] != channels:
        geometry = Geometry(x.shape[0], channels, w.shape[3], channels, rows, columns)
        return conv_launch(node, profile, geometry, OUTPUTS_FIRST)
    if not profile.is_cpu:
        return [depthwise_gpu(x, w, bias(node, channels), y, (rows, columns),
                              *compile_steps(steps(node), y), profile)]
    width, run = depthwise_tile(profile, columns, channels)
    epilogue, operands = compile_steps(steps(node), y)
    numbers = (rows.extent, columns.extent, channels, rows.out, columns.out, rows.stride,
               rows.before, columns.before, rows.dilation)
    defines = {"VW": width, "RM": run, "KH": rows.kernel, "KW": columns.kernel,
               "SW": columns.stride, "DW": columns.dilation, **epilogue}
    args = (x, Const(w, "flat", np.ravel), bias(node, channels), y, *map(i32, numbers), *operands)
    flops = 2 * y.size * rows.kernel * columns.kernel
    size = (-(-channels // width), x.shape[0] * rows.out)
    return [Launch("depthwise", "depthwise", args, size, (1, 1), defines, flops)]


OUTPUTS_FIRST: Selection = ("outputs first", lambda w: w[0].transpose(2, 0, 1))


# Weights of 8 bits in an order of TFLite's own, which only the CPU knows.
SHUFFLED = "SHUFFLED4x16INT8"


@shape("FULLY_CONNECTED")
def fully_connected_shape(node: Node) -> Sequence[Shape]:
    """[..., K] * [O, K] -> [M, O], or [..., O] with keep_num_dims; shuffled weights want a second
    result of x's shape to work in."""
    x, w = node.input(0), node.input(1).shape
    aside = [x.shape] if node.options.get("weights_format") == SHUFFLED else []
    if node.options.get("keep_num_dims"):
        return [(*x.shape[:-1], w[0]), *aside]
    return [(x.size // max(w[1], 1), w[0]), *aside]


@op("FULLY_CONNECTED")
def fully_connected(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a matrix product as a 1x1 convolution; with computed weights as a batch of one.

    Shapes: x [..., K], w [O,K], bias [O] -> y [M,O].
    Raises: UnsupportedOp unless x is float32.
    Source: TFLite reference_ops::FullyConnected.
    """
    require_dtype(node, "float32")
    x, w = node.input(0), node.input(1)
    require(w.shape[1] > 0, "FULLY_CONNECTED of rows without numbers has no kernel")
    if w.data is None:
        return dense_launches(node, profile)
    return conv_launch(node, profile, _row(x.size // w.shape[1], w.shape[1], w.shape[0]))



@op(ROWS_PRODUCT)
def rows_product(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a product of int8 weights with numbers that are rounded to 8 bits row by row.

    Shapes: x [N,H,W,C] or [..., K], w [O,KH,KW,C/groups] or [O,K], bias [O] -> y as the product's.
    Source: TFLite's hybrid kernels, see passes.quantize.
    """
    own: Node = replace(node.options["product"], inputs=node.inputs)
    x, w = node.input(0), node.input(1)
    g = (flatten(_geometry(own)) if own.op == "CONV_2D"
         else _row(x.size // w.shape[1], w.shape[1], w.shape[0]))
    row = int(node.options["row"]) or x.size // x.shape[0]
    return dots.rounded_launches(node, profile, g, row, bool(node.options["symmetric"]),
                                 bias(node, g.outputs),
                                 compile_steps(steps(replace(own, epilogue=node.epilogue)),
                                               node.outputs[0]))
