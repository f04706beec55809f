"""Float ops other than convolutions equal TFLite's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.epilogue import BINARY, FLEX, INTERNAL
from app.engine.ops.elementwise import UNARY
from app.engine.runtime import Runtime
from app.errors import UnsupportedOp
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.engine_check import assert_op_same, run_engine

EXAMPLES = settings(max_examples=8, deadline=None, derandomize=True)
POSITIVE = {"LOG", "SQRT", "RSQRT", "POW"}
ONE = {"padding": "SAME", "strideH": 1, "strideW": 1}
NOT_IN_TFLITE = {"SQUARE", "SIGN", "GELU_TANH"} | INTERNAL | set(FLEX)


@pytest.mark.parametrize("kind", sorted(set(UNARY) - NOT_IN_TFLITE))
def test_unary(runtime: Runtime, kind: str) -> None:
    options = {"LEAKY_RELU": {"alpha": 0.3}, "GELU": {"approximate": False}}.get(kind)
    blob = single_op(kind, [Spec((2, 5, 7))], [Spec((2, 5, 7))], options)
    low = 0.1 if kind in POSITIVE else -8.0
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=low, high=8.0))


def test_gelu_by_tanh(runtime: Runtime) -> None:
    blob = single_op("GELU", [Spec((3, 40))], [Spec((3, 40))], {"approximate": True})
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=-4.0, high=4.0))


SHAPES = [((2, 3, 4, 5), (2, 3, 4, 5)), ((1, 4, 6, 20), (20,)), ((1, 4, 6, 20), ()),
          ((3, 1, 5), (3, 4, 5)), ((4, 1), (1, 6)), ((2, 1, 3, 1, 5), (1, 4, 1, 2, 5)),
          ((7,), (7,))]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["ADD", "SUB", "DIV"])
def test_binary_broadcasts(runtime: Runtime, kind: str, shapes: tuple[Any, Any]) -> None:
    out = np.broadcast_shapes(*shapes)
    for a, b in (shapes, shapes[::-1]):
        blob = single_op(kind, [Spec(a), Spec(b)], [Spec(out)],
                         {"fusedActivationFunction": "RELU"})
        assert_op_same(runtime, blob, oracle.random_inputs(blob, low=0.5, high=2.0))


@pytest.mark.parametrize("activation", ["TANH", "SIGN_BIT"])
def test_activations_that_are_no_bounds_are_passed_over(runtime: Runtime, activation: str) -> None:
    model = ModelBuilder()
    graph = model.graph()
    own = {"fusedActivationFunction": activation}
    x, bias = graph.input((2, 5, 6, 3)), graph.const(np.array([2, -3, 4], "f4"))
    weights = graph.const(np.random.default_rng(5).uniform(-1, 1, (3, 1, 1, 3)).astype("f4"))
    (y,) = graph.op("CONV_2D", [x, weights, bias], [x.spec], {**ONE, **own})
    (y,) = graph.op("MUL", [y, bias], [x.spec], own)
    graph.outputs(*graph.op("MAX_POOL_2D", [y], [x.spec],
                            {**ONE, "filterHeight": 1, "filterWidth": 2, **own}))
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_lengths_with_an_activation_are_refused_as_by_tflite(runtime: Runtime) -> None:
    blob = single_op("L2_NORMALIZATION", [Spec((2, 4))], [Spec((2, 4))],
                     {"fusedActivationFunction": "RELU"})
    with pytest.raises(UnsupportedOp, match="L2_NORMALIZATION with RELU"):
        run_engine(runtime, blob, [np.zeros((2, 4), "f4")])


@pytest.mark.parametrize("kind", sorted(BINARY - INTERNAL - {"PRELU"}))
def test_binary_kinds(runtime: Runtime, kind: str) -> None:
    blob = single_op(kind, [Spec((2, 3, 18)), Spec((18,))], [Spec((2, 3, 18))])
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=0.5, high=3.0))


@pytest.mark.parametrize("axes", [(0,), (1, 2), (-1,), (0, 2), (0, 1, 2, 3), (1, 3)], ids=str)
@pytest.mark.parametrize("kind", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"])
def test_reduce(runtime: Runtime, kind: str, axes: tuple[int, ...]) -> None:
    shape = (2, 3, 5, 18)
    keep = kind == "MEAN"
    out = np.zeros(shape).mean(axis=tuple(axes), keepdims=keep).shape
    blob = single_op(kind, [Spec(shape), np.array(axes, "i4")], [Spec(out)], {"keepDims": keep})
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=0.8, high=1.2))


# Cards do these in slices, or by work-groups of several wavefronts.
MANY = {"all": ((172, 309), (0, 1)), "images": ((2, 130, 131, 6), (1, 2)),
        "rows": ((3, 17000), (1,)), "two runs": ((40, 3, 500), (0, 2)),
        "short": ((1, 5, 3000), (2,)), "lines": ((2, 7000, 3, 1), (1,))}


@pytest.mark.parametrize("name", MANY)
def test_reductions_of_many_values(runtime: Runtime, name: str) -> None:
    shape, axes = MANY[name]
    out = tuple(e for i, e in enumerate(shape) if i not in axes)
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input(shape)
    gone = graph.const(np.array(axes, "i4"))
    channels = graph.const(np.linspace(1, 2, out[-1] if out else 1, dtype="f4"))
    ends = []
    for kind in ("MEAN", "REDUCE_MAX"):
        (made,) = graph.op(kind, [x, gone], [Spec(out)], {"keepDims": False})
        ends += graph.op("MUL", [made, channels], [Spec(out or (1,))], {})
    graph.outputs(*ends)
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("kind", ["SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"])
@pytest.mark.parametrize("shape", [(3, 10), (1, 1001), (2, 3, 4, 21), (4, 1)], ids=str)
def test_rows(runtime: Runtime, kind: str, shape: tuple[int, ...]) -> None:
    options = {"beta": 0.7} if kind == "SOFTMAX" else None
    blob = single_op(kind, [Spec(shape)], [Spec(shape)], options)
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=-5.0, high=5.0))


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_sum_of_many(runtime: Runtime, count: int, dtype: str) -> None:
    spec = Spec((2, 3, 7), dtype)
    blob = single_op("ADD_N", [spec] * count, [spec])
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("radius", [0, 2, 30])
@pytest.mark.parametrize("channels", [1, 7, 64])
def test_local_response(runtime: Runtime, channels: int, radius: int) -> None:
    spec = Spec((2, 3, 4, channels))
    blob = single_op("LOCAL_RESPONSE_NORMALIZATION", [spec], [spec],
                     {"radius": radius, "bias": 1.5, "alpha": 0.3, "beta": 0.75})
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=-5.0, high=5.0))


@EXAMPLES
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
       out=st.tuples(st.integers(1, 20), st.integers(1, 20)), channels=st.sampled_from([1, 5, 21]),
       mode=st.sampled_from([(False, False), (True, False), (False, True)]),
       kind=st.sampled_from(["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"]))
def test_resize(runtime: Runtime, size: Any, out: Any, channels: int, mode: Any,
                kind: str) -> None:
    blob = single_op(kind, [Spec((2, *size, channels)), np.array(out, "i4")],
                     [Spec((2, *out, channels))],
                     {"alignCorners": mode[0], "halfPixelCenters": mode[1]})
    assert_op_same(runtime, blob, oracle.random_inputs(blob), plain=True)


@EXAMPLES
@given(kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)), stride=st.integers(1, 3),
       size=st.tuples(st.integers(1, 6), st.integers(1, 6)), channels=st.sampled_from([1, 5, 16]),
       outputs=st.sampled_from([1, 7, 16]), padding=st.sampled_from(["SAME", "VALID"]))
def test_transpose_conv(runtime: Runtime, kernel: Any, stride: int, size: Any, channels: int,
                        outputs: int, padding: str) -> None:
    out = [s * stride if padding == "SAME" else (s - 1) * stride + k
           for s, k in zip(size, kernel, strict=True)]
    weights = np.random.default_rng(5).uniform(-1, 1, (outputs, *kernel, channels)).astype("f4")
    blob = single_op("TRANSPOSE_CONV",
                     [np.array([2, *out, outputs], "i4"), weights, Spec((2, *size, channels)),
                      np.linspace(-1, 1, outputs, dtype="f4")], [Spec((2, *out, outputs))],
                     {"padding": padding, "strideH": stride, "strideW": stride})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize(("rows", "inner", "outputs"), [(1, 672, 63), (5, 17, 1), (33, 20, 40)])
@pytest.mark.parametrize("keep", [False, True])
def test_fully_connected(runtime: Runtime, rows: int, inner: int, outputs: int,
                         keep: bool) -> None:
    weights = np.random.default_rng(6).uniform(-1, 1, (outputs, inner)).astype("f4")
    out = (1, rows, outputs) if keep else (rows, outputs)
    blob = single_op("FULLY_CONNECTED", [Spec((1, rows, inner)), weights, None], [Spec(out)],
                     {"keepNumDims": keep, "fusedActivationFunction": "RELU"})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize(("rows", "inner", "outputs"), [(1, 70, 5), (5, 17, 1), (33, 20, 40)])
@pytest.mark.parametrize("bias", ["none", "constant", "computed"])
def test_fully_connected_of_computed_weights(runtime: Runtime, rows: int, inner: int, outputs: int,
                                             bias: str) -> None:
    kinds = {"none": None, "constant": np.linspace(-1, 1, outputs, dtype="f4"),
             "computed": Spec((outputs,))}
    blob = single_op("FULLY_CONNECTED", [Spec((1, rows, inner)), Spec((outputs, inner)),
                                         kinds[bias]], [Spec((1, rows, outputs))],
                     {"keepNumDims": True, "fusedActivationFunction": "RELU6"})
    assert_op_same(runtime, blob, oracle.random_inputs(blob), plain=True)


BATCHES = [((), ()), ((3,), (3,)), ((2, 3), (1, 3)), ((1,), (4,)), ((2, 1), (1, 3))]


@pytest.mark.parametrize("batches", BATCHES, ids=str)
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True)], ids=str)
def test_batch_matmul(runtime: Runtime, batches: Any, turned: tuple[bool, bool]) -> None:
    m, k, n = 7, 11, 19
    x = (*batches[0], k, m) if turned[0] else (*batches[0], m, k)
    w = (*batches[1], n, k) if turned[1] else (*batches[1], k, n)
    out = (*np.broadcast_shapes(*batches), m, n)
    blob = single_op("BATCH_MATMUL", [Spec(x), Spec(w)], [Spec(out)],
                     {"adjX": turned[0], "adjY": turned[1]})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_concatenation(runtime: Runtime, axis: int, dtype: str) -> None:
    shapes = [[2, 3, 5] for _ in range(3)]
    for extent, shape in zip((1, 4, 2), shapes, strict=True):
        shape[axis] = extent
    out = list(shapes[0])
    out[axis] = 7
    blob = single_op("CONCATENATION", [Spec(tuple(s), dtype) for s in shapes],
                     [Spec(tuple(out), dtype)], {"axis": axis})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_pad_with_a_value(runtime: Runtime) -> None:
    blob = single_op("PADV2", [Spec((2, 3, 4)), np.array([[0, 1], [2, 0], [1, 3]], "i4"),
                               np.array([1.5], "f4")], [Spec((3, 5, 8))])
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize(("shape", "axes", "out"), [
    ((2, 4, 6), [2], (2, 4)), ((3, 2, 4, 5), [0], (2, 4, 5)), ((2, 3, 5), [1], (2, 5)),
    ((2, 3, 4, 5), [1, 3], (2, 4))])
def test_a_number_for_each_channel_behind_a_reduction(runtime: Runtime, axes: list[int],
                                                      shape: tuple[int, ...],
                                                      out: tuple[int, ...]) -> None:
    model = ModelBuilder()
    graph = model.graph()
    (y,) = graph.op("SUM", [graph.input(shape), graph.const(np.array(axes, "i4"))], [Spec(out)], {})
    offsets = graph.const(np.arange(out[-1], dtype="f4"))
    graph.outputs(*graph.op("ADD", [y, offsets], [Spec(out)], {}))
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_a_number_for_each_channel_behind_a_broadcast(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    factors = [graph.input((2, 3, 4)), graph.input((2, 1, 1))]
    (y,) = graph.op("MUL", factors, [Spec((2, 3, 4))], {})
    offsets = graph.const(np.arange(4, dtype="f4"))
    graph.outputs(*graph.op("ADD", [y, offsets], [Spec((2, 3, 4))], {}))
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("shape", [(1, 16, 24, 3), (1, 7, 5, 3), (3, 11, 2), (1, 64, 5), (2, 3)])
def test_few_channels_fill_vectors(runtime: Runtime, shape: tuple[int, ...]) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input(shape)
    rng = np.random.default_rng(3)
    scale, less = (graph.const(rng.normal(size=shape[-1]).astype("f4")) for _ in range(2))
    scaled = graph.op("MUL", [x, scale], [x.spec])[0]
    graph.outputs(graph.op("SUB", [scaled, less], [x.spec])[0])
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize(("name", "axes", "shape", "dtype"), [
    ("SUM", (0, 2, 5), (2, 3, 4, 2, 1, 3), "float32"),
    ("SUM", (0, 2, 4), (3, 2, 3, 2, 3), "int32"),
    ("MEAN", (0, 2, 4), (3, 2, 3, 2, 3), "float32"),
    ("MEAN", (-1, -3, 0), (2, 3, 2, 2, 5), "float32"),
    ("REDUCE_MAX", (1, 3, 5), (2, 3, 1, 4, 5, 2), "int32"),
    ("REDUCE_PROD", (0, 2, 4, 6), (2, 1, 2, 2, 2, 2, 2), "float32"),
    ("REDUCE_ANY", (0, 2, 4), (2, 2, 2, 2, 2), "bool")])
@pytest.mark.parametrize("keep", [False, True])
def test_reductions_over_axes_here_and_there(
    runtime: Runtime, name: str, axes: tuple[int, ...], shape: tuple[int, ...], dtype: str,
    keep: bool,
) -> None:
    gone = {a % len(shape) for a in axes}
    y = tuple(1 if i in gone else e for i, e in enumerate(shape) if keep or i not in gone)
    blob = single_op(name, [Spec(shape, dtype), np.array(axes, "i4")], [Spec(y, dtype)],
                     {"keepDims": keep})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("then", ["GELU", "PAD"])
def test_what_follows_a_dense_layer_of_few_rows(runtime: Runtime, then: str) -> None:
    rng = np.random.default_rng(4)
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((3, 64))
    (y,) = graph.op("FULLY_CONNECTED", [x, graph.const(rng.uniform(-1, 1, (20, 64)).astype("f4")),
                                        graph.const(rng.uniform(-1, 1, 20).astype("f4"))],
                    [Spec((3, 20))], {})
    if then == "GELU":
        graph.outputs(*graph.op("GELU", [y], [Spec((3, 20))]))
    else:
        few = graph.input((3, 12))
        (wide,) = graph.op("PAD", [few, graph.const(np.array([[0, 0], [0, 8]], "i4"))],
                           [Spec((3, 20))])
        graph.outputs(*graph.op("ADD", [y, wide], [Spec((3, 20))], {}))
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob))
