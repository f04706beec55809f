"""Diagonals of matrices: put in, replaced, read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from app.engine.ir import Data, Launch, Node, Tensor
from app.engine.ops.movement import copy_launch
from app.engine.ops.typed import map_launch
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

PART = "CUSTOM:FlexMatrixDiagPartV3"


@lru_cache(16)
def _diagonal(rows: int, columns: int) -> Tensor:
    return Tensor("", (rows, columns), "bool", np.eye(rows, columns, dtype=bool))


@lru_cache(16)
def _zero(dtype: str) -> Tensor:
    return Tensor("", (), dtype, np.zeros((), dtype))


@shape("MATRIX_DIAG")
def diag_shape(node: Node) -> Sequence[Shape]:
    """[...,N] -> [...,N,N].

    Raises: ValueError if x is one number.
    """
    x = node.input(0).shape
    if not x:
        raise ValueError("one number is no diagonal")
    return [(*x, x[-1])]


@op("MATRIX_DIAG")
def diag(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = matrices of zeros but for the diagonal x.

    Shapes: x [...,N] -> y [...,N,N].
    Raises: UnsupportedOp for types that no kernel knows.
    Source: TFLite kernels/matrix_diag.cc.
    """
    x = node.input(0)
    mask = _diagonal(x.shape[-1], x.shape[-1])
    return map_launch(node, (mask, x, _zero(x.dtype)), "p ? q : r", profile,
                      (mask.shape, (*x.shape, 1), ()))


@shape("MATRIX_SET_DIAG")
def set_diag_shape(node: Node) -> Sequence[Shape]:
    """Output as input.

    Raises: ValueError if the diagonal does not fit the matrices.
    """
    x, d = node.input(0).shape, node.input(1).shape
    if len(x) < 2 or d != (*x[:-2], min(x[-2:])):
        raise ValueError(f"a diagonal of {d} does not fit {x}")
    return [x]


@op("MATRIX_SET_DIAG")
def set_diag(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = matrices with another diagonal.

    Shapes: x [...,M,N], diagonal [...,min(M,N)] -> y [...,M,N].
    Raises: UnsupportedOp for types that no kernel knows.
    Source: TFLite kernels/matrix_set_diag.cc.
    """
    x, d = node.input(0), node.input(1)
    mask = _diagonal(*x.shape[-2:])
    tall = x.shape[-2] > x.shape[-1]
    along = (*d.shape[:-1], 1, d.shape[-1]) if tall else (*d.shape, 1)
    return map_launch(node, (mask, d, x), "p ? q : r", profile, (mask.shape, along, x.shape))


def _place(node: Node) -> tuple[int, int]:
    """Where in a matrix of [M,N] the diagonal begins, and its length.

    Raises: UnsupportedOp if it is computed which one, or there are several.
    """
    given = node.input(1).data
    require(given is not None, "FlexMatrixDiagPartV3 of a computed diagonal has no kernel")
    assert given is not None
    numbers = {int(k) for k in given.reshape(-1)}
    require(len(numbers) == 1, "FlexMatrixDiagPartV3 of several diagonals has no kernel")
    k = numbers.pop()
    rows, columns = node.input(0).shape[-2:]
    if not -rows < k < columns:
        raise ValueError(f"a matrix of {rows}x{columns} has no diagonal {k}")
    return (k, min(rows, columns - k)) if k >= 0 else (-k * columns, min(rows + k, columns))


@shape(PART)
def part_shape(node: Node) -> Sequence[Shape]:
    """[...,M,N] -> [...,length].

    Raises: ValueError if there is no such diagonal; UnsupportedOp as _place.
    """
    x = node.input(0).shape
    if len(x) < 2:
        raise ValueError(f"{x} is no matrix")
    return [(*x[:-2], _place(node)[1])]


@op(PART)
def part(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = one diagonal of each matrix.

    Shapes: x [...,M,N], k [1 or 2], padding -> y [...,length].
    Raises: UnsupportedOp if it is computed which one, or there are several.
    Source: TensorFlow's MatrixDiagPartV3.
    """
    x, y = node.input(0), node.outputs[0]
    first, length = _place(node)
    if not y.size:
        return []
    rows, columns = x.shape[-2:]
    return [copy_launch(x, y, (y.size // length, length), (rows * columns, columns + 1),
                        (length, 1), profile, (first, 0))]


@host(PART)
def part_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy."""
    x = arrays[0]
    assert x is not None
    first, length = _place(node)
    rows, columns = x.shape[-2:]
    ends = first + length * (columns + 1)
    return [x.reshape(*x.shape[:-2], rows * columns)[..., first:ends:columns + 1][..., :length]]
