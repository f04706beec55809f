"""How often numbers occur, which occur, and where they would stand in order: on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.registry import Shape, host, require, shape


@shape("DENSE_BINCOUNT")
def counts_shape(node: Node) -> Sequence[Shape]:
    """[N] or [B,N] -> [size] or [B,size].

    Raises: ValueError of other ranks; UnsupportedOp of a computed size.
    """
    x, size = node.input(0).shape, node.input(1).data
    require(size is not None, "DENSE_BINCOUNT of a computed size has no kernel")
    assert size is not None
    if len(x) > 2:
        raise ValueError(f"numbers of shape {x} cannot be counted; one or two axes can")
    return [(*x[:-1], int(size.reshape(-1)[0]))]


@host("DENSE_BINCOUNT")
def counts(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """How often each number below size occurs in a row, or the sum of its weights.

    Raises: ValueError of numbers below zero.
    Source: TensorFlow's DenseBincount.
    """
    x, size, weights = arrays
    assert x is not None
    assert size is not None
    assert weights is not None
    bins, kind = int(size.reshape(-1)[0]), node.outputs[0].dtype
    if x.size and x.min() < 0:
        raise ValueError(f"{x.min()} is no number that can be counted")
    rows = x.reshape(-1, x.shape[-1] if x.ndim else 1)
    shares = weights.reshape(rows.shape) if weights.size else np.ones(rows.shape)
    made = [np.bincount(r[r < bins], w[r < bins], bins) for r, w in zip(rows, shares, strict=True)]
    totals = np.array(made).reshape(*x.shape[:-1], bins)
    return [(totals > 0 if node.options["binary_output"] else totals).astype(kind)]


@host("RAGGED_BINCOUNT")
def ragged_counts(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same of rows of different lengths.

    Shapes: ends [B+1], x [N], size [], weights [N] or none -> [B,size].
    Raises: ValueError of numbers below zero, or of rows that are not those of x.
    Source: TensorFlow's RaggedBincount.
    """
    ends, x, size, weights = (np.asarray(a) for a in arrays)
    if not ends.size or ends[0] != 0 or ends[-1] != x.size or (np.diff(ends) < 0).any():
        raise ValueError(f"rows that end at {ends.tolist()} of {x.size} numbers")
    if x.size and x.min() < 0:
        raise ValueError(f"{x.min()} is no number that can be counted")
    bins = int(size.reshape(-1)[0])
    made = np.zeros((ends.size - 1, bins))
    rows = np.repeat(np.arange(ends.size - 1), np.diff(ends))
    inside = x < bins
    np.add.at(made, (rows[inside], x[inside]), weights[inside] if weights.size else 1)
    return [(made > 0 if node.options["binary_output"] else made).astype(node.outputs[0].dtype)]


@host("UNIQUE_WITH_COUNTS", "UNIQUE_V2")
def unique(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """What occurs in the order of its first place, the number of each, and how often it occurs.

    Shapes: x [N], or [..] along an axis -> [K] or [..], [N], and with counts [K].
    Source: TensorFlow's UniqueWithCounts, UniqueV2.
    """
    x = arrays[0]
    assert x is not None
    axes = arrays[1].reshape(-1).tolist() if len(arrays) > 1 and arrays[1] is not None else []
    axis = int(axes[0]) if axes else 0
    _, first, inverse, count = np.unique(x, True, True, True, axis=axis if x.ndim > 1 else None)
    order = np.argsort(first)
    places = np.argsort(order)[inverse.reshape(-1)]
    made = [np.take(x, first[order], axis), places, count[order]]
    return [m.astype(t.dtype) for m, t in zip(made, node.outputs, strict=False)]


@shape("LOWER_BOUND", "UPPER_BOUND")
def bound_shape(node: Node) -> Sequence[Shape]:
    """Rows [B,N], values [B,K] -> [B,K].

    Raises: ValueError if they do not fit.
    """
    rows, values = node.input(0).shape, node.input(1).shape
    if len(rows) != 2 or len(values) != 2 or rows[0] != values[0]:
        raise ValueError(f"values of shape {values} in rows of shape {rows}")
    return [values]


@host("LOWER_BOUND", "UPPER_BOUND")
def bound(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Where each value would have to stand for its row to stay in order."""
    rows, values = arrays
    assert rows is not None
    assert values is not None
    side = "left" if node.op == "LOWER_BOUND" else "right"
    made = [np.searchsorted(r, v, side) for r, v in zip(rows, values, strict=True)]  # type: ignore[call-overload]
    return [np.array(made).reshape(values.shape).astype(node.outputs[0].dtype)]


@shape("IN_TOP_K")
def among_shape(node: Node) -> Sequence[Shape]:
    """Scores [B,C], labels [B] -> [B]."""
    return [node.input(1).shape]


@host("IN_TOP_K")
def among(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Whether a label's score is one of the best k of its row.

    Source: TensorFlow's InTopKV2: never for a label that is none, or among scores that are not
            finite.
    """
    scores, labels, k = arrays
    assert scores is not None
    assert labels is not None
    assert k is not None
    known = (labels >= 0) & (labels < scores.shape[1])
    own = np.take_along_axis(scores, np.where(known, labels, 0)[:, None], 1)
    better = (scores > own).sum(1)
    return [known & np.isfinite(scores).all(1) & (better < k.reshape(-1)[0])]


@host("DYNAMIC_PARTITION")
def parted(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The rows of each part.

    Shapes: x [N,..], parts [N] -> one [n,..] for each part.
    Raises: ValueError if a row's part is none of the outputs.
    """
    x, parts = arrays
    assert x is not None
    assert parts is not None
    count = len(node.outputs)
    if parts.size and not 0 <= parts.min() <= parts.max() < count:
        raise ValueError(f"parts {parts.min()} to {parts.max()}; there are {count}")
    return [x[parts == k] for k in range(count)]
