"""Shapes that the caller chooses or that the data decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.errors import InvalidInput
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.corpus import CORPUS, NETS
from tests.engine.engine_check import run_engine


def check(runtime: Runtime, blob: bytes, *requests: list[oracle.Array]) -> None:
    """Send several requests to one loaded model."""
    model = LoadedModel(runtime, read(blob))
    for inputs in requests:
        for actual, expected in zip(model.run(inputs), oracle.run(blob, inputs), strict=True):
            oracle.assert_same(actual, expected)


def test_a_reshape_by_a_computed_shape(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x, wanted = graph.input((4, 6)), graph.input((2,), "int32")
    (twice,) = graph.op("ADD", [wanted, wanted], [wanted.spec])
    (y,) = graph.op("RESHAPE", [x, twice], [Spec((-1, -1))])
    (z,) = graph.op("EXP", [y], [Spec((-1, -1))])
    (mean,) = graph.op("MEAN", [z, graph.const(np.array([1], "i4"))], [Spec((-1,))])
    graph.outputs(z, mean)
    x_value = oracle.random_array(np.random.default_rng(1), (4, 6), "float32")
    check(runtime, model.build(),
          *[[x_value, np.array(half, "i4")] for half in ((3, 2), (1, 6), (6, 1), (3, 2))])


def test_what_is_found_is_computed_on(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((5, 4))
    zero = graph.const(np.float32(0.0))
    (mask,) = graph.op("GREATER", [x, zero], [Spec((5, 4), "bool")])
    (where,) = graph.op("WHERE", [mask], [Spec((-1, 2), "int64")])
    (picked,) = graph.op("GATHER_ND", [x, where], [Spec((-1,))])
    (root,) = graph.op("SQRT", [picked], [Spec((-1,))])
    (total,) = graph.op("SUM", [root, graph.const(np.array([0], "i4"))], [Spec(())])
    graph.outputs(root, total)
    rng = np.random.default_rng(2)
    check(runtime, model.build(),
          *[[oracle.random_array(rng, (5, 4), "float32")] for _ in range(4)],
          [np.full((5, 4), -1, "f4")])


def test_a_range_up_to_a_computed_number(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((-1, 3))
    (extents,) = graph.op("SHAPE", [x], [Spec((2,), "int32")], {"outType": "int32"})
    (rows,) = graph.op("GATHER", [extents, graph.const(np.int32(0))], [Spec((), "int32")])
    (numbers,) = graph.op("RANGE", [graph.const(np.int32(0)), rows, graph.const(np.int32(1))],
                          [Spec((-1,), "int32")])
    (reals,) = graph.op("CAST", [numbers], [Spec((-1,))],
                        {"inDataType": "int32", "outDataType": "float32"})
    (column,) = graph.op("EXPAND_DIMS", [reals, graph.const(np.int32(1))], [Spec((-1, 1))])
    (y,) = graph.op("MUL", [x, column], [Spec((-1, 3))])
    graph.outputs(y)
    rng = np.random.default_rng(3)
    check(runtime, model.build(),
          *[[oracle.random_array(rng, (n, 3), "float32")] for n in (1, 4, 2, 4)])


def test_boxes_that_survive_suppression(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    boxes, scores = graph.input((20, 4)), graph.input((20,))
    constants = [graph.const(v) for v in (np.int32(10), np.float32(0.5), np.float32(0.1),
                                          np.float32(0.0))]
    outputs = graph.op("NON_MAX_SUPPRESSION_V5", [boxes, scores, *constants],
                       [Spec((10,), "int32"), Spec((10,)), Spec((), "int32")])
    (best,) = graph.op("GATHER", [boxes, outputs[0]], [Spec((10, 4))], {"axis": 0})
    graph.outputs(*outputs, best)
    rng = np.random.default_rng(4)
    corner = rng.uniform(0, 1, (20, 2))
    given = np.concatenate([corner, corner + rng.uniform(0.1, 0.5, (20, 2))], 1).astype("f4")
    check(runtime, model.build(), [given, rng.uniform(0, 1, 20).astype("f4")])


@pytest.mark.parametrize("samples", [1280, 4000])
def test_any_number_of_samples(runtime: Runtime, samples: int) -> None:
    blob = CORPUS["melspectrogram"].blob()
    check(runtime, blob, [oracle.random_array(np.random.default_rng(5), (1, samples), "float32")])


def test_an_input_that_is_too_small_is_refused_by_name(runtime: Runtime) -> None:
    model = LoadedModel(runtime, read(CORPUS["melspectrogram"].blob()))
    with pytest.raises(InvalidInput, match="too small"):
        model.run([np.zeros((1, 10), "f4")])


MOST = np.array(2**31 - 1, "i4")
ENORMOUS: dict[str, tuple[list[Any], list[Spec], list[oracle.Array]]] = {
    "FILL": ([Spec((2,), "int32"), np.float32(1)], [Spec((-1, -1))],
             [np.array([60000, 60000], "i4")]),
    "RANGE": ([np.int32(-5), Spec((), "int32"), np.int32(1)], [Spec((-1,), "int32")], [MOST]),
    "RANDOM_UNIFORM": ([Spec((2,), "int32")], [Spec((-1, -1))],
                       [np.array([60000, 60000], "i4")]),
    "RESIZE_BILINEAR": ([np.ones((1, 2, 2, 1), "f4"), Spec((2,), "int32")],
                        [Spec((1, -1, -1, 1))], [np.full(2, MOST)]),
    "SPARSE_TO_DENSE": ([np.array([1, 2], "i4"), Spec((1,), "int32"), np.ones(2, "f4"),
                         np.float32(0)], [Spec((-1,))], [MOST.reshape(1)]),
    "NON_MAX_SUPPRESSION_V4": ([np.ones((3, 4), "f4"), np.ones(3, "f4"), Spec((), "int32"),
                                np.float32(0.5), np.float32(0.1)],
                               [Spec((-1,), "int32"), Spec((), "int32")], [MOST])}


@pytest.mark.parametrize("name", sorted(ENORMOUS))
def test_a_few_numbers_do_not_take_all_memory(runtime: Runtime, name: str) -> None:
    given, outputs, inputs = ENORMOUS[name]
    model = LoadedModel(runtime, read(single_op(name, given, outputs)))
    with pytest.raises(InvalidInput, match=f"{name} .* bytes; one tensor has at most"):
        model.run(inputs)
    model.close()


def test_a_range_over_all_of_a_type(runtime: Runtime) -> None:
    blob = single_op("RANGE", [Spec((), "int32"), Spec((), "int32"), np.int32(2**20)],
                     [Spec((-1,), "int32")])
    (made,) = run_engine(runtime, blob, [np.array(-2**31, "i4"), MOST])
    np.testing.assert_array_equal(made, np.arange(-2**31, 2**31 - 1, 2**20))


NOTHING: dict[str, tuple[str, list[Any], Spec, dict[str, Any] | None]] = {
    "sum": ("ADD", [Spec((2, 0)), Spec((0,))], Spec((2, 0)), {}),
    "matrix": ("BATCH_MATMUL", [Spec((0, 3)), Spec((0, 3))], Spec((0, 0)), {"adjY": True}),
    "rows": ("FULLY_CONNECTED", [Spec((0, 3)), np.ones((4, 3), "f4"), None], Spec((0, 4)), {}),
    "sums of nothing": ("FULLY_CONNECTED", [Spec((2, 0)), np.ones((4, 0), "f4"),
                                            np.arange(4, dtype="f4")], Spec((2, 4)),
                        {"keepNumDims": True}),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_in_is_nothing_out(runtime: Runtime, name: str) -> None:
    op, inputs, output, options = NOTHING[name]
    blob = single_op(op, inputs, [output], options)
    given = [np.zeros(spec.shape, "f4") for spec in inputs if isinstance(spec, Spec)]
    (ours,) = run_engine(runtime, blob, given)
    # TFLite leaves the bias out where there is nothing to add it to.
    np.testing.assert_array_equal(ours, np.zeros(output.shape, "f4"))


def test_a_product_of_extents_is_known_beforehand(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((-1, -1, 4))
    (extents,) = graph.op("SHAPE", [x], [Spec((3,), "int32")], {"outType": "int32"})
    # As converters join the first two dimensions.
    (joined,) = graph.op("UNSORTED_SEGMENT_PROD", [extents, graph.const(np.array([0, 0, 1], "i4")),
                                                   graph.const(np.int32(2))],
                         [Spec((2,), "int32")])
    graph.outputs(*graph.op("RESHAPE", [x, joined], [Spec((-1, 4))], {}))
    blob = model.build()
    loaded = LoadedModel(runtime, read(blob))
    given = oracle.random_array(np.random.default_rng(1), (3, 5, 4), "float32")
    (ours,) = loaded.run([given])
    np.testing.assert_array_equal(ours, given.reshape(15, 4))
    assert not [p for p in loaded.prepare([given.shape]).plan.places if p.where == "host"]


def test_a_slice_that_begins_where_the_model_says(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x, begin = graph.input((3, 6, 4)), graph.input((3,), "int32")
    (part,) = graph.op("SLICE", [x, begin, graph.const(np.array([1, 2, 4], "i4"))],
                       [Spec((-1, 2, 4))])
    graph.outputs(*graph.op("EXP", [part], [Spec((-1, 2, 4))]))
    blob = model.build()
    values = oracle.random_array(np.random.default_rng(1), (3, 6, 4), "float32")
    check(runtime, blob, *[[values, np.array(b, "i4")] for b in ((0, 0, 0), (2, 4, 0))])


@pytest.mark.parametrize(("name", "shape"), [
    ("unet", (1, 32, 32, 4)), ("vit", (1, 7, 32, 3)), ("gru", (2, 12, 8)), ("gru", (0, 12, 8)),
    ("gru", (1, 0, 8)), ("gru", (1, 12, 0)), ("detector", (1, 32, 32, 2)),
    ("detector", (1, 32, 32, 0))])
def test_a_request_that_the_model_cannot_take_is_refused(runtime: Runtime, name: str,
                                                         shape: tuple[int, ...]) -> None:
    model = LoadedModel(runtime, read((NETS / f"{name}_float32.tflite").read_bytes()))
    with pytest.raises(InvalidInput):
        model.run([np.zeros(shape, "f4")])
    model.close()


def test_a_slice_beyond_the_end_is_the_requests_fault(runtime: Runtime) -> None:
    blob = single_op("SLICE", [Spec((6, 4)), Spec((2,), "int32"), np.array([2, 4], "i4")],
                     [Spec((2, 4))])
    with pytest.raises(InvalidInput):
        run_engine(runtime, blob, [np.zeros((6, 4), "f4"), np.array([5, 0], "i4")])
