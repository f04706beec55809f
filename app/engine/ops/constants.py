"""Ops that only ever stand before constants: fp16 weights, sparse weights, shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node, Sparsity
from app.engine.registry import Shape, host, shape


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
    shape_ = [1] * data.ndim
    if len(quant.scales) > 1:
        shape_[quant.axis] = len(quant.scales)
    scales = np.asarray(quant.scales, np.float32).reshape(shape_)
    zeros = np.asarray(quant.zero_points, np.int32).reshape(shape_)
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
    coordinates = _walk(sparsity)
    rank = len(shape_)
    blocks = [1] * rank
    for level, axis in enumerate(sparsity.block_map):
        blocks[axis] = sparsity.dimensions[rank + level][1]
    place = np.zeros((len(coordinates), rank), np.int64)
    for level, axis in enumerate(sparsity.order):
        if axis < rank:
            place[:, axis] += coordinates[:, level] * blocks[axis]
        else:
            place[:, sparsity.block_map[axis - rank]] += coordinates[:, level]
    dense = np.zeros(shape_, values.dtype)
    dense[tuple(place.T)] = values.reshape(-1)[:len(place)]
    return dense


def _walk(sparsity: Sparsity) -> Data:
    # One row of level coordinates per stored value, grown one level at a time.
    rows = np.zeros((1, 0), np.int64)
    position = np.zeros(1, np.int64)
    for kind, *parts in sparsity.dimensions:
        if kind == "dense":
            size = parts[0]
            index = np.tile(np.arange(size), len(rows))
            parent = np.repeat(np.arange(len(rows)), size)
            position = np.repeat(position, size) * size + index
        else:
            segments, indices = parts
            counts = segments[position + 1] - segments[position]
            parent = np.repeat(np.arange(len(rows)), counts)
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            position = np.repeat(segments[position], counts) + within
            index = indices[position]
        rows = np.concatenate([rows[parent], index[:, None]], 1)
    return rows


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
