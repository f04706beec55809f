"""TensorFlow's own operations that published models hold ("Flex"), where numpy has the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from app.engine.epilogue import FLEX
from app.engine.ir import Data, Node
from app.engine.registry import host


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
