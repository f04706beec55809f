"""Chains that converters write become fewer launches with the same answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.reader import read
from app.engine.runtime import LoadedModel, Runtime
from bench.kernels import plans
from tests.engine import oracle
from tests.engine.builder import GraphBuilder, ModelBuilder, Spec, Value
from tests.engine.engine_check import assert_op_same


def _launches(runtime: Runtime, blob: bytes, inputs: list[Any]) -> int:
    """Count those that a chain runs in their place, too."""
    model = LoadedModel(runtime, read(blob))
    try:
        plan = model.prepare([a.shape for a in inputs]).plan
        return sum(len(launch.parts) or 1 for launch in plans.launches(plan))
    finally:
        model.close()


def _norm(graph: GraphBuilder, x: Value, keras: bool) -> Value:
    """LayerNorm over 19 channels as PyTorch's converter or as Keras writes it."""
    full, row = Spec((2, 5, 19)), Spec((2, 5, 1))
    rng = np.random.default_rng(0)
    gamma = graph.const(rng.uniform(0.5, 1, 19).astype("f4"))
    beta = graph.const(rng.uniform(-1, 1, 19).astype("f4"))
    axis, epsilon = graph.const(np.array([2], "i4")), graph.const(np.array(1e-3, "f4"))
    (mean,) = graph.op("MEAN", [x, axis], [row], {"keepDims": True})
    if keras:
        (power,) = graph.op("SQUARED_DIFFERENCE", [x, mean], [full])
    else:
        (centred,) = graph.op("SUB", [x, mean], [full])
        (power,) = graph.op("MUL", [centred, centred], [full])
    (variance,) = graph.op("MEAN", [power, axis], [row], {"keepDims": True})
    (sure,) = graph.op("ADD", [variance, epsilon], [row])
    (scale,) = graph.op("RSQRT", [sure], [row])
    if keras:
        (factor,) = graph.op("MUL", [scale, gamma], [full])
        (scaled,) = graph.op("MUL", [x, factor], [full])
        (moved,) = graph.op("MUL", [mean, factor], [full])
        (shift,) = graph.op("SUB", [beta, moved], [full])
        return graph.op("ADD", [scaled, shift], [full])[0]
    (normal,) = graph.op("MUL", [centred, scale], [full])
    (weighted,) = graph.op("MUL", [normal, gamma], [full])
    return graph.op("ADD", [weighted, beta], [full])[0]


@pytest.mark.parametrize("keras", [False, True])
def test_a_layer_norm_is_one_launch(runtime: Runtime, keras: bool) -> None:
    model = ModelBuilder()
    graph = model.graph()
    graph.outputs(_norm(graph, graph.input((2, 5, 19)), keras))
    blob = model.build()
    inputs = oracle.random_inputs(blob, low=-3.0, high=5.0)
    assert_op_same(runtime, blob, inputs)
    assert _launches(runtime, blob, inputs) == 1


def _transposed(graph: GraphBuilder, x: Value, order: list[int]) -> Value:
    spec = Spec(tuple(x.spec.shape[i] for i in order))
    return graph.op("TRANSPOSE", [x, graph.const(np.array(order, "i4"))], [spec])[0]


@pytest.mark.parametrize(("orders", "launches"), [
    ([[0, 2, 1]], 1),                 # moves data, though it has a dimension of 1
    ([[0, 2, 1], [0, 2, 1]], 0),      # there and back
    ([[1, 0, 2]], 0),                 # only a dimension of 1 moves
    ([[2, 1, 0], [1, 0, 2]], 0),      # together they only move the dimension of 1
], ids=str)
def test_transposes_that_move_nothing_cost_nothing(runtime: Runtime, orders: list[list[int]],
                                                   launches: int) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = y = graph.input((1, 4, 6))
    for order in orders:
        y = _transposed(graph, y, order)
    (z,) = graph.op("ABS", [y], [y.spec])
    graph.outputs(z)
    blob = model.build()
    inputs = oracle.random_inputs(blob)
    assert_op_same(runtime, blob, inputs)
    assert _launches(runtime, blob, inputs) == launches + 1
    assert x.spec.shape == (1, 4, 6)


def test_a_square_joins_what_makes_its_input(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 3, 3, 4))
    weights = np.random.default_rng(1).uniform(-1, 1, (8, 1, 1, 4)).astype("f4")
    (y,) = graph.op("CONV_2D", [x, graph.const(weights), graph.const(np.ones(8, "f4"))],
                    [Spec((1, 3, 3, 8))], {"padding": "SAME", "strideH": 1, "strideW": 1})
    (z,) = graph.op("MUL", [y, y], [Spec((1, 3, 3, 8))])
    graph.outputs(z)
    blob = model.build()
    inputs = oracle.random_inputs(blob)
    assert_op_same(runtime, blob, inputs)
    assert _launches(runtime, blob, inputs) == 1


def test_a_square_keeps_its_limits(runtime: Runtime) -> None:
    x = Spec((2, 9))
    model = ModelBuilder()
    graph = model.graph()
    given = graph.input(x.shape)
    graph.outputs(*graph.op("MUL", [given, given], [x], {"fusedActivationFunction": "RELU6"}))
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=-4, high=4))


@pytest.mark.parametrize("seen", [False, True])
def test_nested_concatenations_copy_once(runtime: Runtime, seen: bool) -> None:
    """What is read elsewhere, too, or is along another axis stays."""
    model = ModelBuilder()
    graph = model.graph()
    parts = [graph.input((2, extent, 5)) for extent in (3, 1, 4)]
    options = {"fusedActivationFunction": "NONE"}
    (first,) = graph.op("CONCATENATION", parts[:2], [Spec((2, 4, 5))], {"axis": 1, **options})
    (second,) = graph.op("CONCATENATION", [first, parts[2], parts[0]], [Spec((2, 11, 5))],
                         {"axis": -2, **options})
    ends = graph.op("CONCATENATION", [second, second], [Spec((2, 11, 10))], {"axis": 2, **options})
    graph.outputs(*ends, *([first] if seen else []))
    blob = model.build()
    inputs = oracle.random_inputs(blob)
    assert_op_same(runtime, blob, inputs)
    profile = runtime.device.profile
    concats = [n for n in plans.plan_blob(blob, profile=profile).graph.nodes
               if n.op == "CONCATENATION"]
    assert len(concats) == (3 if seen else 2)
