"""Products of 8-bit integers, by a processor's dot products and by floats, are TFLite's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.ir import Launch
from app.engine.opencl.programs import Entry, Programs
from app.engine.profile import DeviceProfile
from app.engine.runtime import Runtime
from app.errors import KernelBuildError
from app.tensors import Quantization
from bench.kernels.plans import launches, plan_blob
from tests.engine import oracle
from tests.engine.builder import GraphBuilder, ModelBuilder, Spec, Value, single_op
from tests.engine.engine_check import assert_op_same, run_engine
from tests.engine.graphs.drawn import random_graph
from tests.engine.graphs.quantized import Conflict, quantized

EXAMPLES = settings(max_examples=6, deadline=None, derandomize=True)
OWN = pytest.mark.parametrize("runtime", ["own", "floats"], indirect=True)
CHANNELS, OUTPUTS = st.sampled_from([1, 3, 4, 16, 21]), st.sampled_from([7, 8, 11, 16, 17, 40, 70])
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
CPU = DeviceProfile("a CPU", "cpu", 2, 4096, 1 << 15, 1 << 30, 1 << 32, 128, 16, dots=True)


def quant(data: st.DataObject, dtype: str) -> Quantization:
    """Any scale and zero point of activations."""
    return Quantization((data.draw(st.sampled_from([0.01, 0.05, 0.2])),),
                        (data.draw(st.integers(*LIMITS[dtype])),))


def weights(shape: tuple[int, ...], step: float, axis: int = 0) -> list[Any]:
    """Weights of every int8 there is, with a scale for each output, and a bias."""
    rng, count = np.random.default_rng(5), shape[axis]
    scales = tuple(float(s) for s in rng.uniform(0.005, 0.03, count).astype("f4"))
    w = rng.integers(-127, 128, shape).astype("i1")
    bias = rng.integers(-3000, 3000, count).astype("i4")
    return [(w, Quantization(scales, (0,) * count, axis)),
            (bias, Quantization(tuple(float(np.float32(step) * np.float32(s)) for s in scales),
                                (0,) * count))]


def extent(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Outputs along an axis."""
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else (size - reach) // stride + 1


@st.composite
def convolutions(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Any]:
    """Shapes of x, weights and y, and options, of any convolution."""
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    channels, outputs = groups * draw(CHANNELS), groups * draw(OUTPUTS)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride, padding = draw(st.integers(1, 3)), draw(st.sampled_from(["SAME", "VALID"]))
    dilation = 1 if stride > 1 else draw(st.integers(1, 2))
    size = draw(st.tuples(st.integers(7, 12), st.integers(7, 30)))
    batch = draw(st.integers(1, 2))
    y = tuple(extent(s, k, stride, dilation, padding) for s, k in zip(size, kernel, strict=True))
    return ((batch, *size, channels), (outputs, *kernel, channels // groups),
            (batch, *y, outputs),
            {"padding": padding, "strideH": stride, "strideW": stride,
             "dilationHFactor": dilation, "dilationWFactor": dilation,
             "fusedActivationFunction": draw(st.sampled_from(["NONE", "RELU"]))})


@OWN
@EXAMPLES
@given(data=st.data(), shapes=convolutions())
def test_convolutions(runtime: Runtime, data: Any, shapes: Any) -> None:
    given, kernel, made, options = shapes
    x, y = quant(data, "int8"), quant(data, "int8")
    blob = single_op("CONV_2D", [Spec(given, "int8", x), *weights(kernel, x.scales[0])],
                     [Spec(made, "int8", replace(y, scales=(0.5,)))], options)
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@OWN
@EXAMPLES
@given(data=st.data(), shapes=convolutions(), dtype=st.sampled_from(["int8", "float32"]))
def test_one_scale_for_all_outputs(runtime: Runtime, data: Any, shapes: Any, dtype: str) -> None:
    given, kernel, made, options = shapes
    whole = dtype == "int8"
    w = (weights(kernel, 1.0)[0][0], Quantization((0.02,), (0,)))
    x, y = (quant(data, "int8"), Quantization((0.5,), (3,))) if whole else (None, None)
    bias: Any = np.arange(kernel[0], dtype="f4")
    if x is not None:
        bias = (np.arange(kernel[0], dtype="i4"), Quantization((x.scales[0] * 0.02,), (0,)))
    if not whole and kernel[3] != given[3]:
        return  # TFLite has no groups of float data by int8 weights.
    blob = single_op("CONV_2D", [Spec(given, dtype, x), w, bias], [Spec(made, dtype, y)], options)
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=-3, high=2), plain=True)


@OWN
@EXAMPLES
@given(data=st.data(), rows=st.integers(1, 5), depth=st.integers(1, 70), outputs=OUTPUTS,
       dtype=st.sampled_from(["int8", "float32"]), symmetric=st.booleans())
def test_dense_layers(runtime: Runtime, data: Any, rows: int, depth: int, outputs: int, dtype: str,
                      symmetric: bool) -> None:
    w = (np.random.default_rng(3).integers(-127, 128, (outputs, depth)).astype("i1"),
         Quantization((0.02,), (0,)))
    x, y, bias, options = None, None, np.arange(outputs, dtype="f4"), {}
    if dtype == "int8":
        x, y = quant(data, dtype), Quantization((0.5,), (-7,))
        bias = (np.arange(outputs, dtype="i4"), Quantization((x.scales[0] * 0.02,), (0,)))
    else:
        options = {"asymmetricQuantizeInputs": not symmetric}
    blob = single_op("FULLY_CONNECTED", [Spec((rows, depth), dtype, x), w, bias],
                     [Spec((rows, outputs), dtype, y)], options)
    assert_op_same(runtime, blob, oracle.random_inputs(blob, low=-3, high=2), plain=True)


@OWN
@EXAMPLES
@given(data=st.data(), channels=CHANNELS, outputs=OUTPUTS, stride=st.integers(1, 3),
       kernel=st.integers(1, 4), padding=st.sampled_from(["SAME", "VALID"]))
def test_transposed_convolutions(runtime: Runtime, data: Any, channels: int, outputs: int,
                                 stride: int, kernel: int, padding: str) -> None:
    x, y = quant(data, "int8"), Quantization((0.5,), (5,))
    size = tuple(e * stride if padding == "SAME" else (e - 1) * stride + kernel for e in (4, 6))
    w, bias = weights((outputs, kernel, kernel, channels), x.scales[0])
    blob = single_op("TRANSPOSE_CONV", [np.array([1, *size, outputs], "i4"), w,
                                        Spec((1, 4, 6, channels), "int8", x), bias],
                     [Spec((1, *size, outputs), "int8", y)],
                     {"padding": padding, "strideH": stride, "strideW": stride})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@OWN
@pytest.mark.parametrize(("zero", "spread"), [(128, 127), (117, 138), (0, 255), (255, 255)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_weights_without_a_sign(runtime: Runtime, zero: int, spread: int, kernel: int) -> None:
    rng = np.random.default_rng(1)
    values = zero + rng.integers(-spread, spread + 1, (19, kernel, kernel, 6))
    w = (np.clip(values, 0, 255).astype("u1"), Quantization((0.02,), (zero,)))
    bias = (np.arange(19, dtype="i4"), Quantization((0.001,), (0,)))
    blob = single_op("CONV_2D", [Spec((1, 9, 9, 6), "uint8", Quantization((0.05,), (77,))), w,
                                 bias], [Spec((1, 9, 9, 19), "uint8", Quantization((0.5,), (99,)))],
                     {"padding": "SAME", "strideH": 1, "strideW": 1})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@OWN
def test_whole_numbers_are_exact(runtime: Runtime) -> None:
    # Every factor as large as it may be, and one of them changed.
    x, w = np.full((1, 4, 4, 256), -128, "i1"), np.full((16, 3, 3, 256), 127, "i1")
    w[3, 1, 1, 7] = -127
    blob = single_op("CONV_2D", [Spec(x.shape, "int8", Quantization((1.0,), (127,))),
                                 (w, Quantization((1.0,), (0,))),
                                 (np.zeros(16, "i4"), Quantization((1.0,), (0,)))],
                     [Spec((1, 2, 2, 16), "int8", Quantization((255.0 * 254,), (127 - 127,)))],
                     {"padding": "VALID", "strideH": 1, "strideW": 1})
    (got,) = run_engine(runtime, blob, [x])
    exact = np.rint((w.astype("i8").reshape(16, -1).sum(1) * -255) / (255 * 254))
    np.testing.assert_array_equal(got[0, 0, 0], np.clip(exact, -128, 127))


def test_a_processor_without_them_gets_float_kernels() -> None:
    blob = single_op("CONV_2D", [Spec((1, 9, 9, 16), "int8", Quantization((0.05,), (3,))),
                                 *weights((16, 3, 3, 16), 0.05)],
                     [Spec((1, 9, 9, 16), "int8", Quantization((0.5,), (3,)))],
                     {"padding": "SAME", "strideH": 1, "strideW": 1})

    def kernels(profile: DeviceProfile) -> set[str]:
        made = launches(plan_blob(blob, profile=profile))
        return {part.kernel for launch in made for part in (launch.parts or (launch,))}

    assert {"bytes", "dots"} <= kernels(CPU)
    assert not {"bytes", "dots"} & kernels(replace(CPU, dots=False))


def test_a_driver_without_the_instruction_gets_float_kernels(
        runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Programs, launch: Launch) -> Entry:
        raise KernelBuildError("trial.cl", "", "error: no such builtin")

    device = replace(runtime.device, profile=replace(runtime.device.profile, dots=True))
    monkeypatch.setattr(Programs, "get", refuse)
    assert not Runtime(device).device.profile.dots


def net(graph: GraphBuilder, x: Value, spec: Callable[[int], Spec]) -> list[Value]:
    """Convolutions side by side and in a row, with windows, a sum and a concatenation."""
    same = {"padding": "SAME", "strideH": 1, "strideW": 1}

    def conv(given: Value, outputs: int, kernel: int) -> Value:
        shape = (outputs, kernel, kernel, given.spec.shape[3])
        params = [graph.const(*p) for p in weights(shape, 0.05)]
        return graph.op("CONV_2D", [given, *params], [spec(outputs)], same)[0]

    def windows(given: Value) -> Value:
        params = [graph.const(*p) for p in weights((1, 3, 3, given.spec.shape[3]), 0.05, 3)]
        return graph.op("DEPTHWISE_CONV_2D", [given, *params], [given.spec],
                        {**same, "depthMultiplier": 1})[0]

    first = conv(x, 24, 1)
    left, right = conv(windows(first), 16, 1), conv(first, 8, 1)
    (both,) = graph.op("CONCATENATION", [left, right], [spec(24)], {"axis": 3})
    (total,) = graph.op("ADD", [both, first], [spec(24)])
    return [conv(total, 12, 1), conv(total, 20, 3)]


@pytest.mark.parametrize("channels", [3])
def test_bytes_are_written_by_what_makes_them(runtime: Runtime, channels: int) -> None:
    def spec(outputs: int) -> Spec:
        return Spec((1, 9, 11, outputs), "int8", Quantization((0.05,), (-9,)))

    model = ModelBuilder()
    graph = model.graph()
    given = spec(channels)
    x = graph.input(given.shape, given.dtype, given.quant)
    graph.outputs(*net(graph, x, spec))
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob), steps=2)
    made = launches(plan_blob(blob, profile=CPU))
    kernels = [part.kernel for launch in made for part in (launch.parts or (launch,))]
    # Of the input, and of what a window looks beyond the borders of.
    assert kernels.count("bytes") == 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("runtime", ["own"], indirect=True)
def test_graphs_have_the_same_results_by_floats(runtime: Runtime, seed: int) -> None:
    random, blob = Random(seed), b""
    while not blob:
        floats = random_graph(random, whole_kernels=True)
        with suppress(Conflict):
            blob = quantized(floats, oracle.random_inputs(floats, seed))
    inputs = oracle.random_inputs(blob, seed)
    profile = replace(runtime.device.profile, dots=False)
    by_floats = Runtime(replace(runtime.device, profile=profile))
    for own, other in zip(run_engine(runtime, blob, inputs), run_engine(by_floats, blob, inputs),
                          strict=True):
        oracle.assert_within_steps(own, other, 1)


@pytest.mark.filterwarnings("error")
def test_a_scale_of_zero_gives_zeros(runtime: Runtime) -> None:
    w = (np.ones((16, 8), "i1"), Quantization((float("inf"),), (0,)))
    bias = (np.ones(16, "i4"), Quantization((float("nan"),), (0,)))
    blob = single_op("FULLY_CONNECTED", [Spec((2, 8), "int8", Quantization((0.0,), (0,))), w, bias],
                     [Spec((2, 16), "int8", Quantization((0.5,), (7,)))], {})
    (got,) = run_engine(runtime, blob, [np.ones((2, 8), "i1")])
    np.testing.assert_array_equal(got, 7)
