"""Ops that only move values equal TFLite's, for every type that it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.engine_check import assert_op_same, run_engine

EXAMPLES = settings(max_examples=15, deadline=None, derandomize=True)
SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
DTYPES = ["float32", "int8", "int32", "int64", "bool"]
QUANT = Quantization((0.1,), (3,))


def spec(shape: tuple[int, ...], dtype: str) -> Spec:
    return Spec(shape, dtype, QUANT if dtype == "int8" else None)


def i32(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, "i4")


def check(runtime: Runtime, name: str, x: tuple[int, ...], y: Any, *constants: Any,
          dtype: str = "float32", options: dict[str, Any] | None = None, first: bool = True,
          ) -> None:
    outputs = [y] if isinstance(y, tuple) else y
    data: list[Any] = [spec(x, dtype)]
    blob = single_op(name, data + list(constants) if first else list(constants) + data,
                     [spec(s, dtype) for s in outputs], options)
    assert_op_same(runtime, blob, oracle.random_inputs(blob), steps=0)


@EXAMPLES
@given(data=st.data(), shape=SHAPES, dtype=st.sampled_from(["float32", "int8", "int64"]))
def test_transpose(runtime: Runtime, data: Any, shape: tuple[int, ...], dtype: str) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    check(runtime, "TRANSPOSE", shape, tuple(shape[i] for i in order), i32(order), dtype=dtype)


@EXAMPLES
@given(data=st.data(), shape=SHAPES, dtype=st.sampled_from(DTYPES))
def test_slice(runtime: Runtime, data: Any, shape: tuple[int, ...], dtype: str) -> None:
    begin = [data.draw(st.integers(0, e - 1)) for e in shape]
    size = [data.draw(st.integers(1, e - b)) for e, b in zip(shape, begin, strict=True)]
    given_ = [data.draw(st.sampled_from([s, -1])) if b + s == e else s
              for b, s, e in zip(begin, size, shape, strict=True)]
    check(runtime, "SLICE", shape, tuple(size), i32(begin), i32(given_), dtype=dtype)


@EXAMPLES
@given(data=st.data(), shape=SHAPES, dtype=st.sampled_from(["float32", "int8", "int32"]))
def test_strided_slice(runtime: Runtime, data: Any, shape: tuple[int, ...], dtype: str) -> None:
    begin, end, step, masks = [], [], [], {"beginMask": 0, "endMask": 0, "shrinkAxisMask": 0}
    index: list[Any] = []
    for axis, extent in enumerate(shape):
        kind = data.draw(st.sampled_from(["range", "back", "open", "one"]))
        b = data.draw(st.integers(0, extent - 1))
        if kind == "one":
            masks["shrinkAxisMask"] |= 1 << axis
            b = data.draw(st.sampled_from([b, b - extent]))
            part, s, e = b, 1, b + 1
        elif kind == "open":
            masks["beginMask"] |= 1 << axis
            masks["endMask"] |= 1 << axis
            part, s, e = slice(None), 1, 0
        elif kind == "back":
            masks["endMask"] |= 1 << axis
            part, s, e = slice(b, None, -1), -1, 0
        else:
            s, e = data.draw(st.integers(1, 3)), data.draw(st.integers(b + 1, extent + 2))
            part = slice(b, e, s)
        begin.append(b)
        end.append(e)
        step.append(s)
        index.append(part)
    out = np.empty(shape)[tuple(index)].shape
    check(runtime, "STRIDED_SLICE", shape, tuple(out), i32(begin), i32(end), i32(step),
          dtype=dtype, options=masks)


def test_strided_slice_with_ellipsis_and_new_axis(runtime: Runtime) -> None:
    check(runtime, "STRIDED_SLICE", (2, 3, 4, 5), (2, 3, 4, 1, 2), i32([0, 0, 1]),
          i32([0, 0, 3]), i32([1, 1, 1]), options={"ellipsisMask": 1, "newAxisMask": 2})


@pytest.mark.parametrize("dtype", ["float32", "int8", "int32"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_splits(runtime: Runtime, axis: int, dtype: str) -> None:
    shape = (4, 6, 8)
    half = tuple(e // 2 if i == axis % 3 else e for i, e in enumerate(shape))
    check(runtime, "SPLIT", shape, [half, half], np.array(axis, "i4"), dtype=dtype, first=False,
          options={"numSplits": 2})
    rest = tuple(e - 1 if i == axis % 3 else e for i, e in enumerate(shape))
    one = tuple(1 if i == axis % 3 else e for i, e in enumerate(shape))
    check(runtime, "SPLIT_V", shape, [one, rest], i32([1, -1]), np.array(axis, "i4"), dtype=dtype,
          options={"numSplits": 2})
    gone = tuple(e for i, e in enumerate(shape) if i != axis % 3)
    check(runtime, "UNPACK", shape, [gone] * shape[axis], dtype=dtype,
          options={"axis": axis, "num": shape[axis]})


@pytest.mark.parametrize("dtype", ["float32", "int8", "int32"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pack(runtime: Runtime, axis: int, dtype: str) -> None:
    out = tuple(np.stack([np.empty((3, 5))] * 3, axis).shape)
    blob = single_op("PACK", [spec((3, 5), dtype)] * 3, [spec(out, dtype)],
                     {"axis": axis, "valuesCount": 3})
    assert_op_same(runtime, blob, oracle.random_inputs(blob), steps=0)


@EXAMPLES
@given(data=st.data(), shape=SHAPES, dtype=st.sampled_from(["float32", "int32", "bool"]))
def test_tile_and_reverse(runtime: Runtime, data: Any, shape: tuple[int, ...], dtype: str) -> None:
    counts = [data.draw(st.integers(1, 3)) for _ in shape]
    check(runtime, "TILE", shape, tuple(e * c for e, c in zip(shape, counts, strict=True)),
          i32(counts), dtype=dtype)
    axis = data.draw(st.integers(0, len(shape) - 1))
    check(runtime, "REVERSE_V2", shape, shape, i32([axis]), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "int8", "int32"])
def test_blocks(runtime: Runtime, dtype: str) -> None:
    check(runtime, "SPACE_TO_DEPTH", (2, 4, 6, 5), (2, 2, 3, 20), dtype=dtype,
          options={"blockSize": 2})
    check(runtime, "DEPTH_TO_SPACE", (2, 3, 2, 27), (2, 9, 6, 3), dtype=dtype,
          options={"blockSize": 3})
    check(runtime, "SPACE_TO_BATCH_ND", (2, 5, 6, 3), (8, 4, 4, 3), i32([2, 2]),
          i32([[1, 2], [2, 0]]), dtype=dtype)
    check(runtime, "BATCH_TO_SPACE_ND", (8, 3, 4, 3), (2, 5, 5, 3), i32([2, 2]),
          i32([[1, 0], [1, 2]]), dtype=dtype)


@pytest.mark.parametrize("mode", ["REFLECT", "SYMMETRIC"])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_mirror_pad(runtime: Runtime, mode: str, dtype: str) -> None:
    check(runtime, "MIRROR_PAD", (2, 4, 5), (2, 8, 8), i32([[0, 0], [3, 1], [1, 2]]),
          dtype=dtype, options={"mode": mode})


def test_parts_that_are_single_numbers(runtime: Runtime) -> None:
    check(runtime, "STRIDED_SLICE", (5,), (), i32([3]), i32([4]), i32([1]),
          options={"shrinkAxisMask": 1})
    check(runtime, "UNPACK", (3,), [(), (), ()], options={"axis": 0, "num": 3})
    blob = single_op("PACK", [Spec(()), Spec(())], [Spec((2,))], {"axis": 0, "valuesCount": 2})
    assert_op_same(runtime, blob, oracle.random_inputs(blob), steps=0)


def test_broadcast_to(runtime: Runtime) -> None:
    check(runtime, "BROADCAST_TO", (3, 1, 4), (2, 3, 5, 4), i32([2, 3, 5, 4]))


def test_shape_arithmetic_folds_away(runtime: Runtime) -> None:
    """RESHAPE to [SHAPE(x)[0], 12]: what the converter writes for a batch the caller chooses."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((-1, 3, 4))
    (extents,) = graph.op("SHAPE", [x], [Spec((3,), "int32")], {"outType": "int32"})
    (batch,) = graph.op("STRIDED_SLICE", [extents, *map(graph.const, (i32([0]), i32([1]),
                                                                     i32([1])))],
                        [Spec((), "int32")], {"shrinkAxisMask": 1})
    (wanted,) = graph.op("PACK", [batch, graph.const(np.array(12, "i4"))], [Spec((2,), "int32")],
                         {"valuesCount": 2, "axis": 0})
    graph.outputs(*graph.op("RESHAPE", [x, wanted], [Spec((-1, 12))]))
    rows = np.arange(60, dtype="f4").reshape(5, 3, 4)
    (y,) = run_engine(runtime, model.build(), [rows])
    np.testing.assert_array_equal(y, rows.reshape(5, 12))


@pytest.mark.parametrize(("dtype", "quant"), [("float32", None),
                                              ("int8", Quantization((0.1,), (4,)))])
def test_a_padding_of_six_axes(runtime: Runtime, dtype: str, quant: Quantization | None) -> None:
    pads = i32([[1, 0], [0, 1], [1, 1], [2, 0], [0, 1], [1, 2]])
    x = oracle.random_array(np.random.default_rng(0), (2, 3, 2, 2, 3, 2), dtype)
    answer = np.pad(x, pads, constant_values=quant.zero_points[0] if quant else 0)
    blob = single_op("PAD", [Spec(x.shape, dtype, quant), pads], [Spec(answer.shape, dtype, quant)])
    model = LoadedModel(runtime, read(blob))
    try:
        (output,) = model.run([x])
        assert {p.where for p in model.prepare().plan.places} == {"device"}
    finally:
        model.close()
    np.testing.assert_array_equal(output, answer)
