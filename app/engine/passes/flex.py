"""TensorFlow's operations ("Flex") that TFLite has too, only not for every type of number, or that
have kernels here under another name; and what else a model does with complex numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.engine.ir import Graph, Node, Tensor, integers
from app.engine.passes.node_def import Attribute, attributes
from app.engine.passes.stablehlo import MASKS

FLEX = "CUSTOM:Flex"
# The same inputs, no options.
SAME = {FLEX + name: other for name, other in {
    "Angle": "ANGLE", "BitwiseAnd": "BITWISE_AND", "BitwiseOr": "BITWISE_OR",
    "Complex": "COMPLEX", "Conj": "CONJ", "FFT": "FFT", "FloorDiv": "FLOOR_DIV",
    "IFFT": "IFFT", "IRFFT": "IRFFT", "Pad": "PAD"}.items()}
SCATTERS = {FLEX + "TensorScatterMax": "MAX", FLEX + "TensorScatterMin": "MIN",
            FLEX + "TensorScatterSub": "DIFFERENCE"}
PATCHES = FLEX + "ExtractImagePatches"
POOLS = {FLEX + "MaxPool3D": "MAX_POOL_3D", FLEX + "AvgPool3D": "AVERAGE_POOL_3D"}

NOTHING = Tensor("", (), "float32", np.zeros((), np.float32))


def plain(node: Node) -> Graph | None:
    """The operations that a Flex operation is; None of others."""
    rule = _RULES.get(node.op)
    made = None if rule is None else rule(node)
    return None if made is None else Graph(node.op, tuple(made), (), node.outputs)


def _given(node: Node) -> dict[str, Attribute]:
    return attributes(bytes(node.options.get("custom", b"")))


def _same(node: Node) -> list[Node]:
    return [Node(SAME[node.op], node.inputs, node.outputs)]


def _scatter(node: Node) -> list[Node]:
    return [Node("SCATTER", node.inputs, node.outputs, {"kind": SCATTERS[node.op]})]


def _slice(node: Node) -> list[Node]:
    given = _given(node)
    options = {name: given.get(name, 0) for name in MASKS}
    return [Node("STRIDED_SLICE", node.inputs, node.outputs, options)]


def _product(node: Node) -> list[Node]:
    given = _given(node)
    options = {name: bool(given.get(name, 0)) for name in ("exclusive", "reverse")}
    return [Node("CUMPROD", node.inputs, node.outputs, options)]


def _pool(node: Node) -> list[Node] | None:
    given = _given(node)
    sizes, strides = given.get("ksize"), given.get("strides")
    if (not isinstance(sizes, tuple) or not isinstance(strides, tuple)
            or len(sizes) != 5 or len(strides) != 5 or given.get("padding") not in ("SAME", "VALID")
            or {sizes[0], sizes[4], strides[0], strides[4]} != {1}
            or given.get("data_format", "NDHWC") != "NDHWC"):
        return None
    options = {"kernel": sizes[1:4], "strides": strides[1:4], "padding": given["padding"]}
    return [Node(POOLS[node.op], node.inputs, node.outputs, options)]


def _patches(node: Node) -> list[Node] | None:
    given = _given(node)
    options = {own: given.get(name) for own, name in (
        ("kernel", "ksizes"), ("strides", "strides"), ("rates", "rates"))}
    ones = [(v[0], v[3]) if isinstance(v, tuple) and len(v) == 4 else None
            for v in options.values()]
    if ones != [(1, 1)] * 3 or given.get("padding") not in ("SAME", "VALID"):
        return None
    inner = {own: v[1:3] for own, v in options.items() if isinstance(v, tuple)}
    return [Node("PATCHES", node.inputs, node.outputs, {**inner, "padding": given["padding"]})]


def _spectrum(node: Node) -> list[Node] | None:
    x, length, y = node.input(0), node.input(1).data, node.outputs[0]
    if length is None or not x.shape:
        return None
    count, axis = int(length.reshape(-1)[0]), len(x.shape) - 1
    outer = (*x.shape[:-1], 1)
    row = Tensor(x.name, (*outer, x.shape[-1]), x.dtype)
    found = Tensor(y.name, (*outer, count // 2 + 1), y.dtype)
    return [Node("EXPAND_DIMS", (x, integers(axis)), (row,)),
            Node("RFFT2D", (row, integers(1, count)), (found,)),
            Node("SQUEEZE", (found,), (y,), {"squeeze_dims": (axis,)})]


def _cast(node: Node) -> list[Node] | None:
    kinds = (node.input(0).dtype, node.outputs[0].dtype)
    if kinds == ("complex64", "float32"):
        return [Node("REAL", node.inputs, node.outputs)]
    if kinds == ("float32", "complex64"):
        return [Node("COMPLEX", (*node.inputs, NOTHING), node.outputs)]
    return None


_RULES: dict[str, Callable[[Node], list[Node] | None]] = {
    FLEX + "StridedSlice": _slice, FLEX + "RFFT": _spectrum, FLEX + "Cumprod": _product,
    **dict.fromkeys(SAME, _same), **dict.fromkeys(SCATTERS, _scatter),
    **dict.fromkeys(POOLS, _pool), PATCHES: _patches, "CAST": _cast}
NAMES = tuple(name for name in _RULES if name != "CAST")
