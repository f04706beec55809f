"""PACK, mirrored padding and the exchange of space and batch: several copies into one output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from app.engine.ir import Data, Launch, Node
from app.engine.ops.movement import TYPES, fill_launch
from app.engine.ops.views import MAX_COPIES, constant, copy_view, picture
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

Pairs = list[tuple[int, int]]


@shape("PACK")
def pack_shape(node: Node) -> Sequence[Shape]:
    """A new dimension for the inputs.

    Raises: ValueError if they differ in shape.
    """
    shapes = [t.shape for t in node.inputs if t is not None]
    if len(set(shapes)) != 1:
        raise ValueError(f"{shapes} do not pack")
    axis = int(node.options.get("axis", 0)) % (len(shapes[0]) + 1)
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


@host("PACK")
def pack_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Fold the packing of constants: shapes, mostly."""
    return [np.stack([a for a in arrays if a is not None], int(node.options.get("axis", 0)))]


@op("PACK")
def pack(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan one copy per input."""
    y = node.outputs[0]
    axis = int(node.options.get("axis", 0)) % len(y.shape)
    before: tuple[Any, ...] = (slice(None),) * axis
    whole = picture(y.shape)
    launches = []
    for i in range(len(node.inputs)):
        x, source = node.input(i), picture(node.input(i).shape)
        launches += copy_view(x, source, y, whole[(*before, i, ...)], (source, whole),
                              profile)
    return launches


def pairs(node: Node, position: int) -> Pairs:
    """A constant [n, 2] as pairs."""
    flat = constant(node, position)
    return list(zip(flat[::2], flat[1::2], strict=True))


@shape("MIRROR_PAD")
def mirror_shape(node: Node) -> Sequence[Shape]:
    """Each extent grows by its paddings.

    Raises: ValueError if there is less to mirror than is asked for.
    """
    x, amounts = node.input(0).shape, pairs(node, 1)
    edge = _edge(node)
    if any(max(p) > e - edge for p, e in zip(amounts, x, strict=True)):
        raise ValueError(f"{x} can't be mirrored by {amounts}")
    return [tuple(e + b + a for e, (b, a) in zip(x, amounts, strict=True))]


def _edge(node: Node) -> int:
    return int(node.options.get("mode") in ("REFLECT", 0))


@host("MIRROR_PAD")
def mirror_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """numpy has the same two modes."""
    assert arrays[0] is not None
    if _edge(node):
        return [np.pad(arrays[0], pairs(node, 1), mode="reflect")]
    return [np.pad(arrays[0], pairs(node, 1), mode="symmetric")]


@op("MIRROR_PAD")
def mirror_pad(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a copy of the middle and one per border, corners included.

    Raises: UnsupportedOp if more than 32 copies are needed.
    """
    x, y = node.input(0), node.outputs[0]
    source, target = picture(x.shape), picture(y.shape)
    bands = [list(_bands(e, b, a, _edge(node)))
             for e, (b, a) in zip(x.shape, pairs(node, 1), strict=True)]
    boxes = list(product(*bands))
    require(len(boxes) <= MAX_COPIES, f"MIRROR_PAD of {len(boxes)} regions has no kernel")
    launches = []
    for box in boxes:
        read = source[tuple(r for r, _ in box)]
        launches += copy_view(x, read, y, target[tuple(w for _, w in box)], (source, target),
                              profile)
    return launches


def _bands(extent: int, before: int, after: int, edge: int) -> Iterator[tuple[slice, slice]]:
    yield slice(None), slice(before, before + extent)
    if before:
        stop = edge - 1
        yield (slice(before + stop, None if stop < 0 else stop, -1), slice(0, before))
    if after:
        first = extent - 1 - edge
        last = first - after
        yield (slice(first, None if last < 0 else last, -1),
               slice(before + extent, before + extent + after))


@shape("SPACE_TO_BATCH_ND")
def to_batch_shape(node: Node) -> Sequence[Shape]:
    """[N,H,W,...] -> [N*b, (H+p)/b, ...].

    Raises: ValueError if a padded extent is no multiple of its block.
    """
    x, block, pads = node.input(0).shape, constant(node, 1), pairs(node, 2)
    padded = [e + b + a for e, (b, a) in zip(x[1:], pads, strict=False)]
    if any(e % b for e, b in zip(padded, block, strict=True)):
        raise ValueError(f"{padded} is no multiple of {block}")
    inner = [e // b for e, b in zip(padded, block, strict=True)]
    return [(x[0] * int(np.prod(block)), *inner, *x[1 + len(block):])]


@shape("BATCH_TO_SPACE_ND")
def to_space_shape(node: Node) -> Sequence[Shape]:
    """[N*b, h, w, ...] -> [N, h*b - crops, ...].

    Raises: ValueError if the batch is no multiple of the blocks.
    """
    x, block, crops = node.input(0).shape, constant(node, 1), pairs(node, 2)
    if x[0] % int(np.prod(block)):
        raise ValueError(f"a batch of {x[0]} has no blocks of {block}")
    inner = [e * b - before - after for e, b, (before, after) in
             zip(x[1:], block, crops, strict=False)]
    return [(x[0] // int(np.prod(block)), *inner, *x[1 + len(block):])]


@op("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
def exchange(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan one strided copy per place in a block, after a fill where there is padding.

    Raises: UnsupportedOp if a block has more than 32 places.
    """
    x, y = node.input(0), node.outputs[0]
    block, amounts = constant(node, 1), pairs(node, 2)
    gather = node.op == "SPACE_TO_BATCH_ND"
    require(int(np.prod(block)) <= MAX_COPIES, f"{node.op} by {block} has no kernel")
    require(y.dtype in TYPES, f"{node.op} on {y.dtype} has no kernel")
    wide, deep = picture((x if gather else y).shape), picture((y if gather else x).shape)
    launches = []
    if gather and any(map(any, amounts)):
        launches.append(fill_launch(y, _zero(node), profile))
    for part, pixels in _places(wide, deep, block, amounts):
        ends = (pixels, part) if gather else (part, pixels)
        base = (wide, deep) if gather else (deep, wide)
        launches += copy_view(x, ends[0], y, ends[1], base, profile)
    return launches


def _places(wide: Data, deep: Data, block: Sequence[int], amounts: Pairs,
            ) -> Iterator[tuple[Data, Data]]:
    images = wide.shape[0]
    for slab, offsets in enumerate(product(*map(range, block))):
        inside: list[slice] = []
        outside: list[slice] = []
        for axis, (offset, b, (before, _)) in enumerate(zip(offsets, block, amounts, strict=True)):
            # Row i of the slab is row i*b + offset - before of the image.
            first = max(0, -(-(before - offset) // b))
            pixel = first * b + offset - before
            count = max(0, min(deep.shape[axis + 1] - first,
                               -(-(wide.shape[axis + 1] - pixel) // b)))
            inside.append(slice(first, first + count))
            outside.append(slice(pixel, pixel + (count - 1) * b + 1 if count else pixel, b))
        rows = slice(slab * images, (slab + 1) * images)
        yield deep[(rows, *inside)], wide[(slice(None), *outside)]


def _zero(node: Node) -> str:
    quant = node.outputs[0].quant
    return str(quant.zero_points[0]) if quant and node.outputs[0].dtype != "float32" else "0"


@host("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
def exchange_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same copies, by numpy."""
    x, y = arrays[0], np.full(node.outputs[0].shape, int(_zero(node)), node.outputs[0].dtype)
    assert x is not None
    gather = node.op == "SPACE_TO_BATCH_ND"
    wide, deep = (x, y) if gather else (y, x)
    for part, pixels in _places(wide, deep, constant(node, 1), pairs(node, 2)):
        if gather:
            part[...] = pixels
        else:
            pixels[...] = part
    return [y]
