"""Ops that move numbers, or choose among them, as they may stand in a graph."""

from __future__ import annotations

from math import prod

import numpy as np

from tests.engine.builder import Spec, Value
from tests.engine.graphs.maker import Maker, Shape


def joined(m: Maker, x: Value) -> None:
    shape, axis = x.spec.shape, m.axis(x.spec.shape)
    own = axis % len(shape)
    like = [v for v in m.values if _without(v.spec.shape, own) == _without(shape, own)
            and len(v.spec.shape) == len(shape)]
    parts = [x, *(m.random.choice(like) for _ in range(m.random.randint(1, 3)))]
    if m.chance(0.2):
        parts.append(m.constant(*shape[:own], 2, *shape[own + 1:]))
    m.random.shuffle(parts)
    total = sum(p.spec.shape[own] for p in parts)
    m.emit("CONCATENATION", parts, (*shape[:own], total, *shape[own + 1:]), axis=axis,
           fusedActivationFunction="NONE")


def _without(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1:]


def split(m: Maker, x: Value) -> None:
    shape, axis = x.spec.shape, m.axis(x.spec.shape)
    own, extent = axis % len(shape), shape[axis]
    count = m.random.choice([n for n in (1, 2, 3, 4) if extent % n == 0])
    cuts = [extent // count] * count
    place = m.graph.const(np.array(axis, "i4"))
    if m.chance(0.4) and extent > 2:
        cuts = [1, extent - 1] if m.chance() else [extent - 2, 2]
        inputs: list[Value | None] = [x, m.whole(*cuts), place]
        name, options = "SPLIT_V", {"numSplits": 2}
    else:
        inputs, name, options = [place, x], "SPLIT", {"numSplits": count}
    m.emit(name, inputs, *[(*shape[:own], c, *shape[own + 1:]) for c in cuts], **options)


def packed(m: Maker, x: Value) -> None:
    shape = x.spec.shape
    like = [v for v in m.values if v.spec.shape == shape]
    parts = [m.random.choice(like) for _ in range(m.random.randint(1, 3))]
    axis = m.random.randint(0, len(shape))
    m.emit("PACK", parts, (*shape[:axis], len(parts), *shape[axis:]), axis=axis,
           valuesCount=len(parts))


def unpacked(m: Maker, x: Value) -> None:
    shape, axis = x.spec.shape, m.random.randrange(len(x.spec.shape))
    if shape[axis] <= 5:
        m.emit("UNPACK", [x], *[_without(shape, axis)] * shape[axis], axis=axis, num=shape[axis])


def sliced(m: Maker, x: Value) -> None:
    shape = x.spec.shape
    begin = [m.random.randrange(e) if m.chance() else 0 for e in shape]
    size = [m.random.randint(1, e - b) for e, b in zip(shape, begin, strict=True)]
    if m.chance(0.3):
        m.emit("SLICE", [x, m.whole(*begin), m.whole(*size)], tuple(size))
        return
    strides = [m.random.choice((1, 1, 1, 2, -1)) for _ in shape]
    end = [b + s for b, s in zip(begin, size, strict=True)]
    for i, stride in enumerate(strides):
        if stride < 0:
            begin[i], end[i] = end[i] - 1, begin[i] - 1 - (shape[i] if begin[i] == 0 else 0)
    shrink = 0
    result = []
    for i, (s, stride) in enumerate(zip(size, strides, strict=True)):
        if stride > 0 and s == 1 and m.chance(0.3) and len(shape) > 1 and len(result) + 1 < i + 2:
            shrink |= 1 << i
            continue
        result.append(-(-s // abs(stride)))
    if result:
        m.emit("STRIDED_SLICE", [x, m.whole(*begin), m.whole(*end), m.whole(*strides)],
               tuple(result), beginMask=0, endMask=0, shrinkAxisMask=shrink)


def padded(m: Maker, x: Value) -> None:
    shape = x.spec.shape
    sides = np.array([[m.random.choice((0, 0, 1, 2)) for _ in range(2)] for _ in shape], "i4")
    kind = m.random.choice(("PAD", "PAD", "PADV2", "MIRROR_PAD"))
    options = {}
    extra: list[Value] = []
    if kind == "MIRROR_PAD":
        sides = np.minimum(sides, np.array(shape)[:, None] - 1).astype("i4")
        options = {"mode": m.random.choice(("REFLECT", "SYMMETRIC"))}
    elif kind == "PADV2":
        extra = [m.graph.const(np.float32(0.5))]
    m.emit(kind, [x, m.graph.const(sides), *extra],
           tuple(int(e + a + b) for e, (a, b) in zip(shape, sides, strict=True)), **options)


def blocks(m: Maker, x: Value) -> None:
    n, h, w, c = x.spec.shape
    if h % 2 == 0 and w % 2 == 0 and m.chance():
        m.emit("SPACE_TO_DEPTH", [x], (n, h // 2, w // 2, 4 * c), blockSize=2)
    elif c % 4 == 0:
        m.emit("DEPTH_TO_SPACE", [x], (n, 2 * h, 2 * w, c // 4), blockSize=2)


def batches(m: Maker, x: Value) -> None:
    n, h, w, c = x.spec.shape
    two = m.whole(2, 2)
    pads = [(-h) % 2, (-w) % 2]
    if n % 4 == 0 and m.chance():
        m.emit("BATCH_TO_SPACE_ND", [x, two, m.graph.const(np.zeros((2, 2), "i4"))],
               (n // 4, 2 * h, 2 * w, c))
    else:
        m.emit("SPACE_TO_BATCH_ND",
               [x, two, m.graph.const(np.array([[0, pads[0]], [pads[1], 0]], "i4"))],
               (4 * n, (h + pads[0]) // 2, (w + pads[1]) // 2, c))


def transposed(m: Maker, x: Value) -> None:
    order = m.random.sample(range(len(x.spec.shape)), len(x.spec.shape))
    m.emit("TRANSPOSE", [x, m.whole(*order)], tuple(x.spec.shape[i] for i in order))


def reshaped(m: Maker, x: Value) -> None:
    shape = x.spec.shape
    kind = m.random.randrange(4)
    if kind == 0 and 1 in shape and len(shape) > 1:
        axis = shape.index(1)
        m.emit("SQUEEZE", [x], _without(shape, axis), squeezeDims=[axis])
    elif kind == 1 and len(shape) < 5:
        axis = m.random.randint(0, len(shape))
        m.emit("EXPAND_DIMS", [x, m.whole(axis)], (*shape[:axis], 1, *shape[axis:]))
    else:
        factors = _factors(prod(shape))
        result = [1] * m.random.randint(1, 4)
        for factor in factors:
            result[m.random.randrange(len(result))] *= factor
        m.emit("RESHAPE", [x, m.whole(*result)], tuple(result), newShape=result)


def _factors(number: int) -> list[int]:
    found, by = [], 2
    while number > 1:
        while number % by == 0:
            found.append(by)
            number //= by
        by += 1
    return found


def gathered(m: Maker, x: Value) -> None:
    shape, axis = x.spec.shape, m.random.randrange(len(x.spec.shape))
    places = [m.random.randrange(shape[axis]) for _ in range(m.random.randint(1, 4))]
    m.emit("GATHER", [x, m.whole(*places)], (*shape[:axis], len(places), *shape[axis + 1:]),
           axis=axis)


def chosen(m: Maker, x: Value) -> None:
    """The larger of two, the long way."""
    shape = x.spec.shape
    (mask,) = m.graph.op("GREATER", [x, m.graph.const(np.float32(0))], [Spec(shape, "bool")], {})
    m.emit("SELECT_V2", [mask, x, _negative(m, x)] if m.chance() else
           [mask, x, m.graph.const(np.float32(0))], shape)


def _negative(m: Maker, x: Value) -> Value:
    m.emit("NEG", [x], x.spec.shape)
    return m.values[-1]


def tiled(m: Maker, x: Value) -> None:
    times = [m.random.choice((1, 1, 1, 2)) for _ in x.spec.shape]
    m.emit("TILE", [x, m.whole(*times)],
           tuple(e * t for e, t in zip(x.spec.shape, times, strict=True)))


def scanned(m: Maker, x: Value) -> None:
    if m.whole_kernels or m.chance():
        m.emit("REVERSE_V2", [x, m.whole(m.random.randrange(len(x.spec.shape)))], x.spec.shape)
    else:
        axis = m.graph.const(np.array(m.random.randrange(len(x.spec.shape)), "i4"))
        m.emit("CUMSUM", [x, axis], x.spec.shape, exclusive=m.chance(0.3), reverse=m.chance(0.3))
