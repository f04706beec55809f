"""Two dense layers on one row, in one kernel on cards, equal TFLite's two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from bench.kernels.plans import launches, plan_blob
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.engine_check import assert_op_same

ONE = {"padding": "SAME", "strideH": 1, "strideW": 1}
# Numbers of the input, between the layers, of the result.
EXTENTS = [(5, 3, 7), (96, 24, 96), (16, 8, 300), (70, 100, 9), (33, 1, 1)]


def net(kind: str, extents: tuple[int, int, int], rows: int = 1) -> bytes:
    """Two layers with activations, scaled by an input."""
    k, h, o = extents
    rng = np.random.default_rng(5)

    def numbers(*shape: int) -> Any:
        return graph.const(rng.uniform(-1, 1, shape).astype("f4"))

    model = ModelBuilder()
    graph = model.graph()
    point = (1, 1) if kind == "CONV_2D" else ()
    options = ONE if point else {}
    last = Spec((rows, *point, o))
    (y,) = graph.op(kind, [graph.input((rows, *point, k)), numbers(h, *point, k), numbers(h)],
                    [Spec((rows, *point, h))], {**options, "fusedActivationFunction": "RELU"})
    (y,) = graph.op(kind, [y, numbers(o, *point, h), numbers(o)], [last], options)
    (y,) = graph.op("LOGISTIC", [y], [last])
    graph.outputs(*graph.op("MUL", [y, graph.input(last.shape)], [last], {}))
    return model.build()


@pytest.mark.parametrize("extents", EXTENTS)
@pytest.mark.parametrize("kind", ["FULLY_CONNECTED", "CONV_2D"])
def test_dense_pairs(runtime: Runtime, kind: str, extents: tuple[int, int, int]) -> None:
    blob = net(kind, extents)
    inputs = oracle.random_inputs(blob)
    assert_op_same(runtime, blob, inputs)
    model = LoadedModel(runtime, read(blob), fp16_storage=True)
    (half,), (exact,) = model.run(inputs), oracle.run(blob, inputs)
    model.close()
    oracle.assert_close(half, exact, 1e-2)


def test_small_layers_are_one_launch_and_others_are_two() -> None:
    assert [s.kernel for s in launches(plan_blob(net("CONV_2D", (96, 24, 96))))] == ["dense_pair"]
    for apart in (net("CONV_2D", (96, 24, 96), 3), net("FULLY_CONNECTED", (1024, 128, 9)),
                  net("FULLY_CONNECTED", (16, 300, 9))):
        assert [s.kernel for s in launches(plan_blob(apart))] == ["gemv", "gemv"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_passes(runtime: Runtime, bad: float) -> None:
    blob = net("FULLY_CONNECTED", (5, 3, 7))
    inputs = oracle.random_inputs(blob)
    inputs[0][0, 2] = bad
    assert_op_same(runtime, blob, inputs)
