"""Inverses, determinants and factors of small matrices, on the host: TFLite has none of them.
Products of those that it does not multiply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from app.engine.ir import Data, Launch, Node
from app.engine.ops.matmul import batch_matmul
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require_dtype, shape

# Of a square matrix, and of nothing else.
SQUARE: dict[str, Callable[[Data], Data]] = {
    "MATRIX_INVERSE": np.linalg.inv, "CHOLESKY": np.linalg.cholesky}


def _checked(x: Shape, square: bool = True) -> Shape:
    if len(x) < 2 or (square and x[-1] != x[-2]):
        raise ValueError(f"{x} is no {'square ' if square else ''}matrix")
    return x


@shape(*SQUARE)
def as_given(node: Node) -> Sequence[Shape]:
    """[..,N,N] -> [..,N,N].

    Raises: ValueError if x is no square matrix.
    """
    return [_checked(node.input(0).shape)]


@shape("MATRIX_DETERMINANT", "LOG_MATRIX_DETERMINANT")
def one_each(node: Node) -> Sequence[Shape]:
    """[..,N,N] -> [..], twice for the sign and the logarithm.

    Raises: ValueError if x is no square matrix.
    """
    return [_checked(node.input(0).shape)[:-2]] * len(node.outputs)


@shape("MATRIX_TRIANGULAR_SOLVE")
def solution_shape(node: Node) -> Sequence[Shape]:
    """[..,N,N] and [..,N,K] -> [..,N,K].

    Raises: ValueError if the matrices do not fit.
    """
    a, b = _checked(node.input(0).shape), _checked(node.input(1).shape, square=False)
    if a[-1] != b[-2]:
        raise ValueError(f"a matrix of {a} and right-hand sides of {b}")
    return [(*np.broadcast_shapes(a[:-2], b[:-2]), *b[-2:])]


@shape("QR")
def factor_shapes(node: Node) -> Sequence[Shape]:
    """[..,M,N] -> [..,M,P], [..,P,N]: P is M, or the smaller one.

    Raises: ValueError if x is no matrix.
    """
    *outer, m, n = _checked(node.input(0).shape, square=False)
    p = m if node.options["full_matrices"] else min(m, n)
    return [(*outer, m, p), (*outer, p, n)]


@host(*SQUARE)
def of_squares(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The inverse, or the factor L of x = L transposed(L), computed in float64; NaN where there is
    none, as TensorFlow answers on GPUs.

    Source: TensorFlow's MatrixInverse, Cholesky.
    """
    (x,) = arrays
    assert x is not None
    made = _each(SQUARE[node.op], _wide(x))
    return [_as(np.swapaxes(made, -1, -2) if node.options.get("adjoint") else made, x)]


@host("MATRIX_DETERMINANT")
def determinant(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The determinants, computed in float64."""
    (x,) = arrays
    assert x is not None
    return [_as(np.linalg.det(_wide(x)), x)]


@host("LOG_MATRIX_DETERMINANT")
def log_determinant(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Sign and logarithm of the absolute determinants, computed in float64."""
    (x,) = arrays
    assert x is not None
    sign, log = np.linalg.slogdet(_wide(x))
    return [_as(sign, x), _as(log, x)]


@host("MATRIX_TRIANGULAR_SOLVE")
def solved(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """x of a x = b, of a only the lower or the upper half counts; computed in float64. NaN if a
    has a zero on its diagonal.

    Source: TensorFlow's MatrixTriangularSolve.
    """
    a, b = arrays
    assert a is not None
    assert b is not None
    half = np.tril(_wide(a)) if node.options["lower"] else np.triu(_wide(a))
    if node.options["adjoint"]:
        half = np.swapaxes(half, -1, -2)
    return [_as(_each(np.linalg.solve, half, _wide(b)), b)]


@host("QR")
def factors(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The factors of x = q r by Householder's reflections, computed in float64.

    Source: TensorFlow's Qr.
    """
    (x,) = arrays
    assert x is not None
    q, r = np.linalg.qr(_wide(x), "complete" if node.options["full_matrices"] else "reduced")
    return [_as(q, x), _as(r, x)]


@shape("MATRIX_PRODUCT")
def product_shape(node: Node) -> Sequence[Shape]:
    """[..,M,K] and [..,K,N] -> [..,M,N].

    Raises: ValueError if the matrices do not fit.
    """
    a, b = (_checked(node.input(k).shape, square=False) for k in (0, 1))
    (m, k), (inner, n) = ((s[-1], s[-2]) if node.options[key] else s[-2:]
                          for s, key in ((a, "adj_x"), (b, "adj_y")))
    if k != inner:
        raise ValueError(f"a matrix of {m}x{k} times one of {inner}x{n}")
    return [(*np.broadcast_shapes(a[:-2], b[:-2]), m, n)]


@op("MATRIX_PRODUCT")
def plan_product(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan it as TFLite's product of matrices.

    Raises: UnsupportedOp unless the numbers are float32.
    """
    require_dtype(node, "float32")
    return batch_matmul(replace(node, op="BATCH_MATMUL"), profile)


@host("MATRIX_PRODUCT")
def product(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Products of matrices of numbers that TFLite does not multiply."""
    a, b = (np.swapaxes(x, -1, -2) if node.options[key] else x
            for x, key in zip(arrays, ("adj_x", "adj_y"), strict=True) if x is not None)
    return [np.matmul(a, b)]


def _each(function: Callable[..., Data], x: Data, *more: Data) -> Data:
    """A function of matrices, NaN for each that has no answer."""
    try:
        return function(x, *more)
    except np.linalg.LinAlgError:
        if x.ndim == 2:
            return np.full_like(more[0] if more else x, np.nan)
        outer = np.broadcast_shapes(*(a.shape[:-2] for a in (x, *more)))
        rows = [np.broadcast_to(a, (*outer, *a.shape[-2:])) for a in (x, *more)]
        return np.stack([_each(function, *parts) for parts in zip(*rows, strict=True)])


def _wide(x: Data) -> Data:
    return x.astype(np.float64)


def _as(made: Data, like: Data) -> Data:
    return np.asarray(made).astype(like.dtype)
