"""TensorFlow's operations ("Flex") that TFLite has too, only not for every type of number, or that
have kernels here under another name; and what else a model does with complex numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from app.engine.ir import Graph, Node, Tensor, integers
from app.engine.passes.flex_layers import LAYERS, layer
from app.engine.passes.flex_named import NAMED, OWN
from app.engine.passes.node_def import FLEX, attributes, sides
from app.engine.passes.stablehlo import MASKS

# The same inputs, no options.
SAME = {FLEX + name: other for name, other in {
    "Angle": "ANGLE", "BitwiseAnd": "BITWISE_AND", "BitwiseOr": "BITWISE_OR",
    "Complex": "COMPLEX", "Conj": "CONJ", "FFT": "FFT", "FloorDiv": "FLOOR_DIV",
    "IFFT": "IFFT", "IRFFT": "IRFFT", "LookupTableFindV2": "HASHTABLE_FIND",
    "LookupTableImportV2": "HASHTABLE_IMPORT", "LookupTableSizeV2": "HASHTABLE_SIZE",
    "Pad": "PAD"}.items()}
SCATTERS = {FLEX + "TensorScatterMax": "MAX", FLEX + "TensorScatterMin": "MIN",
            FLEX + "TensorScatterSub": "DIFFERENCE"}
PATCHES = FLEX + "ExtractImagePatches"
DILATIONS = FLEX + "Dilation2D"
POOLS = {FLEX + "MaxPool3D": "MAX_POOL_3D", FLEX + "AvgPool3D": "AVERAGE_POOL_3D"}

TOLD = {FLEX + name: told for name, told in {**NAMED, **OWN}.items()}
# The axes that a spectrum is of, from the last one on.
SPECTRA = {FLEX + "FFT2D": ("FFT", 2), FLEX + "FFT3D": ("FFT", 3), FLEX + "IFFT2D": ("IFFT", 2),
           FLEX + "IFFT3D": ("IFFT", 3)}

NOTHING = Tensor("", (), "float32", np.zeros((), np.float32))


def plain(node: Node) -> Graph | None:
    """The operations that a Flex operation is; None of others."""
    rule = _RULES.get(node.op)
    made = None if rule is None else rule(node)
    return None if made is None else Graph(node.op, tuple(made), (), node.outputs)


def _same(node: Node) -> list[Node]:
    return [Node(SAME[node.op], node.inputs, node.outputs)]


def _told(node: Node) -> list[Node] | None:
    name, defaults = TOLD[node.op]
    given = attributes(node) if defaults else {}
    options = {key: given.get(key, default) for key, default in defaults.items()}
    if any(type(options[key]) is not type(default) for key, default in defaults.items()):
        return None
    return [Node(name, node.inputs, node.outputs, options)]


def _table(node: Node) -> list[Node] | None:
    name = attributes(node).get("shared_name")
    return [Node("HASHTABLE", (), node.outputs, {"table_id": name})] if name else None


def _concatenated(node: Node) -> list[Node] | None:
    return _along(node, "CONCATENATION", node.inputs[:-1], node.inputs[-1])


def _gathered(node: Node) -> list[Node] | None:
    return _along(node, "GATHER", node.inputs[:2], node.input(2))


def _along(node: Node, name: str, inputs: tuple[Tensor | None, ...],
           axis: Tensor | None) -> list[Node] | None:
    if axis is None or axis.data is None:
        return None
    options = {"axis": int(axis.data.reshape(-1)[0]),
               "batch_dims": attributes(node).get("batch_dims", 0)}
    return [Node(name, inputs, node.outputs, options)]


def _fake_quantised(node: Node) -> list[Node] | None:
    """The nearest of the steps between two constants, one of which becomes zero.

    Source: TensorFlow's FakeQuantWithMinMaxVars.
    """
    given, x, y = attributes(node), node.input(0), node.outputs[0]
    ends = [node.input(k).data for k in (1, 2)]
    if ends[0] is None or ends[1] is None:
        return None
    least = 1.0 if given.get("narrow_range", 0) else 0.0
    most = float(2 ** int(str(given.get("num_bits", 8))) - 1)
    low, high = (e.astype(np.float32) for e in ends if e is not None)
    step = (high - low) / np.float32(most - least)
    # Nothing is left between ends that are zero.
    wide = np.where(step > 0, step, 1)
    zero = np.clip(np.floor(least - low / wide + np.float32(.5)), least, most)
    first, last = ((k - zero) * step for k in (least, most))
    made: list[Node] = []

    def then(name: str, number: Any) -> None:
        value = made[-1].outputs[0] if made else x
        operands = () if number is None else (Tensor("", np.shape(number), "float32",
                                                     np.asarray(number, np.float32)),)
        made.append(Node(name, (value, *operands), (Tensor(y.name, x.shape, "float32"),)))

    for name, number in (("MAXIMUM", first), ("MINIMUM", last), ("SUB", first), ("DIV", wide),
                         ("ADD", np.float32(.5)), ("FLOOR", None), ("MUL", step), ("ADD", first)):
        then(name, number)
    made[-1] = Node("ADD", made[-1].inputs, (y,))
    return made


def _inverted(node: Node) -> list[Node] | None:
    kind = node.input(0).dtype
    if kind == "bool":
        return [Node("LOGICAL_NOT", node.inputs, node.outputs)]
    ones = Tensor("", (), kind, np.invert(np.zeros((), kind)))
    return [Node("BITWISE_XOR", (node.input(0), ones), node.outputs)]


def _multiplied(node: Node) -> list[Node] | None:
    """Products of complex matrices as four of real ones."""
    given = attributes(node)
    left, right = ("adj_x", "adj_y") if "adj_x" in given else ("transpose_a", "transpose_b")
    turned = {"adj_x": bool(given.get(left, 0)), "adj_y": bool(given.get(right, 0))}
    if node.input(0).dtype != "complex64":
        return [Node("MATRIX_PRODUCT", node.inputs, node.outputs, turned)]
    # An adjoint is transposed and conjugate.
    signs = [-1 if "adj_x" in given and turned[k] else 1 for k in ("adj_x", "adj_y")]
    made, parts = [], []
    for x in node.inputs[:2]:
        assert x is not None
        parts.append([Tensor(x.name, x.shape, "float32") for _ in range(2)])
        made += [Node(op, (x,), (part,))
                 for op, part in zip(("REAL", "IMAG"), parts[-1], strict=True)]
    y = node.outputs[0]

    def product(a: int, b: int) -> Tensor:
        found = Tensor(y.name, y.shape, "float32")
        made.append(Node("MATRIX_PRODUCT", (parts[0][a], parts[1][b]), (found,), turned))
        return found

    def joined(a: Tensor, b: Tensor, sign: int) -> Tensor:
        found = Tensor(y.name, y.shape, "float32")
        made.append(Node("ADD" if sign > 0 else "SUB", (a, b), (found,)))
        return found

    real = joined(product(0, 0), product(1, 1), -signs[0] * signs[1])
    first, second = product(0, 1), product(1, 0)
    if signs[1] < 0:
        first, second = second, first
    imaginary = joined(first, second, signs[0] * signs[1])
    if signs == [-1, -1]:
        negative = Tensor(y.name, y.shape, "float32")
        made.append(Node("NEG", (imaginary,), (negative,)))
        imaginary = negative
    return [*made, Node("COMPLEX", (real, imaginary), (y,))]


def _spectra(node: Node) -> list[Node]:
    """Spectra over several axes: of the last one, which changes places with each."""
    name, count = SPECTRA[node.op]
    x, y = node.input(0), node.outputs[0]
    made = []
    for axis in range(1, count + 1):
        order = list(range(len(x.shape)))
        order[-1], order[-axis] = order[-axis], order[-1]
        shape = tuple(x.shape[k] for k in order)
        turned, found = (Tensor(y.name, shape, y.dtype) for _ in range(2))
        back = y if axis == count else Tensor(y.name, x.shape, y.dtype)
        made += [Node("TRANSPOSE", (x, integers(*order)), (turned,)),
                 Node(name, (turned,), (found,)),
                 Node("TRANSPOSE", (found, integers(*order)), (back,))]
        x = back
    return made


def _from_spectra(node: Node) -> list[Node] | None:
    """Pictures of spectra: back along the rows first, then along the columns."""
    x, y, lengths = node.input(0), node.outputs[0], node.input(1).data
    if lengths is None or len(x.shape) < 2 or int(lengths.reshape(-1)[0]) != x.shape[-2]:
        return None
    order = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
    shape = tuple(x.shape[k] for k in order)
    turned, found = (Tensor(y.name, shape, x.dtype) for _ in range(2))
    back = Tensor(y.name, x.shape, x.dtype)
    return [Node("TRANSPOSE", (x, integers(*order)), (turned,)),
            Node("IFFT", (turned,), (found,)),
            Node("TRANSPOSE", (found, integers(*order)), (back,)),
            Node("IRFFT", (back, integers(int(lengths.reshape(-1)[1]))), (y,))]


def _scatter(node: Node) -> list[Node]:
    return [Node("SCATTER", node.inputs, node.outputs, {"kind": SCATTERS[node.op]})]


def _slice(node: Node) -> list[Node]:
    given = attributes(node)
    options = {name: given.get(name, 0) for name in MASKS}
    return [Node("STRIDED_SLICE", node.inputs, node.outputs, options)]


def _product(node: Node) -> list[Node]:
    given = attributes(node)
    options = {name: bool(given.get(name, 0)) for name in ("exclusive", "reverse")}
    return [Node("CUMPROD", node.inputs, node.outputs, options)]


def _pool(node: Node) -> list[Node] | None:
    given = attributes(node)
    sizes, strides = given.get("ksize"), given.get("strides")
    if (not isinstance(sizes, tuple) or not isinstance(strides, tuple)
            or len(sizes) != 5 or len(strides) != 5 or given.get("padding") not in ("SAME", "VALID")
            or {sizes[0], sizes[4], strides[0], strides[4]} != {1}
            or given.get("data_format", "NDHWC") != "NDHWC"):
        return None
    options = {"kernel": sizes[1:4], "strides": strides[1:4], "padding": given["padding"]}
    return [Node(POOLS[node.op], node.inputs, node.outputs, options)]


def _dilated(node: Node) -> list[Node] | None:
    return _windows(node, "DILATION_2D", {"strides": "strides", "rates": "rates"})


def _patches(node: Node) -> list[Node] | None:
    return _windows(node, "PATCHES", {"kernel": "ksizes", "strides": "strides", "rates": "rates"})


def _windows(node: Node, name: str, names: dict[str, str]) -> list[Node] | None:
    given = attributes(node)
    found = {own: sides(given, other) for own, other in names.items()}
    if None in found.values() or given.get("padding") not in ("SAME", "VALID"):
        return None
    return [Node(name, node.inputs, node.outputs, {**found, "padding": given["padding"]})]


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
    FLEX + "HashTableV2": _table, FLEX + "FakeQuantWithMinMaxVars": _fake_quantised,
    FLEX + "FakeQuantWithMinMaxVarsPerChannel": _fake_quantised,
    FLEX + "ConcatV2": _concatenated, FLEX + "GatherV2": _gathered, FLEX + "Invert": _inverted,
    FLEX + "MatMul": _multiplied, FLEX + "BatchMatMulV2": _multiplied,
    FLEX + "IRFFT2D": _from_spectra, **dict.fromkeys(SPECTRA, _spectra),
    **dict.fromkeys(TOLD, _told), **dict.fromkeys(SAME, _same),
    **dict.fromkeys(SCATTERS, _scatter), **dict.fromkeys(POOLS, _pool), PATCHES: _patches,
    **dict.fromkeys(LAYERS, layer), DILATIONS: _dilated, "CAST": _cast}
NAMES = tuple(name for name in _RULES if name != "CAST")
