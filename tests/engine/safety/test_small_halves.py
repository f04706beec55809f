"""Activations as float16: every kernel that knows them, on shapes that no vector divides.

tests/engine/safety/test_oclgrind.py runs this file under oclgrind, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.planner import Plan
from app.engine.reader import read
from app.engine.runtime import Runtime
from bench.kernels.plans import launches
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, Value, single_op
from tests.engine.safety.test_small_shapes import CASES, CHECKED, SAME, VALID, Case, f4, i4, spec

# Only kernels for cards know activations as float16.
pytestmark = pytest.mark.parametrize("runtime", ["rx580"], indirect=True)
# Half's rounding: to the nearest of 11 bits.
UNIT = 2.0**-11
ODD: dict[str, Case] = {
    "points": ("CONV_2D", [spec(1, 4, 4, 8), f4(12, 1, 1, 8), f4(12)], [spec(1, 4, 4, 12)], SAME),
    "depthwise of 8": ("DEPTHWISE_CONV_2D", [spec(1, 5, 6, 8), f4(1, 3, 3, 8), f4(8)],
                       [spec(1, 5, 6, 8)], {**SAME, "depthMultiplier": 1}),
    "pool of 8": ("MAX_POOL_2D", [spec(1, 5, 5, 8)], [spec(1, 2, 2, 8)],
                  {**VALID, "filterHeight": 2, "filterWidth": 2}),
    "matmul of 4": ("BATCH_MATMUL", [spec(2, 5, 8), spec(2, 8, 12)], [spec(2, 5, 12)], {}),
    "winograd": ("CONV_2D", [spec(1, 5, 6, 17), f4(18, 3, 3, 17), f4(18)], [spec(1, 5, 6, 18)],
                 SAME),
}
NAMES = ("conv 3x3", "conv grouped", "depthwise", "depthwise strided", "transposed", "dense",
         "matmul", "matmul deep", "max pool", "mean of an image", "broadcast", "bilinear",
         "nearest", "concat", "pad", "transpose", "gather", "update", "channels", "unary")
EVERY: dict[str, Case] = {**{name: CASES[name] for name in NAMES}, **ODD}


def exact(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The nearest numbers that float16 holds."""
    return array.astype("f2").astype("f4") if array.dtype == np.float32 else array


def between_halves(case: Case) -> bytes:
    """The operation behind and before others, so that what it reads and writes is the device's.

    Two read each of their results: nothing becomes part of another kernel.
    """
    kind, inputs, outputs, options = case
    model = ModelBuilder()
    graph = model.graph()
    given: list[Value | None] = []
    ends: list[Value] = []
    for one in inputs:
        if not isinstance(one, Spec):
            given.append(graph.const(exact(np.asarray(one))))
        elif one.dtype == "float32":
            given += graph.op("NEG", [graph.input(one.shape)], [one], {})
            ends += _largest(graph, given[-1])
        else:
            given.append(graph.input(one.shape, one.dtype))
    made = graph.op(kind, given, outputs, options)
    for value in made:
        ends += graph.op("ABS", [value], [value.spec], {})
        ends += _largest(graph, value)
    graph.outputs(*ends)
    return model.build()


def _largest(graph: Any, value: Value | None) -> list[Value]:
    assert value is not None
    axes = graph.const(i4(*range(len(value.spec.shape))))
    made: list[Value] = graph.op("REDUCE_MAX", [value, axes], [Spec(())], {"keepDims": False})
    return made


def planned(runtime: Runtime, blob: bytes, inputs: list[oracle.Array]) -> tuple[
        list[oracle.Array], Plan]:
    model = LoadedModel(runtime, read(blob), fp16_storage=True)
    try:
        return model.run(inputs), model.prepare([a.shape for a in inputs]).plan
    finally:
        model.close()


@CHECKED
@pytest.mark.parametrize("name", EVERY)
def test_kernels_on_halves(runtime: Runtime, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtime.device.profile.choices.measured, "3x3 1x5x6x17x18", (2,))
    blob = between_halves(EVERY[name])
    inputs = [exact(a) for a in oracle.random_inputs(blob)]
    outputs, plan = planned(runtime, blob, inputs)
    halves = [s for s in launches(plan) if "HALVES" in s.defines or s.defines.get("T") == "ushort"]
    # What makes the inputs, the operation, and what reads its results.
    assert len(halves) >= 2 + len(EVERY[name][2])
    for actual, expected in zip(outputs, oracle.run(blob, inputs), strict=True):
        # What it read was exact, so that one rounding is between the two, that of its result.
        off = np.abs(actual - expected)
        assert (off <= UNIT * np.abs(expected)
                + oracle.FLOAT_TOLERANCE * oracle.spread(expected)).all(), float(off.max())


@pytest.mark.parametrize("channels", [4, 6])
def test_operands_of_fused_steps_are_halves(runtime: Runtime, channels: int) -> None:
    model = ModelBuilder()
    graph = model.graph()
    small, large = Spec((1, 3, 5, channels)), Spec((1, 3, 5, channels + 3))
    (first,) = graph.op("NEG", [graph.input(small.shape)], [small], {})
    weights = [[graph.const(exact(f4(c, 1, 1, channels))), graph.const(f4(c))]
               for c in (channels, channels + 3)]
    (conv,) = graph.op("CONV_2D", [first, *weights[0]], [small], SAME)
    (same,) = graph.op("ADD", [conv, first], [small], {})
    one = Spec((1, 1, 1, channels))
    (means,) = graph.op("MEAN", [first, graph.const(i4(1, 2))], [one], {"keepDims": True})
    (scaled,) = graph.op("MUL", [same, means], [small], {})
    pads = graph.const(i4([0, 0], [0, 0], [0, 0], [0, 3]))
    (padded,) = graph.op("PAD", [first, pads], [large], {})
    (wide,) = graph.op("CONV_2D", [scaled, *weights[1]], [large], SAME)
    graph.outputs(*graph.op("ADD", [wide, padded], [large], {}))
    blob = model.build()
    inputs = [exact(a) for a in oracle.random_inputs(blob)]
    outputs, plan = planned(runtime, blob, inputs)
    steps = " ".join(str(s.defines.get("EPILOGUE")) for s in launches(plan))
    assert all(f"E_HALF_{kind}(" in steps for kind in ("SAME", "CHAN", "PADDED"))
    for actual, expected in zip(outputs, oracle.run(blob, inputs), strict=True):
        oracle.assert_close(actual, expected, 8 * UNIT)


def test_what_is_no_number_passes(runtime: Runtime) -> None:
    blob = between_halves(CASES["channels"])
    (x,) = oracle.random_inputs(blob)
    x.reshape(-1)[[3, 11, 17]] = np.nan, np.inf, -np.inf
    outputs, _ = planned(runtime, blob, [x])
    (expected, *_) = (y for y in oracle.run(blob, [x]) if y.shape == x.shape)
    actual = next(y for y in outputs if y.shape == x.shape)
    oracle.assert_close(actual, expected, 2 * UNIT)


# Inputs, and a function of them that float16 does not hold: too large, or lost where it is steep.
BEYOND: dict[str, tuple[str, float]] = {"squares": ("SQUARE", 300.0), "powers": ("EXP", 12.0),
                                        "logarithms": ("LOG", 1e-9), "roots": ("RSQRT", 1e-9)}


@pytest.mark.parametrize("name", BEYOND)
def test_what_float16_does_not_hold_stays_float32(runtime: Runtime, name: str) -> None:
    kind, size = BEYOND[name]
    shape = (3, 7)
    blob = between_halves((kind, [Spec(shape)], [Spec(shape)], {}))
    # Its bridge turns the sign.
    x = -size * np.linspace(1, 2, 21, dtype="f4").reshape(shape)
    outputs, _ = planned(runtime, blob, [x])
    for actual, expected in zip(outputs, oracle.run(blob, [x]), strict=True):
        oracle.assert_close(actual, expected, 2 * UNIT)


def test_integer_arithmetic_stays_exact(runtime: Runtime) -> None:
    op, inputs, outputs, options = CASES["quantised conv"]
    blob = single_op(op, inputs, outputs, options)
    given = oracle.random_inputs(blob)
    _, plan = planned(runtime, blob, given)
    assert not any("HALVES" in step.defines for step in launches(plan))
