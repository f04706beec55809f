"""A depthwise and a 1x1 convolution in one kernel equal TFLite's two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.choices import Choices
from app.engine.passes.pairs import PAIR
from app.engine.profile import RX_580, DeviceProfile
from app.engine.runtime import Runtime
from bench.kernels.plans import launches, plan_blob
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.engine_check import assert_op_same

CARD = replace(RX_580, choices=Choices())
ONE = {"padding": "SAME", "strideH": 1, "strideW": 1}


@st.composite
def pairs(draw: Any) -> dict[str, Any]:
    """The numbers of a depthwise convolution and what follows it, odd ones included."""
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    dilation = draw(st.sampled_from([1, 1, 2]))
    low = (max(kernel) - 1) * dilation + 1
    return {"kernel": kernel, "dilation": dilation,
            "stride": draw(st.integers(1, 2)) if dilation == 1 else 1,
            "size": (draw(st.integers(low, 14)), draw(st.integers(low, 14))),
            "batch": draw(st.integers(1, 2)), "channels": draw(st.sampled_from([4, 12, 20, 72])),
            "outputs": draw(st.sampled_from([4, 5, 24, 70])),
            "padding": draw(st.sampled_from(["SAME", "VALID"])),
            "middle": draw(st.sampled_from(["NONE", "RELU6", "PRELU"])),
            "residual": draw(st.booleans())}


def extents(case: dict[str, Any]) -> tuple[int, int]:
    """Height and width behind the window."""
    if case["padding"] == "SAME":
        return tuple(-(-s // case["stride"]) for s in case["size"])  # type: ignore[return-value]
    return tuple((s - (k - 1) * case["dilation"] - 1) // case["stride"] + 1  # type: ignore[return-value]
                 for s, k in zip(case["size"], case["kernel"], strict=True))


def net(case: dict[str, Any]) -> bytes:
    """Depthwise convolution, activation, 1x1 convolution, addition."""
    rng = np.random.default_rng(3)

    def numbers(*shape: int) -> Any:
        return graph.const(rng.normal(0, 0.5, shape).astype("f4"))

    model = ModelBuilder()
    graph = model.graph()
    n, c, o, (kh, kw), (h, w) = (case["batch"], case["channels"], case["outputs"], case["kernel"],
                                 extents(case))
    activation = "RELU6" if case["middle"] == "RELU6" else "NONE"
    middle = Spec((n, h, w, c))
    (y,) = graph.op("DEPTHWISE_CONV_2D", [graph.input((n, *case["size"], c)),
                                          numbers(1, kh, kw, c), numbers(c)], [middle],
                    {"padding": case["padding"], "strideH": case["stride"],
                     "strideW": case["stride"], "dilationHFactor": case["dilation"],
                     "dilationWFactor": case["dilation"], "depthMultiplier": 1,
                     "fusedActivationFunction": activation})
    if case["middle"] == "PRELU":
        (y,) = graph.op("PRELU", [y, numbers(1, 1, c)], [middle])
    (y,) = graph.op("CONV_2D", [y, numbers(o, 1, 1, c), numbers(o)], [Spec((n, h, w, o))],
                    {**ONE, "fusedActivationFunction": "RELU"})
    if case["residual"]:
        (y,) = graph.op("ADD", [y, graph.input((n, h, w, o))], [Spec((n, h, w, o))])
    graph.outputs(y)
    return model.build()


def together(profile: DeviceProfile, case: dict[str, Any], one: bool) -> None:
    """Decide how the pair of a case is computed."""
    h, w = extents(case)
    kh, kw = case["kernel"]
    key = f"pair {case['batch'] * h * w}x{case['outputs']}x{case['channels']} {kh}x{kw}"
    profile.choices.measured[key] = (int(one),)


@settings(max_examples=16, deadline=None, derandomize=True)
@given(case=pairs())
def test_pairs(runtime: Runtime, case: dict[str, Any]) -> None:
    together(runtime.device.profile, case, True)
    blob = net(case)
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


CASE: dict[str, Any] = {
    "kernel": (3, 3), "dilation": 1, "stride": 1, "size": (9, 8), "batch": 1, "channels": 20,
    "outputs": 24, "padding": "SAME", "middle": "RELU6", "residual": True}


@pytest.mark.parametrize("one", [True, False])
def test_a_pair_is_one_launch_where_that_is_chosen(one: bool) -> None:
    together(CARD, CASE, one)
    made = plan_blob(net(CASE), profile=CARD)
    assert [n.op for n in made.graph.nodes] == [PAIR]
    assert len(launches(made)) == (1 if one else 2)


def test_small_layers_are_joined_and_wide_ones_are_not() -> None:
    small = {**CASE, "size": (14, 14), "channels": 96, "outputs": 32}
    tiny = {**CASE, "size": (2, 2), "channels": 128, "outputs": 128}
    wide = {**CASE, "kernel": (5, 5), "size": (112, 112), "channels": 512, "outputs": 512,
            "residual": False}
    for few in (small, tiny):
        assert len(launches(plan_blob(net(few), profile=RX_580))) == 1
    assert len(launches(plan_blob(net(wide), profile=RX_580))) == 2


@pytest.mark.parametrize("case", [{**CASE, "channels": 10}, {**CASE, "outputs": 3}])
def test_what_vectors_do_not_fit_stays_apart(case: dict[str, Any]) -> None:
    assert len(launches(plan_blob(net(case), profile=RX_580))) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_windows(runtime: Runtime, bad: float) -> None:
    together(runtime.device.profile, CASE, True)
    blob = net(CASE)
    inputs = oracle.random_inputs(blob)
    inputs[0][0, 4, 4, 3] = bad
    assert_op_same(runtime, blob, inputs)
