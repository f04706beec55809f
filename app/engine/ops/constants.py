"""Ops that only ever stand before constants: fp16 weights, sparse weights, shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node, Sparsity
from app.engine.registry import Shape, host, shape
from app.tensors import along


@shape("DEQUANTIZE", "DENSIFY", "CAST", "QUANTIZE")
def same(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@host("DEQUANTIZE")
def dequantize(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """float = scale * (quantised - zero point); float16 only widens."""
    data, quant = arrays[0], node.input(0).quant
    assert data is not None
    if data.dtype == np.float16 or quant is None:
        return [data.astype(np.float32)]
    scales = along(quant.scales, quant, data.shape).astype(np.float32)
    zeros = along(quant.zero_points, quant, data.shape).astype(np.int32)
    return [(data.astype(np.int32) - zeros).astype(np.float32) * scales]


@host("DENSIFY")
def densify(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Spread the stored values of a sparse constant over its dense shape."""
    tensor = node.input(0)
    assert arrays[0] is not None
    if tensor.sparsity is None:
        return [arrays[0].reshape(tensor.shape)]
    return [unpack_sparse(arrays[0], tensor.shape, tensor.sparsity)]


def unpack_sparse(values: Data, shape_: Shape, sparsity: Sparsity) -> Data:
    """The dense form of a tensor stored level by level, blocks innermost.

    Shapes: values as stored; result shape_.
    Source: tensorflow/lite/schema: SparsityParameters (TACO's format abstraction).
    """
    rank = len(shape_)
    blocks = [1] * rank
    for level, axis in enumerate(sparsity.block_map):
        blocks[axis] = sparsity.dimensions[rank + level][1]
    dense = np.zeros(shape_, values.dtype)
    steps = [s // dense.itemsize for s in dense.strides]
    # How far apart neighbours of each level are in the dense form.
    apart = [steps[axis] * blocks[axis] if axis < rank else steps[sparsity.block_map[axis - rank]]
             for axis in sparsity.order]
    place = _walk(sparsity, apart)
    dense.reshape(-1)[place] = values.reshape(-1)[:len(place)]
    return dense


def _walk(sparsity: Sparsity, apart: Sequence[int]) -> Data:
    # The place of every stored value, grown one level at a time.
    place = np.zeros(1, np.int64)
    position = np.zeros(1, np.int64)
    for (kind, *parts), step in zip(sparsity.dimensions, apart, strict=True):
        if kind == "dense":
            inside = np.arange(parts[0])
            place = np.add.outer(place, inside * step).reshape(-1)
            position = np.add.outer(position * parts[0], inside).reshape(-1)
            continue
        segments, indices = parts
        begin, counts = segments[position], segments[position + 1] - segments[position]
        position = np.repeat(begin - (np.cumsum(counts) - counts), counts)
        position += np.arange(len(position))
        place = np.repeat(place, counts)
        place += indices[position] * step
    return place


@shape("SHAPE")
def shape_of(node: Node) -> Sequence[Shape]:
    """One number per dimension."""
    return [(len(node.input(0).shape),)]


@host("SHAPE")
def shape_value(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The extents, known as soon as the shapes are."""
    return [np.asarray(node.input(0).shape, node.outputs[0].dtype)]


@shape("RANK")
def rank_shape(node: Node) -> Sequence[Shape]:
    """A scalar."""
    return [()]


@host("RANK")
def rank_value(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The number of dimensions."""
    return [np.asarray(len(node.input(0).shape), np.int32)]
