"""Sparse and ragged tensors, on the host: parts of tables of strings and embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.registry import host


@host("SPARSE_FILL_EMPTY_ROWS")
def filled(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """One entry, the default, for each row that has none.

    Shapes: places [n,2], values [n], shape [2], default [] -> places [m,2], values [m], whether a
            row was empty [rows], where each entry went [n].
    Raises: ValueError if an entry is in no row.
    Source: TensorFlow's SparseFillEmptyRows.
    """
    places, values, extents, default = (_given(a) for a in arrays)
    rows = int(extents[0])
    if places.size and not 0 <= places[:, 0].min() <= places[:, 0].max() < rows:
        raise ValueError(f"entries in the rows {places[:, 0].min()} to {places[:, 0].max()}; "
                         f"there are {rows}")
    empty = np.ones(rows, bool)
    empty[places[:, 0]] = False
    new = np.zeros((int(empty.sum()), places.shape[1]), places.dtype)
    new[:, 0] = np.flatnonzero(empty)
    every = np.concatenate([places, new])
    order = np.argsort(every[:, 0], kind="stable")
    given = np.concatenate([values, np.full(len(new), default.reshape(-1)[0], values.dtype)])
    return [every[order], given[order], empty, np.argsort(order)[:len(places)].astype(np.int64)]


@host("SPARSE_TENSOR_DENSE_MATMUL")
def product(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """A sparse matrix times a dense one.

    Shapes: places [n,2], values [n], shape [2], b [K,N] -> [M,N].
    Raises: ValueError if an entry or b does not fit.
    Source: TensorFlow's SparseTensorDenseMatMul.
    """
    places, values, extents, b = (_given(a) for a in arrays)
    rows, inner = (int(e) for e in extents)
    if places.size and ((places < 0) | (places >= extents)).any():
        raise ValueError(f"entries outside of a matrix of {rows}x{inner}")
    if node.options["adjoint_a"]:
        places, rows, inner = places[:, ::-1], inner, rows
    if node.options["adjoint_b"]:
        b = b.conj().T
    if len(b) != inner:
        raise ValueError(f"a matrix of {rows}x{inner} times one of {b.shape[0]}x{b.shape[1]}")
    made = np.zeros((rows, b.shape[1]), b.dtype)
    np.add.at(made, places[:, 0], values[:, None] * b[places[:, 1]])
    return [made]


@host("RAGGED_TENSOR_TO_TENSOR")
def dense(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Rows of different lengths as rows of one, cut or filled with a default.

    Shapes: shape [R] (-1: as needed), values [n,..], default [], and for each axis but the
            innermost the ends of its rows, or their numbers behind the count of rows.
    Raises: ValueError if the parts do not fit.
    Source: TensorFlow's RaggedTensorToTensor.
    """
    wanted, values, default, *parts = (_given(a) for a in arrays)
    kinds = [str(k) for k in node.options["row_partition_types"]]
    if len(kinds) != len(parts) or not set(kinds) <= {"FIRST_DIM_SIZE", "VALUE_ROWIDS",
                                                      "ROW_SPLITS"}:
        raise ValueError(f"rows parted by {kinds}")
    places = np.arange(len(values))[:, None]
    extents: list[int] = []
    for kind, part in reversed(list(zip(kinds, parts, strict=True))):
        if kind == "FIRST_DIM_SIZE":
            extents.insert(0, int(part.reshape(-1)[0]))
            continue
        owner = (np.repeat(np.arange(len(part) - 1), np.diff(part)) if kind == "ROW_SPLITS"
                 else part)
        within = np.arange(len(owner)) - np.searchsorted(owner, owner)
        outer = places[:, 0]
        places = np.concatenate([owner[outer][:, None], within[outer][:, None], places[:, 1:]], 1)
        extents.insert(0, int(within.max(initial=-1)) + 1)
        if kind == "ROW_SPLITS" and kind == kinds[0] and part is parts[0]:
            extents.insert(0, len(part) - 1)
    inner = values.shape[1:]
    asked = wanted.reshape(-1).tolist() if wanted.ndim else [-1] * (len(extents) + len(inner))
    shape = [n if a < 0 else a for a, n in zip(asked, [*extents, *inner], strict=True)]
    made: Data = np.empty(shape, values.dtype)
    made[...] = default
    inside = (places < shape[:len(extents)]).all(1)
    made[tuple(places[inside].T)] = values[inside]
    return [made]


def _given(array: Data | None) -> Data:
    assert array is not None
    return array
