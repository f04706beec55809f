"""Models that keep all they compute in float16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.engine_check import run_engine
from tests.engine.node_defs import node_def

rng = np.random.default_rng(3)
WEIGHTS = rng.uniform(-1, 1, (4, 3, 3, 2))
BIAS, TABLE = rng.uniform(-1, 1, 4), rng.uniform(-1, 1, (4, 3))
WINDOW = {"strideH": 1, "strideW": 1, "padding": "SAME"}


def net(dtype: str) -> bytes:
    """A convolution, what no CPU runtime does in float16 (pooling, unit rows), a dense layer."""
    model = ModelBuilder()
    graph = model.graph()

    def const(array: oracle.Array) -> Any:
        return graph.const(array.astype(dtype))

    x = graph.input((2, 6, 4, 2), dtype)
    (y,) = graph.op("CONV_2D", [x, const(WEIGHTS), const(BIAS)], [Spec((2, 6, 4, 4), dtype)],
                    WINDOW)
    (y,) = graph.op("MAX_POOL_2D", [y], [Spec((2, 3, 2, 4), dtype)],
                    {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2})
    (y,) = graph.op("L2_NORMALIZATION", [y], [Spec((2, 3, 2, 4), dtype)])
    (z,) = graph.op("ADD_N", [y, y, y], [Spec((2, 3, 2, 4), dtype)])
    (w,) = graph.op("CAST", [z], [Spec((2, 3, 2, 4), "int32")])
    graph.outputs(y, z, w)
    return model.build()


def test_a_net_runs_on_the_device(runtime: Runtime) -> None:
    x = rng.uniform(-1, 1, (2, 6, 4, 2)).astype("f2")
    model = LoadedModel(runtime, read(net("float16")))
    try:
        outputs = model.run([x])
        assert {p.where for p in model.prepare().plan.places} == {"device"}
    finally:
        model.close()
    for actual, answer in zip(outputs, oracle.run(net("float32"), [x.astype("f4")]), strict=True):
        kind = np.dtype("f2" if answer.dtype == np.float32 else answer.dtype)
        assert actual.dtype == kind
        if kind == np.float16:
            oracle.assert_close(actual, answer.astype("f2"), 1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_padding_of_any_number(runtime: Runtime, dtype: str) -> None:
    pads = np.array([[1, 0], [2, 1]], "i4")
    blob = single_op("PADV2", [Spec((2, 3), dtype), pads, np.array(-2.5, dtype)],
                     [Spec((3, 6), dtype)])
    x = np.arange(6).reshape(2, 3).astype(dtype)
    (output,) = run_engine(runtime, blob, [x])
    np.testing.assert_array_equal(output, np.pad(x, pads, constant_values=-2.5))


def test_rows_of_a_table_stay_as_they_are(runtime: Runtime) -> None:
    blob = single_op("GATHER", [TABLE.astype("f2"), Spec((5,), "int32")],
                     [Spec((5, 3), "float16")], {"axis": 0})
    rows = np.array([3, 0, 0, 2, 1], "i4")
    (output,) = run_engine(runtime, blob, [rows])
    np.testing.assert_array_equal(output, TABLE.astype("f2")[rows])


def test_what_the_card_lacks_gets_the_files_own_numbers(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x, value = graph.input((2, 4), "float16"), graph.input((), "float16")
    (y,) = graph.op("TANH", [x], [Spec((2, 4), "float16")])
    pads = np.array([[1, 0], [0, 1]], "i4")
    (y,) = graph.op("PADV2", [y, graph.const(pads), value], [Spec((3, 5), "float16")])
    (y,) = graph.op("EXP", [y], [Spec((3, 5), "float16")])
    graph.outputs(y)
    given = rng.uniform(-1, 1, (2, 4)).astype("f2")
    (output,) = run_engine(runtime, model.build(), [given, np.array(0.5, "f2")])
    answer = np.exp(np.pad(np.tanh(given.astype("f4")), pads, constant_values=0.5))
    oracle.assert_close(output, answer.astype("f2"), 1e-3)


CHANNELS, WIDE = rng.uniform(-1, 1, (3, 3, 4, 2)), rng.uniform(-1, 1, (2, 2, 3, 8))
FIRST = rng.uniform(-1, 1, (3, 3, 2, 4))
SIZE, LARGER = np.array([2, 8, 8, 3], "i4"), np.array([5, 7], "i4")
FOUR = {"strides": (1, 2, 2, 1), "padding": "SAME", "data_format": "NHWC"}


def layers(flex: bool) -> bytes:
    """A net as Keras's mixed_float16 leaves it to TensorFlow, or what TFLite has for it."""
    model = ModelBuilder()
    graph = model.graph()
    dtype = "float16" if flex else "float32"
    value = graph.input((2, 8, 8, 2), dtype)

    def then(theirs: str, ours: str, shape: tuple[int, ...], before: list[Any], after: list[Any],
             given: dict[str, Any], options: dict[str, Any]) -> None:
        nonlocal value
        values = [*(graph.const(a) for a in before), value, *(graph.const(a) for a in after)]
        (value,) = graph.op(f"Flex{theirs}", values, [Spec(shape, dtype)],
                            custom=node_def(theirs, **given)) if flex else graph.op(
            ours, values, [Spec(shape, dtype)], options)

    def weights(array: oracle.Array, turned: oracle.Array) -> oracle.Array:
        return (array if flex else turned).astype(dtype)

    stride = {"strideH": 2, "strideW": 2, "padding": "SAME"}
    then("Conv2D", "CONV_2D", (2, 8, 8, 4), [], [weights(FIRST, FIRST.transpose(3, 0, 1, 2))] + (
        [] if flex else [np.zeros(4, "f4")]),
        {**FOUR, "strides": (1, 1, 1, 1), "dilations": (1, 2, 1, 1)},
        {**WINDOW, "dilationHFactor": 2, "dilationWFactor": 1})
    then("BiasAdd", "ADD", (2, 8, 8, 4), [], [BIAS.astype(dtype)], {}, {})
    then("DepthwiseConv2dNative", "DEPTHWISE_CONV_2D", (2, 4, 4, 8), [],
         [weights(CHANNELS, CHANNELS.reshape(1, 3, 3, 8))] + (
             [] if flex else [np.zeros(8, "f4")]), FOUR, {**stride, "depthMultiplier": 2})
    for theirs, ours in (("AvgPool", "AVERAGE_POOL_2D"), ("MaxPool", "MAX_POOL_2D")):
        then(theirs, ours, (2, 4, 4, 8), [], [], {**FOUR, "strides": (1, 1, 1, 1),
                                                  "ksize": (1, 3, 2, 1)},
             {**WINDOW, "filterHeight": 3, "filterWidth": 2})
    shaped = weights(WIDE, WIDE.transpose(2, 0, 1, 3))
    then("Conv2DBackpropInput", "TRANSPOSE_CONV", (2, 8, 8, 3), [SIZE, shaped], [], FOUR, stride)
    then("ResizeBilinear", "RESIZE_BILINEAR", (2, 5, 7, 3), [], [LARGER],
         {"half_pixel_centers": True}, {"halfPixelCenters": True})
    then("Softmax", "SOFTMAX", (2, 5, 7, 3), [], [], {}, {"beta": 1.0})
    graph.outputs(value)
    return model.build()


def test_layers_that_the_converter_leaves_to_tensorflow(runtime: Runtime) -> None:
    x = rng.uniform(-1, 1, (2, 8, 8, 2)).astype("f2")
    model = LoadedModel(runtime, read(layers(flex=True)))
    try:
        (output,) = model.run([x])
        assert {p.where for p in model.prepare().plan.places} == {"device"}
    finally:
        model.close()
    (answer,) = oracle.run(layers(flex=False), [x.astype("f4")])
    oracle.assert_close(output, answer.astype("f2"), 2e-3)
