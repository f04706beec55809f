"""Lookups, choices, comparisons, integer arithmetic and scans equal TFLite's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.runtime import Runtime
from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.engine_check import assert_op_same, run_engine

QUANT = Quantization((0.1,), (3,))
RNG = np.random.default_rng(12)


def spec(shape: tuple[int, ...], dtype: str) -> Spec:
    return Spec(shape, dtype, QUANT if dtype == "int8" else None)


def check(runtime: Runtime, blob: bytes, inputs: Any = None, **more: Any) -> None:
    assert_op_same(runtime, blob, inputs or oracle.random_inputs(blob), **{"steps": 0, **more})


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("kind", ["SUM", "PROD", "MAX", "MIN"])
def test_segments(runtime: Runtime, kind: str, dtype: str) -> None:
    blob = single_op(f"UNSORTED_SEGMENT_{kind}",
                     [Spec((2, 3, 5), dtype), Spec((2, 3), "int32"), np.array(5, "i4")],
                     [Spec((5, 5), dtype)])
    data, _ = oracle.random_inputs(blob)
    # One row is in no segment, and two segments are empty.
    check(runtime, blob, [data, np.array([[3, 0, 3], [-1, 2, 0]], "i4")])


@pytest.mark.parametrize("dtype", ["float32", "int8", "int64"])
@pytest.mark.parametrize(("shape", "index", "axis", "batch"), [
    ((7, 5), (3,), 0, 0), ((2, 7, 5), (3, 2), 1, 0), ((2, 7, 5), (4,), -1, 0),
    ((2, 7, 5), (2, 3), 1, 1), ((8,), (), 0, 0)], ids=str)
def test_gather(runtime: Runtime, shape: tuple[int, ...], index: tuple[int, ...], axis: int,
                batch: int, dtype: str) -> None:
    at = axis % len(shape)
    out = (*shape[:at], *index[batch:], *shape[at + 1:])
    blob = single_op("GATHER", [spec(shape, dtype), Spec(index, "int32")], [spec(out, dtype)],
                     {"axis": axis, "batchDims": batch})
    data, _ = oracle.random_inputs(blob)
    check(runtime, blob, [data, RNG.integers(0, shape[at], index).astype("i4")])


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gather_nd(runtime: Runtime, depth: int, dtype: str) -> None:
    shape = (3, 4, 5)
    index = np.stack([RNG.integers(0, e, (2, 6)) for e in shape[:depth]], -1).astype("i4")
    blob = single_op("GATHER_ND", [Spec(shape, dtype), Spec(index.shape, "int32")],
                     [Spec((2, 6, *shape[depth:]), dtype)])
    check(runtime, blob, [oracle.random_inputs(blob)[0], index])


def test_embedding_lookup(runtime: Runtime) -> None:
    blob = single_op("EMBEDDING_LOOKUP", [Spec((6,), "int32"), RNG.uniform(-1, 1, (9, 4))
                                          .astype("f4")], [Spec((6, 4))])
    check(runtime, blob, [RNG.integers(0, 9, 6).astype("i4")])


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_one_hot(runtime: Runtime, axis: int, dtype: str) -> None:
    out = [2, 5]
    out.insert(axis % 3, 4)
    blob = single_op("ONE_HOT", [Spec((2, 5), "int32"), np.array(4, "i4"),
                                 np.array(3, dtype), np.array(-1, dtype)],
                     [Spec(tuple(out), dtype)], {"axis": axis})
    check(runtime, blob, [RNG.integers(-1, 5, (2, 5)).astype("i4")])


@pytest.mark.parametrize("dtype", ["float32", "int8", "int64", "bool"])
def test_select(runtime: Runtime, dtype: str) -> None:
    for name, condition, a, b in (("SELECT", (3, 4), (3, 4), (3, 4)),
                                  ("SELECT", (3,), (3, 4), (3, 4)),
                                  ("SELECT_V2", (3, 1), (1, 4), (2, 3, 4))):
        out = (2, 3, 4) if name == "SELECT_V2" else (3, 4)
        blob = single_op(name, [Spec(condition, "bool"), spec(a, dtype), spec(b, dtype)],
                         [spec(out, dtype)])
        check(runtime, blob)


@pytest.mark.parametrize("dtype", ["float32", "int8", "int32", "int64"])
@pytest.mark.parametrize("name", ["EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER",
                                  "GREATER_EQUAL"])
def test_comparisons(runtime: Runtime, name: str, dtype: str) -> None:
    blob = single_op(name, [spec((2, 3, 8), dtype), spec((3, 1), dtype)],
                     [Spec((2, 3, 8), "bool")])
    a, b = oracle.random_inputs(blob)
    check(runtime, blob, [np.rint(a * 2).astype(a.dtype), np.rint(b * 2).astype(b.dtype)]
          if dtype == "float32" else [a, b])


def test_logic(runtime: Runtime) -> None:
    for name in ("LOGICAL_AND", "LOGICAL_OR"):
        check(runtime, single_op(name, [Spec((2, 3), "bool"), Spec((3,), "bool")],
                                 [Spec((2, 3), "bool")]))
    check(runtime, single_op("LOGICAL_NOT", [Spec((2, 3), "bool")], [Spec((2, 3), "bool")]))


# Of these TFLite has no int64 kernel.
INT32_ONLY = ("DIV", "SQUARED_DIFFERENCE", "FLOOR_DIV")
INTEGERS = [(name, "int32") for name in INT32_ONLY] + [
    (name, dtype) for name in ("ADD", "SUB", "MUL", "FLOOR_MOD", "MAXIMUM", "MINIMUM")
    for dtype in ("int32", "int64")]


@pytest.mark.parametrize(("name", "dtype"), INTEGERS)
def test_integer_arithmetic(runtime: Runtime, name: str, dtype: str) -> None:
    blob = single_op(name, [Spec((4, 6), dtype), Spec((6,), dtype)], [Spec((4, 6), dtype)])
    divisor = np.array([1, 2, 3, -2, -5, 7], dtype)
    check(runtime, blob, [RNG.integers(-50, 50, (4, 6)).astype(dtype), divisor])


def test_float_remainder(runtime: Runtime) -> None:
    blob = single_op("FLOOR_MOD", [Spec((4, 6)), Spec((6,))], [Spec((4, 6))])
    check(runtime, blob, [RNG.uniform(-9, 9, (4, 6)).astype("f4"),
                          np.array([1, 2, 3, -2, -5, 0.5], "f4")])


@pytest.mark.parametrize("dtype", ["float32", "int8", "int32"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_places_of_extremes(runtime: Runtime, axis: int, dtype: str) -> None:
    shape = (4, 5, 6)
    out = tuple(e for i, e in enumerate(shape) if i != axis % 3)
    for name in ("ARG_MAX", "ARG_MIN"):
        blob = single_op(name, [spec(shape, dtype), np.array(axis, "i4")], [Spec(out, "int32")],
                         {"outputType": "int32"})
        check(runtime, blob)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_cumsum(runtime: Runtime, dtype: str, exclusive: bool, reverse: bool) -> None:
    for axis in (0, -1):
        blob = single_op("CUMSUM", [Spec((3, 4, 5), dtype), np.array(axis, "i4")],
                         [Spec((3, 4, 5), dtype)], {"exclusive": exclusive, "reverse": reverse})
        check(runtime, blob)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_top_k(runtime: Runtime, count: int, dtype: str) -> None:
    blob = single_op("TOPK_V2", [Spec((2, 3, 9), dtype), np.array(count, "i4")],
                     [Spec((2, 3, count), dtype), Spec((2, 3, count), "int32")])
    check(runtime, blob)


@pytest.mark.parametrize("pair", [("float32", "int32"), ("int32", "float32"), ("bool", "float32"),
                                  ("float32", "bool"), ("int64", "int32"), ("uint8", "float32"),
                                  ("int32", "int64"), ("float32", "uint8")], ids=str)
def test_cast(runtime: Runtime, pair: tuple[str, str]) -> None:
    blob = single_op("CAST", [Spec((5, 7), pair[0])], [Spec((5, 7), pair[1])],
                     {"inDataType": pair[0], "outDataType": pair[1]})
    low = 0.0 if pair[1] == "uint8" else -90.0
    check(runtime, blob, oracle.random_inputs(blob, low=low, high=90.0))


@pytest.mark.parametrize("name", ["ADD", "REDUCE_PROD", "GATHER", "CONCATENATION", "FILL",
                                  "RANGE", "MAXIMUM"])
def test_constants_fold(runtime: Runtime, name: str) -> None:
    """Arithmetic on shapes runs once, at load: a RESHAPE can use it."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((4, 6))
    number: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "ADD": ([[20], [4]], {}), "MAXIMUM": ([[24], [4]], {}),
        "REDUCE_PROD": ([[4, 6], [0]], {"keepDims": True}),
        "GATHER": ([[7, 24, 9], [1]], {"axis": 0}), "FILL": ([[1], 24], {}),
        "CONCATENATION": ([[4], [6]], {"axis": 0}), "RANGE": ([24, 25, 1], {}),
    }
    given, options = number[name]
    shape = (4, 6) if name == "CONCATENATION" else (24,)
    (wanted,) = graph.op(name, [graph.const(np.array(v, "i4")) for v in given],
                         [Spec((len(shape),), "int32")], options)
    graph.outputs(*graph.op("RESHAPE", [x, wanted], [Spec(shape)]))
    check(runtime, model.build())


SCATTERED = [((4, 1), (8, 3)), ((5, 2), (4, 4)), ((2, 3, 1), (6, 2, 2)), ((3, 2), (3, 4, 70)),
             ((2, 3), (2, 3, 4)), ((7, 1), (5,))]


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize(("index", "out"), SCATTERED, ids=str)
@pytest.mark.parametrize("computed", [False, True])
def test_scatter_nd(runtime: Runtime, dtype: str, index: tuple[int, ...], out: tuple[int, ...],
                    computed: bool) -> None:
    depth = index[-1]
    rng = np.random.default_rng(5)
    # Some twice: they add up.
    at = rng.integers(0, out[:depth], index).astype("i4")
    x = Spec((*index[:-1], *out[depth:]), dtype)
    blob = single_op("SCATTER_ND", [Spec(index, "int32") if computed else at, x,
                                    np.array(out, "i4")], [Spec(out, dtype)], {})
    values = oracle.random_array(rng, x.shape, dtype)
    assert_op_same(runtime, blob, [at, values] if computed else [values], steps=0)


FOLDS = [("SUM", "int32"), ("SUM", "int64"), ("REDUCE_PROD", "int32"), ("REDUCE_MAX", "int64"),
         ("REDUCE_MAX", "int32"), ("REDUCE_MIN", "int32"), ("REDUCE_ANY", "bool"),
         ("REDUCE_ALL", "bool")]


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 2), (0, 1, 2), (1,)], ids=str)
@pytest.mark.parametrize(("kind", "dtype"), FOLDS)
def test_folds_of_whole_numbers(runtime: Runtime, kind: str, dtype: str,
                                axes: tuple[int, ...]) -> None:
    shape = (3, 2, 5)
    out = np.zeros(shape).sum(axis=axes).shape
    blob = single_op(kind, [Spec(shape, dtype), np.array(axes, "i4")], [Spec(out, dtype)],
                     {"keepDims": False})
    values = oracle.random_array(np.random.default_rng(2), shape, dtype)
    check(runtime, blob, [values if dtype == "bool" else values - 3])


def test_large_whole_numbers_wrap(runtime: Runtime) -> None:
    large = np.array([2**62, 2**62, -5, 2**63 - 1], "i8")
    for op in ("ADD", "SUB", "MUL"):
        blob = single_op(op, [spec((4,), "int64"), spec((4,), "int64")], [spec((4,), "int64")])
        check(runtime, blob, [large, large[::-1].copy()])
    blob = single_op("SUM", [spec((4,), "int64"), np.array([0], "i4")], [spec((), "int64")], {})
    check(runtime, blob, [large])
    for dtype in ("int32", "float32", "bool"):
        blob = single_op("CAST", [spec((4,), "int64")], [spec((4,), dtype)],
                         {"inDataType": "int64", "outDataType": dtype})
        check(runtime, blob, [large])


@pytest.mark.parametrize("dtype", ["float32", "int8", "int32", "int64", "bool"])
@pytest.mark.parametrize(("shape", "box", "start"), [
    ((4, 5), (2, 3), (1, 2)), ((4, 5), (2, 3), (3, -7)),
    ((1, 12, 2, 70), (1, 1, 2, 70), (0, 7, 0, 0)),
    ((7,), (7,), (3,)), ((2, 3, 2, 3, 4), (1, 2, 2, 1, 3), (1, 1, 0, 2, 1))], ids=str)
def test_dynamic_update_slice(runtime: Runtime, dtype: str, shape: Any, box: Any,
                              start: Any) -> None:
    rng = np.random.default_rng(4)
    blob = single_op("DYNAMIC_UPDATE_SLICE",
                     [spec(shape, dtype), spec(box, dtype), spec((len(shape),), "int32")],
                     [spec(shape, dtype)])
    check(runtime, blob, [oracle.random_array(rng, shape, dtype),
                          oracle.random_array(rng, box, dtype), np.array(start, "i4")])


@pytest.mark.parametrize("names", [[b"cat", b"", b"a bird"], [b"x", "é".encode(), b"\x00\xff"]])
def test_labels_looked_up_by_number(runtime: Runtime, names: list[bytes]) -> None:
    model = ModelBuilder()
    graph = model.graph()
    wanted = graph.input((4,), "int32")
    labels = graph.const(np.array(names))
    (found,) = graph.op("GATHER", [labels, wanted], [Spec((4,), "bytes")])
    (same,) = graph.op("RESHAPE", [found, graph.const(np.array([2, 2], "i4"))],
                       [Spec((2, 2), "bytes")], {"newShape": np.array([2, 2], "i4")})
    graph.outputs(found, same, labels)
    blob, inputs = model.build(), [np.array([2, 0, 1, 2], "i4")]
    for actual, expected in zip(run_engine(runtime, blob, inputs), oracle.run(blob, inputs),
                                strict=True):
        assert actual.tolist() == expected.tolist()
