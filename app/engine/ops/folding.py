"""numpy versions of arithmetic: they fold constants, and run types that have no kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.reduce import reduced_axes
from app.engine.ops.typed import LOGIC, PAIRED
from app.engine.registry import Shape, host, require, shape


def _divide(a: Data, b: Data) -> Data:
    if a.dtype.kind in "fc":
        quotient: Data = a / b
        return quotient
    cut: Data = np.trunc(a / np.where(b == 0, 1, b)).astype(a.dtype)
    return cut


def _power(a: Data, b: Data) -> Data:
    raised: Data = np.power(a if a.dtype.kind == "c" else a.astype(np.float64), b)
    if a.dtype.kind in "fc":
        return raised.astype(a.dtype)
    limits = np.iinfo(a.dtype)
    inside = (raised >= limits.min) & (raised <= limits.max)
    return np.where(inside, raised, limits.min).astype(a.dtype)


def _relu(low: float, high: float) -> Callable[[Data], Data]:
    def clamp(x: Data) -> Data:
        clipped: Data = np.clip(x, low, high).astype(x.dtype)
        return clipped

    return clamp


ACTIVATIONS: dict[str, Callable[[Data], Data]] = {
    "NONE": np.asarray, "RELU": _relu(0, np.inf), "RELU6": _relu(0, 6),
    "RELU_N1_TO_1": _relu(-1, 1), "RELU_0_TO_1": _relu(0, 1), "TANH": np.tanh,
}
UNARY: dict[str, Callable[[Data], Data]] = {
    "ABS": np.abs, "NEG": np.negative, "SQRT": np.sqrt, "EXP": np.exp, "LOG": np.log,
    "SIN": np.sin, "COS": np.cos, "FLOOR": np.floor, "CEIL": np.ceil, "ROUND": np.rint,
    "SQUARE": np.square, "SIGN": np.sign, "TANH": np.tanh, "LOGICAL_NOT": np.logical_not,
    "RSQRT": lambda x: 1 / np.sqrt(x), "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "ZEROS_LIKE": np.zeros_like, "RELU": ACTIVATIONS["RELU"], "RELU6": ACTIVATIONS["RELU6"],
    "RELU_N1_TO_1": ACTIVATIONS["RELU_N1_TO_1"], "RELU_0_TO_1": ACTIVATIONS["RELU_0_TO_1"],
}
BINARY: dict[str, Callable[[Data, Data], Data]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": _divide, "POW": _power,
    "MAXIMUM": np.maximum, "MINIMUM": np.minimum, "FLOOR_DIV": np.floor_divide,
    "FLOOR_MOD": np.mod, "SQUARED_DIFFERENCE": lambda a, b: np.square(a - b),
    **{name: function for name, (_, function) in PAIRED.items() if name not in LOGIC},
    "LOGICAL_AND": np.logical_and, "LOGICAL_OR": np.logical_or,
}
REDUCTIONS: dict[str, Callable[..., Data]] = {
    "MEAN": np.mean, "SUM": np.sum, "REDUCE_PROD": np.prod, "REDUCE_MAX": np.max,
    "REDUCE_MIN": np.min, "REDUCE_ANY": np.any, "REDUCE_ALL": np.all,
}


@host(*UNARY)
def unary(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """y = f(x)."""
    assert arrays[0] is not None
    with np.errstate(all="ignore"):
        return [_typed(node, UNARY[node.op](arrays[0]))]


@host(*BINARY)
def binary(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """y = f(a, b), then the fused activation."""
    a, b = arrays
    assert a is not None
    assert b is not None
    own = str(node.options.get("fused_activation_function", "NONE"))
    with np.errstate(all="ignore"):
        return [_typed(node, ACTIVATIONS[own](BINARY[node.op](a, b)))]


@host(*REDUCTIONS)
def reduction(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Over constant axes."""
    assert arrays[0] is not None
    keep = bool(node.options.get("keep_dims"))
    result = REDUCTIONS[node.op](arrays[0], axis=reduced_axes(node), keepdims=keep)
    return [_typed(node, np.asarray(result))]


@host("CONCATENATION")
def concatenation(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Fold the joining of shapes."""
    return [np.concatenate([a for a in arrays if a is not None], int(node.options["axis"]))]


# Where these have the shape of their output.
SHAPED = {"SPARSE_TO_DENSE": 1, "RANDOM_UNIFORM": 0, "RANDOM_STANDARD_NORMAL": 0}


@shape(*SHAPED)
def given_shape(node: Node) -> Sequence[Shape]:
    """The constant that an input holds.

    Raises: UnsupportedOp if the model computes it.
    """
    extents = node.input(SHAPED[node.op]).data
    require(extents is not None, f"{node.op} of a computed shape can't be planned")
    assert extents is not None
    return [tuple(int(e) for e in extents.reshape(-1))]


@shape("FILL")
def fill_shape(node: Node) -> Sequence[Shape]:
    """The constant that the first input holds.

    Raises: ValueError if the model computes it.
    """
    dims = node.input(0).data
    if dims is None:
        raise ValueError("a shape that the model computes from values can't be planned")
    return [tuple(int(e) for e in dims.reshape(-1))]


@host("FILL")
def fill(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """One value everywhere."""
    value = arrays[1]
    assert value is not None
    return [np.full(fill_shape(node)[0], value.reshape(-1)[0], value.dtype)]


@shape("RANGE")
def range_shape(node: Node) -> Sequence[Shape]:
    """As many numbers as the constants say.

    Raises: ValueError if the model computes them, or there is no end.
    """
    parts = [node.input(i).data for i in range(3)]
    if any(p is None for p in parts):
        raise ValueError("a RANGE whose ends the model computes can't be planned")
    start, limit, delta = _ends(parts)
    if not delta or not math.isfinite(limit - start):
        raise ValueError(f"a RANGE from {start} to {limit} in steps of {delta} has no end")
    return [(max(0, math.ceil((limit - start) / delta)),)]


@host("RANGE")
def range_(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """start, start + delta, ... below limit."""
    return [np.arange(*_ends(arrays), dtype=node.outputs[0].dtype)]


def _ends(arrays: Sequence[Data | None]) -> list[Any]:
    """Whole numbers as Python's: the difference of two of a type may be none of it."""
    numbers = [a.reshape(-1)[0] for a in arrays if a is not None]
    return [n.item() if n.dtype.kind in "iu" else n for n in numbers]


def _typed(node: Node, result: Data) -> Data:
    return np.asarray(result, node.outputs[0].dtype)
