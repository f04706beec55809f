"""Tensors of unusual forms: none or many dimensions, no elements, float16, batches chosen late."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.epilogue import FLEX
from app.engine.ir import Node
from app.engine.registry import HOSTS
from app.engine.runtime import Runtime
from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.engine_check import assert_op_same, run_engine

RNG = np.random.default_rng(31)
SHAPES = {5: (2, 1, 3, 2, 4), 6: (2, 1, 3, 2, 1, 4)}


def floats(*shape: int) -> oracle.Array:
    return RNG.uniform(-1, 1, shape).astype("f4")


def i4(values: Any) -> oracle.Array:
    return np.array(values, "i4")


def many(rank: int) -> dict[str, tuple[str, list[Any], tuple[int, ...], dict[str, Any] | None]]:
    """Operations on tensors of a rank: inputs and constants, the output's shape, options."""
    s = SHAPES[rank]
    back = tuple(reversed(range(rank)))
    ones = [1] * (rank - 1)
    lone = {"keepDims": False}
    return {
        "add": ("ADD", [Spec(s), Spec(s)], s, None),
        "broadcast": ("MUL", [Spec(s), Spec(s[-2:])], s, None),
        "transpose": ("TRANSPOSE", [Spec(s), i4(back)], tuple(s[i] for i in back), {}),
        "sum": ("SUM", [Spec(s), i4([1, 3])],
                tuple(e for i, e in enumerate(s) if i not in (1, 3)), lone),
        "sum of every other": ("SUM", [Spec(s), i4([0, 2, 4])],
                               tuple(e for i, e in enumerate(s) if i not in (0, 2, 4)), lone),
        "slice": ("SLICE", [Spec(s), i4([0] * rank), i4([*ones, 2])], (*ones, 2), None),
        "strides": ("STRIDED_SLICE", [Spec(s), i4([0] * rank), i4(s), i4([*ones, 2])],
                    (*s[:-1], 2), {}),
        "pad": ("PAD", [Spec(s), i4([[0, 1]] * rank)], tuple(e + 1 for e in s), None),
        "concat": ("CONCATENATION", [Spec(s), Spec(s)], (*s[:-1], 8), {"axis": -1}),
        "softmax": ("SOFTMAX", [Spec(s)], s, {"beta": 1.0}),
        "products": ("BATCH_MATMUL", [Spec((*s[:-2], 3, 4)), Spec((*s[:-2], 4, 2))],
                     (*s[:-2], 3, 2), {}),
        "gather": ("GATHER", [Spec(s), i4([1, 0])], s, {"axis": 0}),
        "tile": ("TILE", [Spec(s), i4([*ones, 2])], (*s[:-1], 8), None),
        "select": ("SELECT_V2", [Spec(s, "bool"), Spec(s), Spec(s[-1:])], s, None),
        "dense": ("FULLY_CONNECTED", [Spec(s), floats(3, 4), None], (*s[:-1], 3),
                  {"keepNumDims": True}),
    }


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("name", many(5))
def test_many_dimensions(runtime: Runtime, name: str, rank: int) -> None:
    op, inputs, shape, options = many(rank)[name]
    blob = single_op(op, inputs, [Spec(shape)], options)
    assert_op_same(runtime, blob, oracle.random_inputs(blob), on_device=False)


@pytest.mark.parametrize("op", ["ADD", "MUL"])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_broadcast_of_six_dimensions(runtime: Runtime, op: str, dtype: str) -> None:
    blob = single_op(op, [Spec((2, 1, 3, 1, 2, 4), dtype), Spec((1, 3, 1, 2, 2, 1), dtype)],
                     [Spec((2, 3, 3, 2, 2, 4), dtype)])
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("shapes", [((), ()), ((), (5,)), ((1,), ())])
def test_no_dimensions(runtime: Runtime, shapes: Any) -> None:
    blob = single_op("ADD", [Spec(s) for s in shapes], [Spec(np.broadcast_shapes(*shapes))])
    assert_op_same(runtime, blob, [np.float32(2.5) if s == () else floats(*s) for s in shapes])


@pytest.mark.parametrize(("op", "inputs", "out", "options", "given"), [
    ("ADD", [Spec((-1, 3)), Spec((-1, 3))], (-1, 3), None, [(0, 3), (0, 3)]),
    ("SOFTMAX", [Spec((-1, 3))], (-1, 3), {"beta": 1.0}, [(0, 3)]),
    ("FULLY_CONNECTED", [Spec((-1, 3)), floats(4, 3), None], (-1, 4), {}, [(0, 3)]),
    ("CONCATENATION", [Spec((-1, 3)), Spec((2, 3))], (-1, 3), {"axis": 0}, [(0, 3), (2, 3)]),
    ("SUM", [Spec((-1, 3)), i4([0])], (3,), {"keepDims": False}, [(0, 3)]),
    ("CONV_2D", [Spec((-1, 4, 4, 3)), floats(2, 3, 3, 3), floats(2)], (-1, 4, 4, 2),
     {"padding": "SAME", "strideH": 1, "strideW": 1}, [(0, 4, 4, 3)]),
    ("BATCH_MATMUL", [Spec((2, -1, 3)), Spec((2, 3, 4))], (2, -1, 4), {}, [(2, 0, 3), (2, 3, 4)]),
    ("PAD", [Spec((-1, 3)), i4([[1, 1], [0, 0]])], (-1, 3), None, [(0, 3)])])
def test_no_elements(runtime: Runtime, op: str, inputs: list[Any], out: tuple[int, ...],
                     options: Any, given: list[tuple[int, ...]]) -> None:
    blob = single_op(op, inputs, [Spec(out)], options)
    arrays = [floats(*shape) for shape in given]
    for actual, expected in zip(run_engine(runtime, blob, arrays), _judged(blob, arrays),
                                strict=True):
        oracle.assert_same(actual, expected)


def test_sums_of_nothing_are_zero(runtime: Runtime) -> None:
    # TFLite leaves the result unwritten here.
    blob = single_op("BATCH_MATMUL", [Spec((2, 3, -1)), Spec((2, -1, 4))], [Spec((2, 3, 4))])
    (y,) = run_engine(runtime, blob, [floats(2, 3, 0), floats(2, 0, 4)])
    assert y.shape == (2, 3, 4)
    assert not y.any()


def _judged(blob: bytes, arrays: list[oracle.Array]) -> list[oracle.Array]:
    try:
        return oracle.run(blob, arrays)
    except oracle.Refused:  # XNNPACK takes no empty tensors
        return oracle.run(blob, arrays, plain=True)


def test_float16_inputs_and_outputs(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((3, 8), "float16")
    (wide,) = graph.op("CAST", [x], [Spec((3, 8))],
                       {"inDataType": "float16", "outDataType": "float32"})
    (y,) = graph.op("FULLY_CONNECTED", [wide, graph.const(floats(4, 8)), None], [Spec((3, 4))])
    (narrow,) = graph.op("CAST", [y], [Spec((3, 4), "float16")],
                         {"inDataType": "float32", "outDataType": "float16"})
    graph.outputs(narrow)
    blob, inputs = model.build(), [floats(3, 8).astype("f2")]
    ((actual,), (expected,)) = run_engine(runtime, blob, inputs), oracle.run(blob, inputs)
    # One step of float16 where a sum lies between two.
    np.testing.assert_allclose(actual.astype("f4"), expected.astype("f4"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("op", ["FULLY_CONNECTED", "CONV_2D"])
def test_a_batch_chosen_late_with_int8_weights(runtime: Runtime, op: str) -> None:
    full = op == "FULLY_CONNECTED"
    weights = RNG.integers(-127, 128, (5, 8) if full else (5, 3, 3, 4)).astype("i1")
    scales = 1 if full else 5
    blob = single_op(op, [Spec((-1, 8) if full else (-1, 6, 6, 4)),
                          (weights, Quantization((0.01,) * scales, (0,) * scales)), floats(5)],
                     [Spec((-1, 5) if full else (-1, 6, 6, 5))],
                     {"asymmetricQuantizeInputs": True} if full else
                     {"padding": "SAME", "strideH": 1, "strideW": 1})
    # Rows of very different size: each is quantised on its own.
    rows = np.float32([1, 30, 0.01, 5]).reshape(4, *[1] * (1 if full else 3))
    assert_op_same(runtime, blob, [rows * floats(4, 8) if full else rows * floats(4, 6, 6, 4)])


@pytest.mark.parametrize("runtime", ["own"], indirect=True)
@pytest.mark.parametrize("name", FLEX)
def test_functions_of_tensorflow(runtime: Runtime, name: str) -> None:
    # No runtime without TensorFlow has them.
    spec = Spec((3, 5))
    x = (np.random.default_rng(5).uniform(0.1, 0.9, (3, 5)) + ("Acosh" in name)).astype("f4")
    blob = single_op(name.removeprefix("CUSTOM:"), [spec], [spec], custom=b"")
    (actual,) = run_engine(runtime, blob, [x])
    (expected,) = HOSTS[name](Node(name, (), ()), [x.astype("f8")])
    oracle.assert_close(actual, expected.astype("f4"))
