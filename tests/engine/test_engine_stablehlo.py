"""What PyTorch's and JAX's converters leave of StableHLO: windows, scatters, padding, counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.passes import convolution, stablehlo
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, Value, single_op
from tests.engine.engine_check import assert_op_same, run_engine

FOLDS = {"ADD": np.add, "MAXIMUM": np.maximum, "MUL": np.multiply}


def with_body(name: str, inputs: Sequence[Any], output: Spec, options: Mapping[str, Any],
              body: str) -> bytes:
    """A model of one op whose second graph does `body` to two numbers, or gives the second."""
    model = ModelBuilder()
    graph = model.graph()
    values = [graph.input(v.shape, v.dtype) if isinstance(v, Spec) else graph.const(v)
              for v in inputs]
    graph.outputs(*graph.op(name, values, [output], options))
    inner = model.graph("body")
    pair = [inner.input((), output.dtype) for _ in range(2)]
    made: Value = pair[1]
    if body:
        (made,) = inner.op(body, pair, [Spec((), output.dtype)])
    inner.outputs(made)
    return model.build()


WINDOWS: dict[str, tuple[str, float, Spec, Spec, dict[str, list[int]]]] = {
    "sums": ("ADD", 0, Spec((1, 9, 8, 3)), Spec((1, 5, 4, 3)), {
        "windowDimensions": [1, 3, 3, 1], "windowStrides": [1, 2, 2, 1],
        "padding": [0, 0, 1, 1, 0, 1, 0, 0]}),
    "volumes": ("MAXIMUM", -np.inf, Spec((1, 2, 4, 6, 5)), Spec((1, 2, 2, 3, 2)), {
        "windowDimensions": [1, 1, 2, 2, 2], "windowStrides": [1, 1, 2, 2, 2]}),
    "dilated": ("MINIMUM", np.inf, Spec((7, 9)), Spec((3, 7)), {
        "windowDimensions": [2, 3], "windowStrides": [2, 1], "windowDilations": [2, 1]}),
    "products": ("MUL", 1, Spec((6,)), Spec((9,)), {"windowDimensions": [3], "padding": [2, 3]}),
    "integers": ("ADD", 0, Spec((2, 6), "int32"), Spec((2, 6), "int32"), {
        "windowDimensions": [1, 3], "padding": [0, 0, 2, 0]}),
}


def window_blob(name: str, more: Mapping[str, list[int]] | None = None,
                out: tuple[int, ...] = ()) -> bytes:
    body, init, x, y, options = WINDOWS[name]
    rank = len(x.shape)
    ones = dict.fromkeys(("windowStrides", "windowDilations", "baseDilations"), [1] * rank)
    whole = {**ones, "padding": [0] * 2 * rank, **options, **(more or {}), "bodySubgraphIndex": 1}
    return with_body("STABLEHLO_REDUCE_WINDOW", [x, np.array(init, x.dtype)],
                     replace(y, shape=out or y.shape), whole, body)


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(runtime: Runtime, name: str) -> None:
    blob = window_blob(name)
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("runtime", ["own"], indirect=True)
def test_windows_on_what_was_moved_apart_are_for_numpy(runtime: Runtime) -> None:
    blob = window_blob("dilated", {"baseDilations": [2, 1], "padding": [1, 0, 0, -1]}, (6, 6))
    assert_op_same(runtime, blob, oracle.random_inputs(blob), on_device=False)


BOXES = {
    "rows": ((5, 4), (3, 1), (3, 4), {"updateWindowDims": [1], "insertedWindowDims": [0],
                                      "scatterDimsToOperandDims": [0], "indexVectorDim": 1}),
    "numbers": ((3, 6), (3, 2, 2), (3, 2), {"insertedWindowDims": [1, 0],
                                            "scatterDimsToOperandDims": [1, 0],
                                            "indexVectorDim": 2}),
    "columns": ((2, 3, 7), (4, 1), (2, 3, 4), {"updateWindowDims": [0, 1],
                                               "insertedWindowDims": [2],
                                               "scatterDimsToOperandDims": [2],
                                               "indexVectorDim": 1}),
}


@pytest.mark.parametrize("body", ["", "ADD", "MAXIMUM"])
@pytest.mark.parametrize("name", BOXES)
def test_scatters(runtime: Runtime, name: str, body: str) -> None:
    shape, index, given, options = BOXES[name]
    rng = np.random.default_rng(3)
    x, updates = rng.normal(size=shape).astype("f4"), rng.normal(size=given).astype("f4")
    # Some fall on each other, some outside, which drops them.
    at = rng.integers(-1, max(shape) + 1, index).astype("i4")
    blob = with_body("STABLEHLO_SCATTER", [Spec(shape), Spec(index, "int32"), Spec(given)],
                     Spec(shape), {**options, "updateComputationSubgraphIndex": 1}, body)
    axes = options["scatterDimsToOperandDims"]
    window = options.get("updateWindowDims", [])
    expected = np.moveaxis(x.copy(), axes, range(len(axes)))
    slices = np.moveaxis(updates, window, range(-len(window), 0)).reshape(
        -1, *expected.shape[len(axes):])
    for place, part in zip(at.reshape(-1, len(axes)), slices, strict=True):
        if ((place >= 0) & (place < expected.shape[:len(axes)])).all():
            where = tuple(place)
            expected[where] = FOLDS[body](expected[where], part) if body else part
    (actual,) = run_engine(runtime, blob, [x, at, updates])
    oracle.assert_same(actual, np.moveaxis(expected, range(len(axes)), axes))


A, B = np.float32([[-1.5, 0.5, 2.0]]), np.float32([[0.3], [1.2]])
TRUE = np.array([[True, False, True]])
# Operation: inputs, options, answer.
TRANSLATED: dict[str, tuple[list[Any], dict[str, Any], Any]] = {
    **{name: ([abs(A)], {}, function(abs(A))) for name, function in {
        "ABS": np.abs, "COSINE": np.cos, "EXPONENTIAL": np.exp, "FLOOR": np.floor, "LOG": np.log,
        "LOGISTIC": lambda v: 1 / (1 + np.exp(-v)), "NEGATE": np.negative,
        "RSQRT": lambda v: 1 / np.sqrt(v), "TANH": np.tanh}.items()},
    **{name: ([A, A * 2 + 5], {}, function(A, A * 2 + 5)) for name, function in {
        "ADD": np.add, "DIVIDE": np.divide, "MAXIMUM": np.maximum, "MINIMUM": np.minimum,
        "MULTIPLY": np.multiply, "SUBTRACT": np.subtract}.items()},
    "POWER": ([abs(A), A], {}, abs(A) ** A),
    "CONVERT": ([np.int32([3, -4])], {}, np.float32([3, -4])),
    "SELECT": ([TRUE, A, -A], {}, np.where(TRUE, A, -A)),
    "AND": ([TRUE, ~TRUE], {}, TRUE & ~TRUE), "OR": ([TRUE, ~TRUE], {}, TRUE | ~TRUE),
    "COMPARE": ([A, -A], {"comparisonDirection": 3}, A > -A),
    "CLAMP": ([np.float32(-1), A, np.float32(1)], {}, np.clip(A, -1, 1)),
    "RESHAPE": ([A], {}, A.reshape(3)),
    "TRANSPOSE": ([A], {"permutation": [1, 0]}, A.T),
    "CONCATENATE": ([A, A], {"dimension": 1}, np.concatenate([A, A], 1)),
    "BROADCAST_IN_DIM": ([A[0]], {"broadcastDimensions": [1]}, np.broadcast_to(A[0], (2, 3))),
    "SLICE": ([A], {"startIndices": [0, 0], "limitIndices": [1, 3], "strides": [1, 2]}, A[:, ::2]),
    "DYNAMIC_UPDATE_SLICE": ([A, B[:1], np.int32(0), np.int32(1)], {},
                             np.float32([[-1.5, 0.3, 2.0]])),
}


def test_every_translation_has_an_example() -> None:
    # Of convolutions: test_engine_stablehlo_conv.py.
    assert {stablehlo.P + name for name in TRANSLATED} == {*stablehlo.RULES} - {convolution.NAME}


@pytest.mark.parametrize("runtime", ["own"], indirect=True)
@pytest.mark.parametrize("name", TRANSLATED)
def test_what_tflite_has_under_another_name(runtime: Runtime, name: str) -> None:
    inputs, options, answer = TRANSLATED[name]
    given = [np.asarray(v) for v in inputs]
    blob = single_op(f"STABLEHLO_{name}", [Spec(v.shape, str(v.dtype)) for v in given],
                     [Spec(answer.shape, str(answer.dtype))], options)
    model = LoadedModel(runtime, read(blob))
    try:
        (actual,), (row,) = model.run(given), model.explain()
    finally:
        model.close()
    oracle.assert_same(actual, np.ascontiguousarray(answer))
    assert row.op == f"STABLEHLO_{name}"
    assert row.place in ("card", "free")


def test_counting(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))
    (count,) = graph.op("STABLEHLO_IOTA", [], [Spec((2, 3))], {"iotaDimension": 1})
    graph.outputs(*graph.op("ADD", [x, count], [Spec((2, 3))], {}))
    given = np.ones((2, 3), "f4")
    (actual,) = run_engine(runtime, model.build(), [given])
    assert actual.tolist() == [[1, 2, 3]] * 2
