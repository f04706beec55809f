"""Element by element: how quantised arithmetic rounds, rule by rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.engine.ir import Data, Node, Tensor
from app.engine.passes.integers import Lowering, bounds, fresh, is_quantised, keep, ratio, scale


def clamp(low: Lowering, node: Node) -> None:
    """A RELU is a rescaling with other bounds."""
    x, y = node.input(0), node.outputs[0]
    low.requant(low.centred(x), y, ratio(x, y), node.op)


def combine(low: Lowering, node: Node) -> None:
    """ADD, SUB and MUL in one step with one rounding."""
    a, b, y = node.input(0), node.input(1), node.outputs[0]
    if not (is_quantised(a) and is_quantised(b) and is_quantised(y)):
        keep(low, node)
        return
    first, second, step = (np.float32(scale(t)) for t in (a, b, y))
    least, most = bounds(y, activation(node))
    options: dict[str, Any] = {"lo": least, "hi": most}
    if node.op == "MUL":
        options["s"] = float(first * second / step)
    else:
        options["s"] = float(first / step)
        options["t"] = float(second / first) * (-1 if node.op == "SUB" else 1)
    name = "MUL_REQUANT" if node.op == "MUL" else "ADD_REQUANT"
    low.emit(name, (low.centred(a), low.centred(b)), (low.result(y),), options)


def twice(low: Lowering, x: Tensor, y: Tensor, factor: float) -> None:
    """Round first to a part of a step, then to steps, as TFLite's fixed-point product does."""
    mantissa, exponent = np.frexp(factor)
    least, most = bounds(y, "NONE")
    low.emit("REQUANT_TWICE", (x,), (low.result(y),),
             {"s": float(np.ldexp(mantissa, max(exponent, 0))),
              "t": float(np.ldexp(1.0, min(exponent, 0))), "lo": least, "hi": most})


def average(low: Lowering, node: Node) -> None:
    """The mean of a window of integers, halves away from zero."""
    x, y = node.input(0), node.outputs[0]
    if not (is_quantised(x) and is_quantised(y)):
        keep(low, node)
        return
    inner = fresh(y)
    low.emit(node.op, (low.centred(x),), (inner,), without_activation(node))
    least, most = bounds(y, activation(node))
    assert y.quant is not None
    low.emit("REQUANT_AWAY", (inner,), (low.result(y),),
             {"s": ratio(x, y), "t": float(y.quant.zero_points[0]), "lo": least, "hi": most})


def bilinear(low: Lowering, node: Node) -> None:
    """A weighted sum of four pixels; TFLite's kernel for 16 bits tells positions coarsely."""
    x, y = node.input(0), node.outputs[0]
    if not (is_quantised(x) and is_quantised(y)):
        keep(low, node)
        return
    inner = fresh(y)
    low.emit(node.op, (low.centred(x), *node.inputs[1:]), (inner,),
             {**node.options, "coarse": x.dtype == "int16"})
    low.requant(inner, y, ratio(x, y))


def squared_difference(low: Lowering, node: Node) -> None:
    """Both sides to 128ths of a common step, then exact integers, as TFLite does it."""
    a, b, y = node.input(0), node.input(1), node.outputs[0]
    if not (is_quantised(a) and is_quantised(b) and is_quantised(y)):
        keep(low, node)
        return
    common = 2 * max(scale(a), scale(b))
    sides = []
    for tensor in (a, b):
        sides.append(fresh(tensor))
        low.emit("REQUANT", (low.centred(tensor),), (sides[-1],),
                 {"s": 128 * scale(tensor) / common, "lo": -float(1 << 22), "hi": float(1 << 22)})
    squares = fresh(y)
    low.emit("SQUARED_DIFFERENCE", sides, (squares,))
    twice(low, squares, y, common * common / (128 * 128 * scale(y)))


def leaky(low: Lowering, node: Node) -> None:
    """Slopes in steps of 1/256, as XNNPACK has them for 8 bits; 16 bits are TFLite's alone."""
    x, y = node.input(0), node.outputs[0]
    least, most = bounds(y, "NONE")
    slope = float(node.options.get("alpha", 0.0))
    steps = [ratio(x, y) * factor for factor in (1.0, slope)]
    if y.dtype != "int16":
        steps = [float(np.rint(256 * step)) / 256 for step in steps]
    low.emit("LEAKY_REQUANT", (low.centred(x),), (low.result(y),),
             {"s": steps[0], "t": steps[1], "lo": least, "hi": most})


def prelu(low: Lowering, node: Node) -> None:
    """The slopes become reals; the rest is linear."""
    x, y = node.input(0), node.outputs[0]
    inner = fresh(y)
    low.emit("PRELU", (low.centred(x), low.real(node.input(1))), (inner,))
    low.requant(inner, y, ratio(x, y))


def lstm_cell(low: Lowering, node: Node) -> None:
    """Gates and states in the steps of TFLite's 8x8_16 form."""
    hidden, cell = node.outputs
    if not is_quantised(hidden):
        keep(low, node)
        return
    least, most = bounds(hidden, "NONE")
    inputs = [low.centred(t) if t is not None and is_quantised(t) else t for t in node.inputs]
    low.emit(node.op, inputs, (low.result(hidden), low.result(cell)),
             {**node.options, "cell": scale(cell), "hidden": scale(hidden), "lo": least,
              "hi": most})


def activation(node: Node) -> str:
    """The name of the fused activation."""
    return str(node.options.get("fused_activation_function", "NONE"))


def without_activation(node: Node) -> dict[str, Any]:
    """The options but for the fused activation, which the rounding step does."""
    return {**node.options, "fused_activation_function": "NONE"}


def of_15_bits(factors: Data) -> Data:
    """Factors as TFLite has them where sums are of 64 bits: with 15 bits of their mantissas.

    Source: TFLite kernels/internal/quantization_util.cc, QuantizeMultiplier, and common.cc,
    MultiplyByQuantizedMultiplier of int64_t.
    """
    share, power = np.frexp(factors.astype(np.float64))
    whole = np.rint(share * 2.0 ** 31)
    reduced = np.where(whole < 0x7FFF0000, (whole + 2 ** 15) // 2 ** 16, 0x7FFF)
    made: Data = np.ldexp(reduced, power - 15).astype(np.float32)
    return made
