"""Matrix products of two computed tensors, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.engine.epilogue import compile_steps
from app.engine.ir import Arg, Const, Fused, Launch, Node, Scratch, Tensor
from app.engine.ops.broadcasting import strides
from app.engine.ops.gemm import batch_gemm
from app.engine.ops.movement import dense, strided_copy
from app.engine.ops.tiles import dense_tile
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, require_dtype, shape

i32 = np.int32


@shape("BATCH_MATMUL")
def matmul_shape(node: Node) -> Sequence[Shape]:
    """[..,M,K] * [..,K,N] -> [..,M,N], batches broadcast.

    Raises: ValueError if K differs or the batches do not fit.
    """
    x, w = node.input(0).shape, node.input(1).shape
    m, k = (x[-1], x[-2]) if node.options.get("adj_x") else (x[-2], x[-1])
    k2, n = (w[-1], w[-2]) if node.options.get("adj_y") else (w[-2], w[-1])
    if k != k2:
        raise ValueError(f"{x} and {w} have no product: {k} is not {k2}")
    return [(*np.broadcast_shapes(x[:-2], w[:-2]), m, n)]


@op("BATCH_MATMUL")
def batch_matmul(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a batch of matrix products; a transposed side is copied first.

    Shapes: x [..,M,K], w [..,K,N] -> y [..,M,N].
    Raises: UnsupportedOp unless all are float32 and the batch has at most two runs of dimensions
            that broadcast differently.
    Source: TFLite reference_ops::BatchMatMul.
    """
    require_dtype(node, "float32")
    x, w, y = node.input(0), node.input(1), node.outputs[0]
    require(w.dtype == "float32", "BATCH_MATMUL by quantised weights has no kernel")
    before, left = _straight(x, bool(node.options.get("adj_x")), profile)
    more, right = _straight(w, bool(node.options.get("adj_y")), profile)
    batches = y.shape[:-2], x.shape[:-2], w.shape[:-2]
    return [*before, *more, matmul_launch(node, profile, left, right, batches,
                                          (y.shape[-2], _inner(node), y.shape[-1]))]


def dense_launches(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a fully connected layer whose weights the model computes.

    Shapes: x [...,K], w [O,K], bias [O] -> y [M,O] or [...,O].
    Raises: UnsupportedOp unless all are float32.
    """
    x, w, bias = node.input(0), node.input(1), node.optional(2)
    require(all(t is None or t.dtype == "float32" for t in (x, w, bias)),
            f"{node.op} of computed weights is float32")
    own = str(node.options.get("fused_activation_function", "NONE"))
    first = (*(() if bias is None else (Fused("ADD", bias),)),
             *(() if own == "NONE" else (Fused(own),)))
    whole = replace(node, epilogue=(*first, *node.epilogue))
    left: Arg = x if x.data is None else Const(x, "flat", np.ravel)
    before, right = _straight(w, True, profile)
    outputs, inner = w.shape
    return [*before, matmul_launch(whole, profile, left, right, ((), (), ()),
                                   (x.size // inner, inner, outputs))]


def _inner(node: Node) -> int:
    return node.input(0).shape[-2 if node.options.get("adj_x") else -1]


def _straight(tensor: Tensor, turned: bool,
              profile: DeviceProfile) -> tuple[list[Launch], Arg]:
    if tensor.data is not None:
        return [], Const(tensor, f"matrix {turned}", lambda d: d.swapaxes(-1, -2) if turned else d)
    if not turned:
        return [], tensor
    scratch = Scratch(tensor.nbytes)
    steps = dense(tensor.shape)
    out = (*tensor.shape[:-2], tensor.shape[-1], tensor.shape[-2])
    read = [*steps[:-2], steps[-1], steps[-2]]
    return [strided_copy(tensor, scratch, tensor.dtype, out, read, dense(out), profile)], scratch


def matmul_launch(node: Node, profile: DeviceProfile, left: Arg, right: Arg,
                  batches: tuple[Shape, Shape, Shape], extents: tuple[int, int, int]) -> Launch:
    """The launch of y [..,M,N] = left [..,M,K] * right [..,K,N]; batches are those of y, left and
    right."""
    m, k, n = extents
    y = node.outputs[0]
    batch, xbatch, wbatch = batches
    b1, b2, jumps = _batches(batch, (xbatch, m * k), (wbatch, k * n), node.op)
    defines, operands = compile_steps(node.epilogue, y)
    if not profile.is_cpu:
        return batch_gemm(left, right, y, (m, k, n), b1 * b2, (b2, *jumps), defines, operands,
                          profile)
    tile = dense_tile(profile, m, n, k)
    tiles, panels = -(-m // tile.rows), -(-n // tile.lanes)
    sets = -(-panels // tile.panels)
    args = (left, right, y, *map(i32, (m, k, n, b2, *jumps, tiles, sets)), *operands)
    return Launch("matmul", "matmul", args, (tiles, sets, b1 * b2), (1, 1, 1),
                  {"VW": tile.lanes, "RM": tile.rows, "NP": tile.panels, **defines},
                  2 * b1 * b2 * m * k * n)


def _batches(batch: Shape, x: tuple[Shape, int], w: tuple[Shape, int],
             name: str) -> tuple[int, int, list[int]]:
    # Batch dimensions merge into at most two along which each side either moves or stays.
    rank = len(batch)
    sides = [strides(s, rank) for s, _ in (x, w)]
    dims: list[list[int]] = []
    for axis, extent in enumerate(batch):
        if extent == 1:
            continue
        step = [sides[0][axis] * x[1], sides[1][axis] * w[1]]
        if dims and all(p == s * extent for p, s in zip(dims[-1][1:], step, strict=True)):
            dims[-1] = [dims[-1][0] * extent, *step]
        else:
            dims.append([extent, *step])
    require(len(dims) <= 2, f"{name} with {len(dims)} kinds of batch dimensions has no kernel")
    dims = [[1, 0, 0]] * (2 - len(dims)) + dims
    (b1, x1, w1), (b2, x2, w2) = dims
    return b1, b2, [x1, x2, w1, w2]
