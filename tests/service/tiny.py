"""Models small enough to be made by the test that uses them."""

from __future__ import annotations

import numpy as np

from tests.engine.builder import ModelBuilder, Spec


def add(constant: float, shape: tuple[int, ...] = (1, 4), dtype: str = "float32") -> bytes:
    """y = x + constant."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input(shape, dtype)
    c = graph.const(np.array([constant], dtype))
    graph.outputs(*graph.op("ADD", [x, c], [Spec(shape, dtype)], {}))
    return model.build()


def heavy(megabytes: int = 32) -> bytes:
    """y = W x with enough weights that loading takes a while."""
    rows = megabytes << 8
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 1024))
    weights = graph.const(np.ones((rows, 1024), np.float32))
    bias = graph.const(np.zeros(rows, np.float32))
    graph.outputs(*graph.op("FULLY_CONNECTED", [x, weights, bias], [Spec((1, rows))], {}))
    return model.build()


def deep(layers: int = 90) -> bytes:
    """So many products with one 1024x1024 matrix: much to compute, little to load or to answer."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 1024))
    weights = graph.const(np.ones((1024, 1024), np.float32))
    bias = graph.const(np.zeros(1024, np.float32))
    for _ in range(layers):
        (x,) = graph.op("FULLY_CONNECTED", [x, weights, bias], [Spec((1, 1024))], {})
    graph.outputs(x)
    return model.build()


def pair(shape: tuple[int, ...] = (1, 3)) -> bytes:
    """sum = a + b and product = a * b."""
    model = ModelBuilder()
    graph = model.graph()
    a, b = graph.input(shape), graph.input(shape)
    graph.outputs(
        *graph.op("ADD", [a, b], [Spec(shape)], {}), *graph.op("MUL", [a, b], [Spec(shape)], {})
    )
    return model.build()


def cast(source: str, target: str, shape: tuple[int, ...] = (1, 4)) -> bytes:
    """y = x in another type."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input(shape, source)
    graph.outputs(*graph.op("CAST", [x], [Spec(shape, target)], {}))
    return model.build()


def wordy() -> bytes:
    """An operation that nobody knows, of a name that is longer than a pipe holds."""
    model = ModelBuilder()
    graph = model.graph()
    graph.outputs(*graph.op("N" * 70_000, [graph.input((1, 4))], [Spec((1, 4))], {}, custom=b""))
    return model.build()


def endless() -> bytes:
    """A loop that never ends."""
    model = ModelBuilder()
    main, condition, body = (model.graph(name) for name in ("main", "condition", "body"))
    x = main.input((1,))
    main.outputs(
        *main.op("WHILE", [x], [Spec((1,))], {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    )
    y = condition.input((1,))
    condition.outputs(*condition.op("EQUAL", [y, y], [Spec((1,), "bool")], {}))
    z = body.input((1,))
    body.outputs(*body.op("ABS", [z], [Spec((1,))], {}))
    return model.build()


def huge() -> bytes:
    """A tensor that no machine has room for."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 1))
    times = graph.const(np.array([1 << 17, 1 << 17], np.int32))
    graph.outputs(*graph.op("TILE", [x, times], [Spec((1 << 17, 1 << 17))], {}))
    return model.build()


def filled(computed: bool) -> bytes:
    """As many ones as the input says, or always two."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1,), "int32")
    size = x if computed else graph.const(np.array([2], np.int32))
    one = graph.const(np.array(1, np.float32))
    graph.outputs(*graph.op("FILL", [size, one], [Spec((-1,) if computed else (2,))], {}))
    return model.build()


def listing(turns: int, last_only: bool = False) -> bytes:
    """y[t] = h after t turns of h = h + x, as Keras's loops write it: each turn sets an item of a
    TensorFlow list."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((-1, 3))
    count = graph.const(np.array(1 if last_only else turns, "i4"))
    shape = graph.const(np.array([-1, 3], "i4"))
    items = graph.op("FlexTensorListReserve", [shape, count], [Spec((), "variant")], custom=b"")
    specs = [Spec((), "int32"), Spec((), "variant"), Spec((-1, 3)), Spec((-1, 3))]
    start = graph.const(np.array(0, "i4"))
    outputs = graph.op("WHILE", [start, *items, x, x], specs,
                       {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    graph.outputs(*graph.op("FlexTensorListStack", [outputs[1], shape], [Spec((-1, -1, 3))],
                            custom=b""))
    condition = model.graph("condition")
    i, *_ = (condition.input(s.shape, s.dtype) for s in specs)
    limit = condition.const(np.array(turns, "i4"))
    condition.outputs(*condition.op("LESS", [i, limit], [Spec((), "bool")]))
    body = model.graph("body")
    i, items[0], h, x = (body.input(s.shape, s.dtype) for s in specs)
    (after,) = body.op("ADD", [i, body.const(np.array(1, "i4"))], [specs[0]])
    (h,) = body.op("ADD", [h, x], [specs[2]])
    place = body.const(np.array(0, "i4")) if last_only else i
    body.outputs(after, *body.op("FlexTensorListSetItem", [items[0], place, h], [specs[1]],
                                 custom=b""), h, x)
    return model.build()
