"""Turn quantised arithmetic into float32 arithmetic on the same integers.

A quantised tensor becomes a float tensor that holds q - zero_point, exactly. Sums of products of
such integers are exact in float32 up to 2^24 and beyond that off by far less than one step, so a
convolution is the float kernel and one rounding step, and every fusion, tile and device variant
of the float kernels serves int8 too. The card has no int8 dot product: nothing is lost there.

Float operations with int8 weights ("dynamic range") quantise their input row by row, as TFLite
does, and go on in float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from app.engine.blame import blamed
from app.engine.epilogue import STEPS
from app.engine.ir import Graph, Node, Tensor
from app.engine.passes.integers import (
    CLAMPS,
    Lowering,
    by_reals,
    fresh,
    is_quantised,
    keep,
    ratio,
    scale,
    zero_point,
)
from app.engine.passes.rounding import (
    activation,
    average,
    bilinear,
    clamp,
    combine,
    leaky,
    lstm_cell,
    of_15_bits,
    prelu,
    squared_difference,
    twice,
    without_activation,
)

# Where an op with weights has its data, its weights and its bias.
PRODUCTS = {"CONV_2D": (0, 1, 2), "DEPTHWISE_CONV_2D": (0, 1, 2), "FULLY_CONNECTED": (0, 1, 2),
            "TRANSPOSE_CONV": (2, 1, 3), "BATCH_MATMUL": (0, 1, 2)}
# Outputs hold input values: only where they lie changes, or nothing.
MOVES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT",
         "SPLIT_V", "PACK", "UNPACK", "CONCATENATION", "PAD", "PADV2", "MIRROR_PAD", "GATHER",
         "GATHER_ND", "TILE", "REVERSE_V2", "REVERSE_SEQUENCE", "SPACE_TO_DEPTH",
         "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "RESIZE_NEAREST_NEIGHBOR",
         "SELECT", "SELECT_V2", "MAX_POOL_2D", "MAXIMUM", "MINIMUM", "BROADCAST_TO", "TOPK_V2",
         "REDUCE_MAX", "REDUCE_MIN", "DYNAMIC_UPDATE_SLICE")
# Commute with a scale: computed on the integers, rounded once.
LINEAR = ("MEAN", "SUM", "CUMSUM", "ABS")
REAL = ("SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION", "REDUCE_PROD", "L2_POOL_2D", "SQUARE")
COMPARISONS = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
Rule = Callable[[Lowering, Node], None]


def lower(graph: Graph, constants: dict[tuple[Tensor, str], Tensor] | None = None) -> Graph:
    """Rewrite every quantised node that has a rule; the others keep their integers.

    constants keeps the float forms of weights, so that all plans of a model share them.
    Source: https://ai.google.dev/edge/litert/models/quantization_spec
    """
    if not any(_touches(node) for node in graph.nodes):
        return graph
    lowering = Lowering(set(graph.inputs), constants={} if constants is None else constants)
    for node in graph.nodes:
        lowering.index = node.index
        rule = RULES.get(node.op, by_reals if node.op in STEPS else keep)
        with blamed(node):
            (rule if _touches(node) else keep)(lowering, node)
    for tensor in graph.outputs:
        lowering.integers(tensor)
    return replace(graph, nodes=tuple(lowering.nodes))


def _touches(node: Node) -> bool:
    return any(is_quantised(t) for t in (*node.inputs, *node.outputs))


def product(low: Lowering, node: Node) -> None:
    """Multiply and add integers, then scale to the output's steps."""
    at, weights, bias = PRODUCTS[node.op]
    x, w, y = node.input(at), node.input(weights), node.outputs[0]
    if not is_quantised(x):
        hybrid(low, node)
        return
    b = node.optional(bias) if bias < len(node.inputs) else None
    if (not is_quantised(w) or not is_quantised(y) or (b is not None and b.data is None)
            or (w.quant is not None and w.quant.block) or len(node.outputs) > 1):
        keep(low, node)
        return
    inputs = list(node.inputs)
    inputs[at], inputs[weights] = low.centred(x), low.centred(w)
    if b is not None and b.data is not None:
        inputs[bias] = Tensor(b.name, b.shape, "float32", b.data.astype(np.float32))
    sums = fresh(y)
    low.emit(node.op, inputs, (sums,), {**without_activation(node),
                                        **_whole(x, w)})
    assert w.quant is not None
    if node.op == "BATCH_MATMUL":
        twice(low, sums, y, scale(x) * scale(w) / scale(y))
        return
    # A converter may give what is always zero a scale of zero, and weights behind it none at all.
    with np.errstate(all="ignore"):
        factors = (np.float32(scale(x)) * np.asarray(w.quant.scales, np.float32)
                   / np.float32(scale(y)))
    factors = np.where(np.isfinite(factors), factors, np.float32(0.0))
    if x.dtype == "int16" and node.op != "FULLY_CONNECTED" and (b is None or b.dtype == "int64"):
        factors = of_15_bits(factors)
    low.requant(sums, y, factors, activation(node))


def _whole(x: Tensor, w: Tensor) -> dict[str, Any]:
    """What kernels may know of products of 8-bit integers: that they are such and, of constant
    weights, what makes the smallest integer of x zero ("zero") and by how much the weights are
    larger than what int8 holds of them ("shift")."""
    if x.dtype not in ("int8", "uint8"):
        return {}
    known: dict[str, Any] = {"whole": True}
    if w.data is not None and w.dtype in ("int8", "uint8") and len(set(_zeros(w))) == 1:
        middle = 128 if w.dtype == "uint8" else 0
        known |= {"zero": zero_point(x) - int(np.iinfo(x.dtype).min),
                  "shift": middle - _zeros(w)[0]}
    return known


def _zeros(w: Tensor) -> tuple[int, ...]:
    return w.quant.zero_points if w.quant is not None else ()


def _signed(w: Tensor) -> bool:
    return w.dtype == "int8" and not any(_zeros(w))


def hybrid(low: Lowering, node: Node) -> None:
    """Quantise a float input row by row, as TFLite does before it multiplies by int8 weights."""
    at, weights, _ = PRODUCTS[node.op]
    x, w = node.input(at), node.input(weights)
    if x.dtype != "float32" or w.data is None:
        keep(low, node)
        return
    assert w.quant is not None
    whole = node.op in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
    if whole:
        # Weights of one scale are older files', of which TFLite's convolution keeps the old way.
        symmetric = node.op == "CONV_2D" and len(w.quant.scales) == 1
    else:
        # Of weights in blocks there is XNNPACK's arithmetic only, which knows asymmetric rows only.
        symmetric = not (w.quant.block or node.options.get("asymmetric_quantize_inputs"))
    rounded = fresh(x)
    row = 0 if whole else w.shape[-1] if node.op == "FULLY_CONNECTED" else x.shape[-1]
    low.emit("QUANTIZE_ROWS", (x,), (rounded,), {"row": row, "symmetric": symmetric})
    inputs = list(node.inputs)
    inputs[at], inputs[weights] = rounded, low.real(w)
    # See passes.rows.
    known = {"integers": w} if _signed(w) and not w.quant.block else {}
    low.emit(node.op, inputs, node.outputs, {**node.options, **known})


def move(low: Lowering, node: Node) -> None:
    """Do the same to the floats; round where a part of a whole has other steps than that."""
    if not is_quantised(node.outputs[0]):
        keep(low, node)
        return
    y = node.outputs[0]
    # TFLite's kernel for 16 bits copies.
    scaled = node.op == "CONCATENATION" and y.dtype != "int16"
    inputs = [_aligned(low, t, y, scaled) if t is not None and is_quantised(t) else t
              for t in node.inputs]
    own = activation(node)
    outputs = [low.result(t) if is_quantised(t) else t for t in node.outputs]
    if own == "NONE":
        low.emit(node.op, inputs, outputs, node.options)
        return
    inner = fresh(y)
    low.emit(node.op, inputs, (inner,), without_activation(node))
    low.requant(inner, y, 1.0, own)


def _aligned(low: Lowering, x: Tensor, y: Tensor, scaled: bool) -> Tensor:
    """x's integers as y's: in y's steps where the op scales, else as they are, as TFLite moves
    them whatever the file says of their scales."""
    if scaled and scale(x) != scale(y):
        return _in_steps(low, x, y)
    gap = 0 if scaled else zero_point(x) - zero_point(y)
    if not gap:
        return low.centred(x)
    shift = Tensor(f"{x.name}/shift", (), "float32", np.asarray(gap, np.float32))
    if x.data is not None:
        moved = np.asarray(low.centred(x).data) + np.float32(gap)
        return Tensor(x.name, x.shape, "float32", moved.astype(np.float32))
    made = fresh(x)
    low.emit("ADD", (low.centred(x), shift), (made,), {"fused_activation_function": "NONE"})
    return made


def _in_steps(low: Lowering, x: Tensor, y: Tensor) -> Tensor:
    if x.data is not None:
        steps = np.rint(np.asarray(low.real(x).data) / np.float32(scale(y)))
        return Tensor(x.name, x.shape, "float32", steps.astype(np.float32))
    target = Tensor(x.name, x.shape, y.dtype, quant=y.quant)
    low.requant(low.centred(x), target, ratio(x, y))
    return low.floats[target]


def linear(low: Lowering, node: Node) -> None:
    """Compute on integers and round the result to the output's steps."""
    x, y = node.input(0), node.outputs[0]
    if not (is_quantised(x) and is_quantised(y)):
        keep(low, node)
        return
    inner = fresh(y)
    low.emit(node.op, (low.centred(x), *node.inputs[1:]), (inner,), without_activation(node))
    low.requant(inner, y, ratio(x, y), activation(node))


def quantize(low: Lowering, node: Node) -> None:
    """From reals, or from other steps, to the output's steps."""
    x, y = node.input(0), node.outputs[0]
    if not is_quantised(y):
        keep(low, node)
    elif is_quantised(x):
        low.requant(low.centred(x), y, ratio(x, y))
    else:
        low.requant(x, y, ratio(None, y))


def dequantize(low: Lowering, node: Node) -> None:
    """From integers to reals."""
    x, y = node.input(0), node.outputs[0]
    if not is_quantised(x) or y.dtype != "float32" or x.data is not None:
        keep(low, node)
        return
    low.emit("SCALE", (low.centred(x),), (y,), {"s": scale(x)})


def compare(low: Lowering, node: Node) -> None:
    """Compare integers of the same steps as they are, others as reals."""
    a, b = node.input(0), node.input(1)
    if is_quantised(a) and is_quantised(b):
        inputs = [low.centred(a), low.centred(b)] if a.quant == b.quant else [low.real(a),
                                                                            low.real(b)]
        low.emit(node.op, inputs, node.outputs, node.options)
    else:
        keep(low, node)


def order(low: Lowering, node: Node) -> None:
    """The largest integer is the largest real."""
    low.emit(node.op, (low.centred(node.input(0)), *node.inputs[1:]), node.outputs, node.options)


def logarithm(low: Lowering, node: Node) -> None:
    """Of what is not positive TFLite gives the smallest integer, which that of zero becomes."""
    inner = fresh(node.input(0))
    low.emit("RELU", (low.real(node.input(0)),), (inner,))
    by_reals(low, replace(node, inputs=(inner,)))


def lookup(low: Lowering, node: Node) -> None:
    """EMBEDDING_LOOKUP of an int8 table gives floats."""
    low.emit(node.op, (node.inputs[0], low.real(node.input(1))), node.outputs, node.options)


def extents(low: Lowering, node: Node) -> None:
    """SHAPE and RANK look at no value."""
    x = node.input(0)
    low.emit(node.op, (low.floats.get(x, x),), node.outputs, node.options)


def held_in(low: Lowering, node: Node) -> None:
    """Integers that are held as floats already: see passes.states."""
    low.floats[node.outputs[0]] = node.input(0)


def held_out(low: Lowering, node: Node) -> None:
    """Floats that stay what they are beyond the graph."""
    y = node.outputs[0]
    low.emit("RESHAPE", (low.centred(node.input(0)),), (y,), {"new_shape": y.shape})


RULES: dict[str, Rule] = {
    **dict.fromkeys(PRODUCTS, product),
    **dict.fromkeys(MOVES, move),
    **dict.fromkeys(LINEAR, linear),
    **dict.fromkeys(REAL, by_reals),
    **dict.fromkeys(CLAMPS, clamp),
    **dict.fromkeys(("ADD", "SUB", "MUL"), combine),
    **dict.fromkeys(COMPARISONS, compare),
    **dict.fromkeys(("ARG_MAX", "ARG_MIN"), order),
    **dict.fromkeys(("SHAPE", "RANK"), extents),
    # TFLite takes these for plain integers, whatever the file says of scales.
    **dict.fromkeys(("FLOOR_DIV", "FLOOR_MOD", "NEG", "SIGN"), keep),
    "STORE_QUANTIZED": held_in,
    "LOAD_QUANTIZED": held_out,
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
    "LOG": logarithm,
    "PRELU": prelu,
    "LSTM_CELL": lstm_cell,
    "SQUARED_DIFFERENCE": squared_difference,
    "AVERAGE_POOL_2D": average,
    "RESIZE_BILINEAR": bilinear,
    "LEAKY_RELU": leaky,
    "EMBEDDING_LOOKUP": lookup,
}
