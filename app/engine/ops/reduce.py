"""Reductions over axes, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from app.engine.epilogue import compile_steps, uses_channel
from app.engine.ir import Arg, Fused, Launch, Node, Scratch, Tensor
from app.engine.ops.cast import TYPES
from app.engine.ops.gemm import WAVE
from app.engine.ops.tiles import lanes
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, require_dtype, shape

i32 = np.int32
KINDS = {
    "MEAN": {"INIT": "0.0f", "STEP": "v += in;", "DONE": "v /= (float)count;"},
    "SUM": {"INIT": "0.0f", "STEP": "v += in;", "DONE": ""},
    "REDUCE_PROD": {"INIT": "1.0f", "STEP": "v *= in;", "DONE": ""},
    # NaN is taken, and gives way to what comes after it, as TFLite's.
    "REDUCE_MAX": {"INIT": "-INFINITY", "STEP": "v = v > in ? v : in;", "DONE": ""},
    "REDUCE_MIN": {"INIT": "INFINITY", "STEP": "v = v < in ? v : in;", "DONE": ""},
}
# The same on integers; a largest begins with the first value.
WHOLE = {
    "SUM": ("0", "v += in"), "REDUCE_PROD": ("1", "v *= in"),
    "REDUCE_MAX": ("x[0]", "v = max(v, in)"), "REDUCE_MIN": ("x[0]", "v = min(v, in)"),
    "REDUCE_ANY": ("0", "v = v || in"), "REDUCE_ALL": ("1", "v = v && in"),
}
LOGIC = ("REDUCE_ANY", "REDUCE_ALL")
INTEGERS = ("int32", "int64")


def reduced_axes(node: Node) -> tuple[int, ...]:
    """The axes, counted from the front.

    Raises: UnsupportedOp if they are computed by the model.
    """
    axes = node.input(1).data
    require(axes is not None, f"{node.op} over computed axes has no kernel")
    assert axes is not None
    rank = len(node.input(0).shape)
    return tuple(sorted({int(a) % max(rank, 1) for a in axes.reshape(-1)}))


@shape(*KINDS, *LOGIC)
def reduce_shape(node: Node) -> Sequence[Shape]:
    """Reduced axes vanish, or become 1 with keep_dims."""
    gone, x = reduced_axes(node), node.input(0).shape
    if node.options.get("keep_dims"):
        return [tuple(1 if i in gone else e for i, e in enumerate(x))]
    return [tuple(e for i, e in enumerate(x) if i not in gone)]


@op(*KINDS)
def reduce(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a reduction over at most two separate runs of axes.

    Shapes: x of any rank, seen as [A,P,B,Q,C] with P and Q reduced -> y [A,B,C].
    Raises: UnsupportedOp unless x is float32 or of integers, and the axes are constant.
    Source: TFLite reference_ops::Mean, Sum, ReduceMax.
    """
    x, y = node.input(0), node.outputs[0]
    if x.dtype in INTEGERS and node.op in WHOLE:
        return _whole(node, profile)
    require_dtype(node, "float32")
    if not y.size:
        return []
    extents = runs(x.shape, reduced_axes(node), node.op)
    if not profile.is_cpu:
        return fold_gpu(x, y, extents, KINDS[node.op], node.epilogue, profile)
    a, p, b, q, c = extents
    row = y.shape[-1] if uses_channel(node.epilogue, y) else c
    width = lanes(profile, c) if row == c else 1
    defines, operands = compile_steps(node.epilogue, y)
    return [Launch("reduce", "reduce", (x, y, *map(i32, (a, p, b, q, c, row)), *operands),
                   (-(-c // width), b, a), (min(profile.group, 64), 1, 1),
                   {"VW": width, **KINDS[node.op], **defines}, x.size)]


@op(*LOGIC)
def logic(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan whether any, or all, of the values along axes are true.

    Raises: UnsupportedOp unless x is bool and the axes are constant.
    """
    require_dtype(node, "bool")
    return _whole(node, profile)


def _whole(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    x, y = node.input(0), node.outputs[0]
    if not y.size:
        return []
    a, p, b, q, c = runs(x.shape, reduced_axes(node), node.op)
    first, step = WHOLE[node.op]
    require(x.size > 0 or first != "x[0]", f"{node.op} of nothing has no kernel")
    return [Launch("scan", "fold", (x, y, *map(i32, (a, p, b, q, c))), (c, b, a),
                   (profile.group, 1, 1),
                   {"T": TYPES[x.dtype], "TY": TYPES[y.dtype], "BETTER(v, best)": "false",
                    "INIT": first, "STEP": step}, x.size)]


def fold_gpu(x: Tensor, y: Tensor, extents: Sequence[int], kind: Mapping[str, str],
             steps: Sequence[Fused], profile: DeviceProfile) -> list[Launch]:
    """Reduce x, seen as [A,P,B,Q,C], over P and Q on a card: in one launch, or where few lanes
    would take long, in slices first.

    kind: INIT, STEP and DONE as in KINDS; STEP also folds what it has made.
    """
    a, p, b, q, c = extents
    count, vectors = p * q, -(-c // lanes(profile, c)) * a * b
    row = y.shape[-1] if uses_channel(steps, y) else c
    defines, operands = compile_steps(steps, y)

    def launch(source: Arg, target: Arg, seen: Sequence[int], slices: int,
               texts: Mapping[str, str | int], more: Sequence[Arg]) -> Launch:
        a, p, b, q, c = seen
        width = lanes(profile, c)
        # A vector lies in one row.
        if row != c and (c % width or row % width):
            width = 1
        share = _share(-(-p * q // slices), vectors * slices)
        group = max(WAVE, share)
        size = (-(-c // (width * (group // share))) * group, b, a * slices)
        return Launch("reduce_gpu", "reduce_gpu",
                      (source, target, *map(i32, (*seen, row, slices, count)), *more),
                      size, (group, 1, 1),
                      {"VW": width, "SHARE": share, "GROUP": group, **texts},
                      a * p * b * q * c, even=c % width == 0)

    slices = _slices(count, vectors)
    if slices == 1:
        return [launch(x, y, extents, 1, {**kind, **defines}, operands)]
    parts = Scratch(4 * slices * y.size)
    return [launch(x, parts, extents, slices, {**kind, "DONE": ""}, ()),
            launch(parts, y, (1, 1, 1, slices, y.size), 1, {**kind, **defines}, operands)]


# Lanes that take one result's values in turn: as many as a work-group may have.
MOST = 256
# Values that a lane takes one after the other, in not much more time than another launch costs.
TURNS = 64


def _share(count: int, vectors: int) -> int:
    # Lanes for one result: none may be without a value, nor a wavefront without results.
    share = 1
    while share < WAVE and share < count and (vectors * share < WAVE * WAVE or share * 8 < count):
        share *= 2
    while WAVE <= share < MOST and share * 16 < count:
        share *= 2
    return share


def _slices(count: int, vectors: int) -> int:
    """Parts that a reduction is done in first: as many as leave a lane few values."""
    if count <= MOST * TURNS or vectors > WAVE:
        return 1
    return min(MOST, -(-count // (MOST * 8)))


def runs(shape_: Shape, gone: Sequence[int], name: str) -> list[int]:
    """Merge neighbouring axes that are all kept or all reduced into [A,P,B,Q,C]."""
    groups: list[list[int]] = []
    for index, extent in enumerate(shape_):
        kind = int(index in gone)
        if extent == 1:
            continue
        if groups and groups[-1][0] == kind:
            groups[-1][1] *= extent
        else:
            groups.append([kind, extent])
    if groups and groups[0][0] == 1:
        groups.insert(0, [0, 1])
    if len(groups) % 2 == 0:
        groups.append([0, 1])
    sizes = [extent for _, extent in groups]
    require(len(sizes) <= 5, f"{name} over {len(gone)} separate axes has no kernel")
    if len(sizes) == 1:
        return [1, 1, 1, 1, sizes[0]]
    if len(sizes) == 3:
        return [sizes[0], 1, 1, sizes[1], sizes[2]]
    return sizes
