"""Ops that compute, as they may stand in a graph."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from tests.engine.builder import Value
from tests.engine.graphs.maker import Maker, Shape

UNARY = ("RELU", "RELU6", "RELU_N1_TO_1", "ELU", "LOGISTIC", "TANH", "HARD_SWISH", "ABS", "NEG",
         "GELU", "LEAKY_RELU", "SIN", "COS", "SQUARE")
# Of them have kernels for integers only so many.
WHOLE = 11
BINARY = ("ADD", "ADD", "SUB", "MUL", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")
FUSED = ("ADD", "SUB", "MUL", "DIV")


def unary(m: Maker, x: Value) -> None:
    name = m.random.choice(UNARY[:WHOLE] if m.whole_kernels else UNARY)
    options = {"LEAKY_RELU": {"alpha": 0.3}, "GELU": {"approximate": m.chance()}}.get(name, {})
    m.emit(name, [x], x.spec.shape, **options)


def binary(m: Maker, x: Value) -> None:
    name, shape = m.random.choice(BINARY), x.spec.shape
    other, result = _partner(m, shape), shape
    if other is None:
        like = [v for v in m.values if _joint(v.spec.shape, shape)]
        other = m.random.choice(like)
        result = _joint(other.spec.shape, shape) or shape
    pair = [x, other] if m.chance() else [other, x]
    fused = {"fusedActivationFunction": m.activation()} if name in FUSED else {}
    m.emit(name, pair, result, **fused)


def _partner(m: Maker, shape: Shape) -> Value | None:
    """A constant that broadcasts, or None for another value."""
    if m.chance(0.4):
        return None
    own = tuple(1 if m.chance(0.4) else e for e in shape)
    return m.constant(*own[m.random.randrange(len(own) + 1):])


def _joint(one: Shape, other: Shape) -> Shape | None:
    try:
        return tuple(np.broadcast_shapes(one, other))
    except ValueError:
        return None


def divided(m: Maker, x: Value) -> None:
    if m.whole_kernels:
        return
    rng = np.random.default_rng(m.random.getrandbits(32))
    by = m.graph.const(rng.uniform(1, 2, x.spec.shape[-1:]).astype("f4"))
    m.emit("DIV", [x, by], x.spec.shape, fusedActivationFunction=m.activation())


def conv(m: Maker, x: Value) -> None:
    n, h, w, c = x.spec.shape
    groups = m.random.choice([g for g in (1, 1, 2, 3) if c % g == 0])
    out = groups * m.random.choice((1, 2, 3, 5, 8))
    window = _Window.draw(m, h, w)
    if window is None:
        return
    weights = m.constant(out, *window.kernel, c // groups,
                         scale=1 / np.sqrt(prod(window.kernel) * c))
    m.emit("CONV_2D", [x, weights, m.constant(out)], (n, *window.result, out), **window.options,
           dilationWFactor=window.dilation[1], dilationHFactor=window.dilation[0],
           fusedActivationFunction=m.activation())


def depthwise(m: Maker, x: Value) -> None:
    n, h, w, c = x.spec.shape
    times = m.random.choice((1, 1, 2, 3))
    window = _Window.draw(m, h, w)
    if window is None:
        return
    weights = m.constant(1, *window.kernel, c * times, scale=1 / np.sqrt(prod(window.kernel)))
    m.emit("DEPTHWISE_CONV_2D", [x, weights, m.constant(c * times)],
           (n, *window.result, c * times), **window.options, depthMultiplier=times,
           dilationWFactor=window.dilation[1], dilationHFactor=window.dilation[0],
           fusedActivationFunction=m.activation())


def pool(m: Maker, x: Value) -> None:
    n, h, w, c = x.spec.shape
    window = _Window.draw(m, h, w, dilates=False)
    if window is None:
        return
    m.emit(m.random.choice(("MAX_POOL_2D", "AVERAGE_POOL_2D")), [x], (n, *window.result, c),
           **window.options, filterHeight=window.kernel[0], filterWidth=window.kernel[1],
           fusedActivationFunction=m.activation())


@dataclass(frozen=True)
class _Window:
    kernel: Shape
    dilation: Shape
    result: Shape
    options: dict[str, object]

    @staticmethod
    def draw(m: Maker, *extents: int, dilates: bool = True) -> _Window | None:
        kernel = m.random.choice([(1, 1), (1, 1), (3, 3), (3, 3), (2, 2), (1, 3), (5, 5), (3, 2)])
        wide = dilates and m.chance(0.15)
        dilation = (2, 2) if wide else (1, 1)
        strides = (1, 1) if wide else m.random.choice([(1, 1), (1, 1), (2, 2), (2, 1), (3, 3)])
        same = m.chance()
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        result = tuple(-(-e // s) if same else (e - r) // s + 1
                       for e, r, s in zip(extents, reach, strides, strict=True))
        if min(result) < 1:
            return None
        return _Window(kernel, dilation, result, {
            "padding": "SAME" if same else "VALID", "strideH": strides[0],
            "strideW": strides[1]})


def transpose_conv(m: Maker, x: Value) -> None:
    n, h, w, c = x.spec.shape
    out, kernel, stride = m.random.choice((1, 2, 4)), m.random.choice((2, 3)), 2
    same = m.chance()
    result = tuple(e * stride if same else (e - 1) * stride + kernel for e in (h, w))
    m.emit("TRANSPOSE_CONV",
           [m.whole(n, *result, out), m.constant(out, kernel, kernel, c, scale=0.5), x],
           (n, *result, out), padding="SAME" if same else "VALID", strideH=stride,
           strideW=stride)


def dense(m: Maker, x: Value) -> None:
    shape, out = x.spec.shape, m.random.choice((1, 2, 3, 4, 7, 16))
    keep = len(shape) != 2 and m.chance()
    rows = shape[:-1] if keep else (prod(shape[:-1]),)
    m.emit("FULLY_CONNECTED", [x, m.constant(out, shape[-1], scale=1 / np.sqrt(shape[-1])),
                               m.constant(out) if m.chance(0.8) else None], (*rows, out),
           keepNumDims=keep, fusedActivationFunction=m.activation())


def matmul(m: Maker, x: Value) -> None:
    *outer, rows, inner = x.spec.shape
    if m.chance():
        m.emit("BATCH_MATMUL", [x, x], (*outer, rows, rows), adjY=True)
    else:
        width = m.random.choice((1, 3, 8))
        m.emit("BATCH_MATMUL", [x, m.constant(*outer, inner, width, scale=1 / np.sqrt(inner))],
               (*outer, rows, width))


def softmax(m: Maker, x: Value) -> None:
    name = m.random.choice(("SOFTMAX", "SOFTMAX", "LOG_SOFTMAX"))
    m.emit(name, [x], x.spec.shape, **({"beta": 1.0} if name == "SOFTMAX" else {}))


def normal(m: Maker, x: Value) -> None:
    """Layer normalisation as converters write it."""
    shape = x.spec.shape
    thin = (*shape[:-1], 1)
    axis = m.whole(len(shape) - 1)
    before = len(m.values)
    m.emit("MEAN", [x, axis], thin, keepDims=True)
    m.emit("SQUARED_DIFFERENCE", [x, m.values[-1]], shape)
    mean = m.values[before]
    m.emit("MEAN", [m.values[-1], axis], thin, keepDims=True)
    m.emit("ADD", [m.values[-1], m.graph.const(np.float32(0.1))], thin)
    m.emit("RSQRT", [m.values[-1]], thin)
    scale = m.values[-1]
    m.emit("SUB", [x, mean], shape)
    m.emit("MUL", [m.values[-1], scale], shape)


def reduced(m: Maker, x: Value) -> None:
    shape, keep = x.spec.shape, m.chance()
    axes = sorted(m.random.sample(range(len(shape)), m.random.randint(1, len(shape))))
    rest = tuple(1 if i in axes else e for i, e in enumerate(shape) if keep or i not in axes)
    if not rest:
        return
    given = [a - len(shape) if m.chance(0.3) else a for a in axes]
    m.emit(m.random.choice(("MEAN", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")),
           [x, m.whole(*given)], rest, keepDims=keep)


def resized(m: Maker, x: Value) -> None:
    n, h, w, c = x.spec.shape
    size = [m.random.choice((e, 2 * e, e + 1, max(1, e // 2), 3)) for e in (h, w)]
    mode = m.random.choice(({}, {"alignCorners": True}, {"halfPixelCenters": True}))
    name = m.random.choice(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"))
    m.emit(name, [x, m.whole(*size)], (n, *size, c), **mode)


def prelu(m: Maker, x: Value) -> None:
    shape = x.spec.shape
    own = shape[1:] if m.chance(0.3) else (*[1] * (len(shape) - 2), shape[-1])
    m.emit("PRELU", [x, m.constant(*own)], shape)


def l2(m: Maker, x: Value) -> None:
    m.emit("L2_NORMALIZATION", [x], x.spec.shape, fusedActivationFunction="NONE")


def gate(m: Maker, x: Value) -> None:
    """x times a function of x."""
    m.emit(m.random.choice(("LOGISTIC", "TANH")), [x], x.spec.shape)
    m.emit("MUL", [x, m.values[-1]], x.spec.shape, fusedActivationFunction="NONE")
