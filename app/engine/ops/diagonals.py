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


def _numbers(node: Node, position: int) -> list[int]:
    data = node.input(position).data
    require(data is not None, f"{node.op} at a computed place has no kernel")
    assert data is not None
    return [int(k) for k in data.reshape(-1)]


def _only(node: Node, position: int) -> int:
    numbers = set(_numbers(node, position))
    require(len(numbers) == 1, f"{node.op} of several diagonals has no kernel")
    return numbers.pop()


@shape("MATRIX_DIAG_AT")
def diag_at_shape(node: Node) -> Sequence[Shape]:
    """[..,L] -> [..,M,N], the least square where the file asks for no other.

    Raises: ValueError if the diagonal does not fit; UnsupportedOp as _only.
    """
    x, k = node.input(0).shape, _only(node, 1)
    if not x:
        raise ValueError("one number is no diagonal")
    least = (x[-1] + max(-k, 0), x[-1] + max(k, 0))
    asked = [_only(node, p) for p in (2, 3)]
    square = max(least) if asked == [-1, -1] else 0
    rows, columns = (square or (n if a < 0 else a) for a, n in zip(asked, least, strict=True))
    if (rows, columns) < least or min(rows - max(-k, 0), columns - max(k, 0)) != x[-1]:
        raise ValueError(f"a diagonal of {x[-1]} is none at {k} of {rows}x{columns}")
    return [(*x[:-1], rows, columns)]


@host("MATRIX_DIAG_AT")
def diag_at(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Matrices of one value but for a diagonal.

    Shapes: x [..,L], k [1 or 2], rows [], columns [], padding [] -> y [..,M,N].
    Source: TensorFlow's MatrixDiagV3.
    """
    x, padding = arrays[0], arrays[4]
    assert x is not None
    assert padding is not None
    y = np.full(diag_at_shape(node)[0], padding.reshape(-1)[0], x.dtype)
    return [_with_diagonal(y, x, _only(node, 1))]


@shape("MATRIX_SET_DIAG_AT")
def set_diag_at_shape(node: Node) -> Sequence[Shape]:
    """Output as input.

    Raises: ValueError if the diagonal does not fit the matrices; UnsupportedOp as _only.
    """
    x, d, k = node.input(0).shape, node.input(1).shape, _only(node, 2)
    if len(x) < 2 or d != (*x[:-2], min(x[-2] + min(k, 0), x[-1] - max(k, 0))):
        raise ValueError(f"a diagonal of {d} does not fit {x} at {k}")
    return [x]


@host("MATRIX_SET_DIAG_AT")
def set_diag_at(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Matrices with another diagonal.

    Shapes: x [..,M,N], diagonal [..,L], k [1 or 2] -> y [..,M,N].
    Source: TensorFlow's MatrixSetDiagV3.
    """
    x, d = arrays[0], arrays[1]
    assert x is not None
    assert d is not None
    return [_with_diagonal(x.copy(), d, _only(node, 2))]


def _with_diagonal(y: Data, d: Data, k: int) -> Data:
    places = np.arange(d.shape[-1])
    y[..., places + max(-k, 0), places + max(k, 0)] = d
    return y
