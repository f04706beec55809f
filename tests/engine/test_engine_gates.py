"""Values multiplied with a function of themselves: what makes them takes the rest on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import GraphBuilder, ModelBuilder, Value

RNG = np.random.default_rng(5)
SHAPE = (1, 4, 5, 6)
Gate = Callable[[GraphBuilder, Value], Value]


def _unary(op: str) -> Gate:
    return lambda graph, x: graph.op("MUL", [x, graph.op(op, [x], [x.spec])[0]], [x.spec])[0]


def _hard_swish(graph: GraphBuilder, x: Value) -> Value:
    more = graph.op("ADD", [x, graph.const(np.array(3, "f4"))], [x.spec],
                    {"fusedActivationFunction": 3})[0]
    gated = graph.op("MUL", [more, x], [x.spec])[0]
    return graph.op("MUL", [gated, graph.const(np.array(1 / 6, "f4"))], [x.spec])[0]


def _mish(graph: GraphBuilder, x: Value) -> Value:
    one = graph.const(np.array(1, "f4"))
    plus = graph.op("ADD", [graph.op("EXP", [x], [x.spec])[0], one], [x.spec])[0]
    soft = graph.op("TANH", [graph.op("LOG", [plus], [x.spec])[0]], [x.spec])[0]
    return graph.op("MUL", [x, soft], [x.spec])[0]


def _less_own_square(graph: GraphBuilder, x: Value) -> Value:
    channels = graph.const(RNG.normal(size=6).astype("f4"))
    scaled = graph.op("MUL", [x, channels], [x.spec])[0]
    return graph.op("SUB", [graph.op("SQUARE", [scaled], [x.spec])[0], x], [x.spec],
                    {"fusedActivationFunction": 1})[0]


def _twice(graph: GraphBuilder, x: Value) -> Value:
    return _unary("TANH")(graph, _unary("LOGISTIC")(graph, x))


def _within(graph: GraphBuilder, x: Value) -> Value:
    inner = _unary("LOGISTIC")(graph, graph.op("NEG", [x], [x.spec])[0])
    return graph.op("ADD", [x, inner], [x.spec])[0]


GATES: dict[str, Gate] = {
    "silu": _unary("LOGISTIC"), "hard swish": _hard_swish, "mish": _mish,
    "square less itself": _less_own_square, "twice": _twice, "within": _within}
HEADS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "none")


def _head(graph: GraphBuilder, head: str, x: Value) -> Value:
    bias = graph.const(RNG.normal(size=6).astype("f4"))
    window = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    if head == "CONV_2D":
        w = graph.const(RNG.normal(size=(6, 3, 3, 6)).astype("f4") / 7)
        return graph.op(head, [x, w, bias], [x.spec], window)[0]
    if head == "DEPTHWISE_CONV_2D":
        w = graph.const(RNG.normal(size=(1, 3, 3, 6)).astype("f4"))
        return graph.op(head, [x, w, bias], [x.spec], {**window, "depthMultiplier": 1})[0]
    if head == "FULLY_CONNECTED":
        w = graph.const(RNG.normal(size=(6, 6)).astype("f4"))
        return graph.op(head, [x, w, bias], [x.spec], {"keepNumDims": True})[0]
    if head == "MAX_POOL_2D":
        return graph.op(head, [x], [x.spec], {"padding": 0, "strideH": 1, "strideW": 1,
                                              "filterHeight": 3, "filterWidth": 3})[0]
    return x


def _launches(runtime: Runtime, blob: bytes) -> int:
    """Run a model, compare its answers; how many kernels it took if none were joined in chains."""
    model = LoadedModel(runtime, read(blob))
    inputs = oracle.random_inputs(blob, low=-4, high=4)
    for actual, expected in zip(model.run(inputs), oracle.run(blob, inputs), strict=True):
        oracle.assert_close(actual, expected)
    steps = model.prepare().plan.steps
    model.close()
    return sum(max(len(step.parts), 1) for step in steps)


@pytest.mark.parametrize(("name", "head"), [
    *(("silu", head) for head in HEADS), *((name, "CONV_2D") for name in GATES if name != "silu")])
def test_a_gate_costs_no_launch(runtime: Runtime, name: str, head: str) -> None:
    built = []
    for gate in (GATES[name], _unary("LOGISTIC") if head == "none" else None):
        model = ModelBuilder()
        graph = model.graph()
        y = _head(graph, head, graph.input(SHAPE))
        graph.outputs(gate(graph, y) if gate else y)
        built.append(model.build())
    gated, alone = (_launches(runtime, blob) for blob in built)
    assert gated == alone


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_values_that_others_read_too_stay_right(runtime: Runtime, data: st.DataObject) -> None:
    model = ModelBuilder()
    graph = model.graph()
    values = [_head(graph, data.draw(st.sampled_from(HEADS)), graph.input(SHAPE))]
    for _ in range(data.draw(st.integers(1, 5))):
        x = data.draw(st.sampled_from(values))
        gate = data.draw(st.sampled_from(sorted(GATES)))
        values.append(GATES[gate](graph, x))
    chosen = data.draw(st.lists(st.sampled_from(values[1:]), min_size=1, unique_by=id))
    graph.outputs(*chosen, *(v for v in values[-1:] if v not in chosen))
    _launches(runtime, model.build())
