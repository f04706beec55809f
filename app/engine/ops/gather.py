"""Lookups: GATHER, GATHER_ND, embeddings, REVERSE_SEQUENCE, ONE_HOT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Arg, Const, Data, Launch, Node, Tensor
from app.engine.ops.movement import TYPES, chunk
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

i32 = np.int32
INDEX = {"int32": "int", "int64": "long", "int16": "short"}
MAX_DEPTH = 5


def _count(extents: Sequence[int]) -> int:
    return int(np.prod(extents, dtype=np.int64))


def flat(tensor: Tensor) -> Arg:
    """A tensor as a kernel's argument; a constant as one row."""
    return tensor if tensor.data is None else Const(tensor, "flat", np.ravel)


def _operands(node: Node) -> tuple[Tensor, Tensor, int, int]:
    """Table, indices, axis and number of batch dimensions."""
    if node.op == "EMBEDDING_LOOKUP":
        return node.input(1), node.input(0), 0, 0
    x, index = node.input(0), node.input(1)
    batch = int(node.options.get("batch_dims", 0))
    return (x, index, int(node.options.get("axis", 0)) % len(x.shape),
            batch + len(index.shape) if batch < 0 else batch)


@shape("GATHER", "EMBEDDING_LOOKUP")
def gather_shape(node: Node) -> Sequence[Shape]:
    """The axis is replaced by the dimensions of the indices."""
    x, index, axis, batch = _operands(node)
    return [(*x.shape[:axis], *index.shape[batch:], *x.shape[axis + 1:])]


@op("GATHER", "EMBEDDING_LOOKUP")
def gather(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a lookup along one axis.

    Shapes: x [B,O,X,N], indices [B,I] -> y [B,O,I,N].
    Raises: UnsupportedOp for types that no kernel knows.
    """
    x, index, axis, batch = _operands(node)
    y = node.outputs[0]
    _known(node, x, index)
    if not y.size:
        return []
    b, o = _count(x.shape[:batch]), _count(x.shape[batch:axis])
    i, n = _count(index.shape[batch:]), _count(x.shape[axis + 1:])
    per = chunk(n, profile)
    numbers = (b, o, x.shape[axis], i, n, per)
    return [Launch("gather", "gather", (flat(x), flat(index), y, *map(i32, numbers)),
                   (-(-n // per), i, b * o), (profile.group, 1, 1),
                   {"T": TYPES[x.dtype], "TI": INDEX[index.dtype]})]


def _known(node: Node, x: Tensor, index: Tensor) -> None:
    require(x.dtype in TYPES, f"{node.op} on {x.dtype} has no kernel")
    require(index.dtype in INDEX, f"{node.op} by {index.dtype} has no kernel")


@host("GATHER", "EMBEDDING_LOOKUP")
def gather_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Fold a lookup in a constant."""
    _, index_tensor, axis, batch = _operands(node)
    x, index = (arrays[1], arrays[0]) if node.op == "EMBEDDING_LOOKUP" else (arrays[0], arrays[1])
    assert x is not None
    assert index is not None
    b, o = _count(x.shape[:batch]), _count(x.shape[batch:axis])
    table = x.reshape(b, o, x.shape[axis], -1)
    rows = index.reshape(b, -1)
    taken = [table[i][:, rows[i]] for i in range(b)]
    extents = (*x.shape[:axis], *index_tensor.shape[batch:], *x.shape[axis + 1:])
    return [np.stack(taken).reshape(extents)]


@shape("GATHER_ND")
def gather_nd_shape(node: Node) -> Sequence[Shape]:
    """One slice of x per row of indices.

    Raises: ValueError if the rows are longer than x has dimensions.
    """
    x, index = node.input(0).shape, node.input(1).shape
    if index[-1] > len(x):
        raise ValueError(f"indices of {index[-1]} numbers into {x}")
    return [(*index[:-1], *x[index[-1]:])]


@op("GATHER_ND")
def gather_nd(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a lookup by several indices.

    Raises: UnsupportedOp for types that no kernel knows, or more than 5 indices.
    """
    x, index, y = node.input(0), node.input(1), node.outputs[0]
    _known(node, x, index)
    depth = index.shape[-1]
    require(depth <= MAX_DEPTH, f"GATHER_ND by {depth} indices has no kernel")
    if not y.size:
        return []
    rows, n = _count(index.shape[:-1]), _count(x.shape[depth:])
    extents = [1] * (MAX_DEPTH - depth) + list(x.shape[:depth])
    per = chunk(n, profile)
    return [Launch("gather", "gather_nd",
                   (flat(x), flat(index), y, *map(i32, (rows, depth, n, *extents, per))),
                   (-(-n // per), rows), (profile.group, 1),
                   {"T": TYPES[x.dtype], "TI": INDEX[index.dtype]})]


@host("GATHER_ND")
def gather_nd_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Fold a lookup in a constant."""
    x, index = arrays
    assert x is not None
    assert index is not None
    return [x[tuple(np.moveaxis(index, -1, 0))]]


@shape("REVERSE_SEQUENCE")
def reversed_shape(node: Node) -> Sequence[Shape]:
    """Output as input.

    Raises: ValueError if there is not one length for each line.
    """
    x, lengths = node.input(0).shape, node.input(1).shape
    lines, _ = _reversed_axes(node)
    if lengths != (x[lines],):
        raise ValueError(f"{lengths} lengths for {x[lines]} lines")
    return [x]


def _reversed_axes(node: Node) -> tuple[int, int]:
    """The axis of the lines and that of the places in them.

    Raises: ValueError if they are none, or the same.
    """
    rank = len(node.input(0).shape)
    lines, places = (int(node.options[key]) for key in ("batch_dim", "seq_dim"))
    if not (0 <= lines < rank and 0 <= places < rank and lines != places):
        raise ValueError(f"dimensions {lines} and {places} of {rank}")
    return lines, places


@op("REVERSE_SEQUENCE")
def reverse_sequence(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = x with the beginning of each line in the other order; each has its own length.

    Shapes: x [X0..], lengths [lines] -> y as x.
    Raises: UnsupportedOp for types that no kernel knows.
    Source: TFLite reference_ops::ReverseSequence.
    """
    x, lengths, y = node.input(0), node.input(1), node.outputs[0]
    _known(node, x, lengths)
    if not y.size:
        return []
    lines, places = _reversed_axes(node)
    first, second = sorted((lines, places))
    o, p, m = _count(x.shape[:first]), x.shape[first], _count(x.shape[first + 1:second])
    q, n = x.shape[second], _count(x.shape[second + 1:])
    per = chunk(n, profile)
    return [Launch("gather", "reversed_rows",
                   (flat(x), flat(lengths), y,
                    *map(i32, (o, p, m, q, n, int(lines < places), per))),
                   (-(-n // per), q, o * p * m), (profile.group, 1, 1),
                   {"T": TYPES[x.dtype], "TI": INDEX[lengths.dtype]}, y.size)]


@shape("ONE_HOT")
def one_hot_shape(node: Node) -> Sequence[Shape]:
    """A new dimension of the given depth.

    Raises: UnsupportedOp if the model computes the depth.
    """
    index, depth = node.input(0).shape, node.input(1).data
    require(depth is not None, "ONE_HOT of a computed depth has no kernel")
    assert depth is not None
    axis = int(node.options.get("axis", -1)) % (len(index) + 1)
    return [(*index[:axis], int(depth.reshape(-1)[0]), *index[axis:])]


@op("ONE_HOT")
def one_hot(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = on where the index is the place, else off.

    Raises: UnsupportedOp for types that no kernel knows.
    """
    index, on, off, y = node.input(0), node.input(2), node.input(3), node.outputs[0]
    _known(node, on, index)
    axis = int(node.options.get("axis", -1)) % len(y.shape)
    if not y.size:
        return []
    o, k, i = _count(y.shape[:axis]), y.shape[axis], _count(y.shape[axis + 1:])
    return [Launch("gather", "one_hot",
                   (flat(index), flat(on), flat(off), y, *map(i32, (o, k, i))), (i, k, o),
                   (1, profile.group, 1), {"T": TYPES[y.dtype], "TI": INDEX[index.dtype]})]
