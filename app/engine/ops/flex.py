"""TensorFlow's own operations that published models hold ("Flex"), where numpy has the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from app.engine.epilogue import FLEX
from app.engine.ir import Data, Node
from app.engine.registry import Shape, host, require, shape

RFFT = "CUSTOM:FlexRFFT"


def _length(node: Node) -> int:
    data = node.input(1).data
    require(data is not None, "FlexRFFT of a computed length has no kernel")
    assert data is not None
    return int(data.reshape(-1)[0])


@shape(RFFT)
def rfft_shape(node: Node) -> Sequence[Shape]:
    """[..., N] -> [..., length / 2 + 1]."""
    return [(*node.input(0).shape[:-1], _length(node) // 2 + 1)]


def _softplus(x: Data) -> Data:
    made: Data = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return made


FUNCTIONS: dict[str, Callable[[Data], Data]] = {
    "Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh,
    "Atan": np.arctan, "Atanh": np.arctanh, "Cosh": np.cosh, "Erf": np.vectorize(math.erf),
    "Erfc": np.vectorize(math.erfc), "Expm1": np.expm1, "Log1p": np.log1p,
    "Reciprocal": lambda x: 1 / x, "Sinh": np.sinh, "Softplus": _softplus,
    "Softsign": lambda x: x / (1 + np.abs(x)), "Tan": np.tan,
}


@host(*FLEX)
def function(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """y = f(x), number by number; the kernels' text is in epilogue.FLEX."""
    x = arrays[0]
    assert x is not None
    if not x.size:
        return [x]
    with np.errstate(all="ignore"):
        return [FUNCTIONS[node.op.removeprefix("CUSTOM:Flex")](x).astype(x.dtype)]


@host(RFFT)
def rfft(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The spectrum of real numbers over the last axis, cut or filled with zeros to a length.

    Source: tf.signal.rfft.
    """
    assert arrays[0] is not None
    spectrum: Data = np.fft.rfft(arrays[0], _length(node)).astype(np.complex64)
    return [spectrum]
