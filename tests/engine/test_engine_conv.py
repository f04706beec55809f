"""Float convolutions, pooling and their fusions equal TFLite's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.ops import unfold, winograd
from app.engine.ops.window import axis
from app.engine.runtime import Runtime
from bench.kernels.plans import launches, plan_blob
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.engine_check import assert_op_same, run_engine

EXAMPLES = settings(max_examples=12, deadline=None, derandomize=True)


@st.composite
def windows(draw: Any) -> dict[str, Any]:
    """A convolution's numbers, odd ones included."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = draw(st.sampled_from([1, 1, 2]))
    stride = draw(st.integers(1, 3)) if dilation == 1 else 1
    low = (max(kernel) - 1) * dilation + 1
    return {"kernel": kernel, "stride": stride, "dilation": dilation,
            "size": (draw(st.integers(low, 20)), draw(st.integers(low, 20))),
            "batch": draw(st.integers(1, 2)), "channels": draw(st.sampled_from([1, 3, 8, 19])),
            "outputs": draw(st.sampled_from([1, 3, 5, 16, 24, 40])),
            "padding": draw(st.sampled_from(["SAME", "VALID"])),
            "activation": draw(st.sampled_from(["NONE", "RELU", "RELU6"]))}


def _extent(size: int, kernel: int, case: dict[str, Any]) -> int:
    if case["padding"] == "SAME":
        return -(-size // case["stride"])
    return (size - (kernel - 1) * case["dilation"] - 1) // case["stride"] + 1


def _spatial(case: dict[str, Any]) -> tuple[int, int]:
    return tuple(_extent(s, k, case)  # type: ignore[return-value]
                 for s, k in zip(case["size"], case["kernel"], strict=True))


def _options(case: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"padding": case["padding"], "strideH": case["stride"], "strideW": case["stride"],
            "fusedActivationFunction": case["activation"], **more}


def _dilated(case: dict[str, Any]) -> dict[str, Any]:
    return _options(case, dilationHFactor=case["dilation"], dilationWFactor=case["dilation"])


@EXAMPLES
@given(case=windows())
def test_conv_2d(runtime: Runtime, case: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    weights = rng.uniform(-1, 1, (case["outputs"], *case["kernel"], case["channels"]))
    bias = rng.uniform(-1, 1, case["outputs"])
    blob = single_op("CONV_2D", [Spec((case["batch"], *case["size"], case["channels"])),
                                 weights.astype("f4"), bias.astype("f4")],
                     [Spec((case["batch"], *_spatial(case), case["outputs"]))], _dilated(case))
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("case", [
    {"kernel": (3, 3), "stride": 1, "dilation": 1, "size": (3, 3)},
    {"kernel": (3, 3), "stride": 2, "dilation": 1, "size": (5, 5), "batch": 2},
    {"kernel": (3, 3), "stride": 1, "dilation": 2, "size": (5, 6), "channels": 33},
    {"kernel": (5, 5), "stride": 1, "dilation": 1, "size": (5, 5), "outputs": 21}], ids=str)
def test_small_images_are_laid_side_by_side(
    runtime: Runtime, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of which sizes depends on the processor's vectors.
    monkeypatch.setattr(unfold, "pays", lambda profile, *_: profile.is_cpu)
    whole = {"batch": 1, "channels": 16, "outputs": 40, "padding": "SAME", "activation": "RELU6",
             **case}
    rng = np.random.default_rng(1)
    weights = rng.uniform(-1, 1, (whole["outputs"], *whole["kernel"], whole["channels"]))
    blob = single_op("CONV_2D", [Spec((whole["batch"], *whole["size"], whole["channels"])),
                                 weights.astype("f4"),
                                 rng.uniform(-1, 1, whole["outputs"]).astype("f4")],
                     [Spec((whole["batch"], *_spatial(whole), whole["outputs"]))], _dilated(whole))
    assert_op_same(runtime, blob, oracle.random_inputs(blob))
    steps = launches(plan_blob(blob, profile=runtime.device.profile))
    used = {part.kernel for step in steps for part in (step.parts or (step,))}
    assert ("unfold" in used) == runtime.device.profile.is_cpu


def column(name: str, lying: bool) -> bytes:
    """A window of five by one over one column of pixels; lying, of one by five over a row."""
    rng, (high, wide) = np.random.default_rng(4), (1, 5) if lying else (5, 1)
    options = {"padding": "SAME", "fusedActivationFunction": "RELU",
               "strideH": 1 if lying else 2, "strideW": 2 if lying else 1}
    operands: list[oracle.Array] = []
    outputs = 16
    if name == "MAX_POOL_2D":
        options |= {"filterHeight": high, "filterWidth": wide}
    elif name == "CONV_2D":
        outputs = 40
        operands = [rng.uniform(-1, 1, (40, high, wide, 16)).astype("f4")]
    else:
        options["depthMultiplier"] = 1
        operands = [rng.uniform(-1, 1, (1, high, wide, 16)).astype("f4")]
    if operands:
        operands.append(rng.uniform(-1, 1, outputs).astype("f4"))
    return single_op(name, [Spec((2, 1, 61, 16) if lying else (2, 61, 1, 16)), *operands],
                     [Spec((2, 1, 31, outputs) if lying else (2, 31, 1, outputs))], options)


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D"])
def test_a_column_of_pixels_is_computed_as_a_row(runtime: Runtime, name: str) -> None:
    standing, lying = column(name, lying=False), column(name, lying=True)
    assert_op_same(runtime, standing, oracle.random_inputs(standing))
    one, two = ([(step.kernel, step.global_size, step.defines)
                 for step in launches(plan_blob(blob, profile=runtime.device.profile))]
                for blob in (standing, lying))
    assert one == two


@pytest.mark.parametrize("native", [8, 16])
def test_images_that_are_laid_side_by_side_are_small(runtime: Runtime, native: int) -> None:
    profile = replace(runtime.device.profile, native=native)
    small, large = (axis(extent, 3, 1, 1, "SAME") for extent in (3, 40))
    assert unfold.pays(profile, 1, 64, 40, small, small) == profile.is_cpu
    assert not unfold.pays(profile, 1, 64, 40, large, large)
    # To lay down one number a tap costs more than it saves.
    assert not unfold.pays(profile, 1, 1, 40, small, small)


@pytest.mark.parametrize("native", [1, 8, 16])
@pytest.mark.parametrize(("outputs", "kernel", "channels", "dilation"), [
    (1, 1, 300, 1), (1, 3, 21, 1), (3, 3, 20, 2), (5, 2, 37, 1), (7, 1, 65, 1), (12, 3, 32, 1)])
def test_few_outputs_of_deep_sums(
        runtime: Runtime, monkeypatch: pytest.MonkeyPatch, native: int, outputs: int, kernel: int,
        channels: int, dilation: int) -> None:
    monkeypatch.setattr(runtime, "device", replace(
        runtime.device, profile=replace(runtime.device.profile, native=native)))
    rng = np.random.default_rng(outputs)
    weights = rng.uniform(-1, 1, (outputs, kernel, kernel, channels)).astype("f4")
    case = {"padding": "SAME", "stride": 1, "dilation": dilation, "activation": "RELU"}
    blob = single_op("CONV_2D", [Spec((2, 6, 7, channels)), weights,
                                 rng.uniform(-1, 1, outputs).astype("f4")],
                     [Spec((2, 6, 7, outputs))], _dilated(case))
    assert_op_same(runtime, blob, [rng.uniform(-1, 1, (2, 6, 7, channels)).astype("f4")])


@EXAMPLES
@given(case=windows(), multiplier=st.sampled_from([1, 1, 2, 3]))
def test_depthwise_conv_2d(runtime: Runtime, case: dict[str, Any], multiplier: int) -> None:
    rng = np.random.default_rng(2)
    outputs = case["channels"] * multiplier
    weights = rng.uniform(-1, 1, (1, *case["kernel"], outputs)).astype("f4")
    blob = single_op("DEPTHWISE_CONV_2D",
                     [Spec((case["batch"], *case["size"], case["channels"])), weights,
                      rng.uniform(-1, 1, outputs).astype("f4")],
                     [Spec((case["batch"], *_spatial(case), outputs))],
                     {**_dilated(case), "depthMultiplier": multiplier})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@EXAMPLES
@given(case=windows(), kind=st.sampled_from(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
def test_pool_2d(runtime: Runtime, case: dict[str, Any], kind: str) -> None:
    case["dilation"] = 1
    blob = single_op(kind, [Spec((case["batch"], *case["size"], case["channels"]))],
                     [Spec((case["batch"], *_spatial(case), case["channels"]))],
                     _options(case, filterHeight=case["kernel"][0], filterWidth=case["kernel"][1]))
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize(("shape", "window", "padding"), [
    ((2, 130, 131, 5), (130, 131), "VALID"), ((1, 16, 16, 96), (16, 16), "VALID"),
    ((1, 5, 4, 7), (9, 8), "SAME")])
@pytest.mark.parametrize("kind", ["MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"])
def test_pools_of_whole_images(runtime: Runtime, kind: str, shape: tuple[int, ...],
                               window: tuple[int, int], padding: str) -> None:
    blob = single_op(kind, [Spec(shape)], [Spec((shape[0], 1, 1, shape[3]))],
                     {"padding": padding, "strideH": shape[1], "strideW": shape[2],
                      "filterHeight": window[0], "filterWidth": window[1],
                      "fusedActivationFunction": "RELU"})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("groups", [2, 3])
def test_grouped_conv_2d(runtime: Runtime, groups: int) -> None:
    weights = np.random.default_rng(3).uniform(-1, 1, (groups * 9, 3, 3, 4)).astype("f4")
    blob = single_op("CONV_2D", [Spec((1, 9, 11, groups * 4)), weights,
                                 np.zeros(groups * 9, "f4")],
                     [Spec((1, 9, 11, groups * 9))],
                     {"padding": "SAME", "strideH": 1, "strideW": 1})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_a_padded_residual_block_becomes_three_launches(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    rng = np.random.default_rng(4)
    x = graph.input((1, 12, 12, 24))
    (padded,) = graph.op("PAD", [x, graph.const(np.array([[0, 0], [1, 1], [2, 1], [0, 0]], "i4"))],
                         [Spec((1, 14, 15, 24))])
    (deep,) = graph.op("DEPTHWISE_CONV_2D",
                       [padded, graph.const(rng.uniform(-1, 1, (1, 3, 4, 24)).astype("f4")),
                        graph.const(np.zeros(24, "f4"))], [Spec((1, 12, 12, 24))],
                       {"padding": "VALID", "strideH": 1, "strideW": 1, "depthMultiplier": 1})
    (wide,) = graph.op("CONV_2D",
                       [deep, graph.const(rng.uniform(-1, 1, (24, 1, 1, 24)).astype("f4")),
                        graph.const(rng.uniform(-1, 1, 24).astype("f4"))],
                       [Spec((1, 12, 12, 24))], {"padding": "SAME", "strideH": 1, "strideW": 1})
    (total,) = graph.op("ADD", [wide, x], [Spec((1, 12, 12, 24))])
    (y,) = graph.op("PRELU", [total, graph.const(rng.uniform(0, 1, (1, 1, 24)).astype("f4"))],
                    [Spec((1, 12, 12, 24))])
    graph.outputs(y)
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_through(runtime: Runtime, bad: float) -> None:
    weights = np.eye(8, dtype="f4").reshape(8, 1, 1, 8)
    blob = single_op("CONV_2D", [Spec((1, 4, 4, 8)), weights, np.zeros(8, "f4")],
                     [Spec((1, 4, 4, 8))], {"padding": "SAME", "strideH": 1, "strideW": 1,
                                            "fusedActivationFunction": "RELU"})
    (x,) = oracle.random_inputs(blob)
    x[0, 1, 1, 3] = bad
    assert_op_same(runtime, blob, [x])


@pytest.mark.parametrize("tile", [2, 4])
def test_winograd_with_a_residual(runtime: Runtime, monkeypatch: pytest.MonkeyPatch,
                                  tile: int) -> None:
    rng = np.random.default_rng(tile)
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 11, 9, 32))
    weights = [graph.const(rng.normal(0, 0.06, (32, 3, 3, 32)).astype("f4")) for _ in range(2)]
    options = {"padding": "SAME", "strideH": 1, "strideW": 1}
    zeros = graph.const(np.zeros(32, "f4"))
    (y,) = graph.op("CONV_2D", [x, weights[0], zeros], [Spec((1, 11, 9, 32))], options)
    (z,) = graph.op("CONV_2D", [y, weights[1], zeros], [Spec((1, 11, 9, 32))], options)
    graph.outputs(*graph.op("ADD", [z, x], [Spec((1, 11, 9, 32))]))
    monkeypatch.setitem(runtime.device.profile.choices.measured, "3x3 1x11x9x32x32", (tile,))
    inputs = oracle.random_inputs(model.build())
    oracle.assert_model_same(model.build(), inputs, run_engine(runtime, model.build(), inputs))


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_winograd_keeps_what_is_not_finite_where_it_is(
        runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tile: int, bad: float) -> None:
    rng = np.random.default_rng(5)
    w = rng.normal(0, 0.06, (20, 3, 3, 16)).astype("f4")
    activation = "RELU_N1_TO_1" if np.isfinite(bad) else "RELU"
    blob = single_op("CONV_2D", [Spec((2, 9, 10, 16)), w, rng.normal(size=20).astype("f4")],
                     [Spec((2, 9, 10, 20))], {"padding": "SAME", "strideH": 1, "strideW": 1,
                                              "fusedActivationFunction": activation})
    monkeypatch.setitem(runtime.device.profile.choices.measured, "3x3 2x9x10x16x20", (tile,))
    (x,) = oracle.random_inputs(blob)
    x[1, 4, 4, 3] = bad
    (got,), (wanted,) = run_engine(runtime, blob, [x]), oracle.run(blob, [x])
    oracle.assert_close(got, wanted)
    far = np.abs(np.indices((9, 10)) - 4).max(0) > 1
    assert np.isfinite(got[:, far]).all()
    assert np.isfinite(got[0]).all()


def test_weights_that_tiles_of_four_spoil_get_smaller_ones(
        monkeypatch: pytest.MonkeyPatch) -> None:
    w = np.random.default_rng(0).normal(0, 0.1, (256, 3, 3, 256)).astype("f4")
    assert winograd.error(w, 2) < winograd.error(w, 4) < winograd.ACCURATE
    blob = single_op("CONV_2D", [Spec((1, 56, 56, 256)), w, np.zeros(256, "f4")],
                     [Spec((1, 56, 56, 256))], {"padding": "SAME", "strideH": 1, "strideW": 1})

    def tile() -> object:
        return plan_blob(blob).steps[0].defines["TILE"]  # type: ignore[union-attr]

    assert tile() == 4
    monkeypatch.setattr(winograd, "ACCURATE", 0.0)
    assert tile() == 2


@pytest.mark.parametrize("stride", [7, 1 << 20])
def test_strides_wider_than_the_picture(runtime: Runtime, stride: int) -> None:
    weights = np.random.default_rng(1).uniform(-1, 1, (2, 3, 3, 4)).astype("f4")
    blob = single_op("TRANSPOSE_CONV", [np.array([1, 3, 3, 2], "i4"), weights, Spec((1, 1, 1, 4))],
                     [Spec((1, 3, 3, 2))],
                     {"padding": "VALID", "strideH": stride, "strideW": stride})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))
