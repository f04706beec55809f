"""NaN, infinities, zeros with a sign, denormal and huge numbers pass through as TFLite's do."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from app.engine.epilogue import BINARY, FLEX, INTERNAL
from app.engine.ops.elementwise import UNARY
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.engine_check import assert_op_same, run_engine

NUMBERS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-20, 88.9, -88.9, 100, -100,
                    0.5, -0.5, 1.5, 2.5, -2.5, 1, -1, 7, -7, 1e10, -1e10], "f4")
# TFLite flushes these to zero, OpenCL may: what they make of an infinity differs.
DENORMAL = np.array([1e-40, -1e-40], "f4")
# PoCL's vectors are wrong beside an angle that is so large.
ANGLES = NUMBERS[~(np.abs(NUMBERS) > 1e6)]
OPTIONS: dict[str, dict[str, Any]] = {"LEAKY_RELU": {"alpha": 0.3}, "GELU": {"approximate": False},
                                      "SOFTMAX": {"beta": 1.0}}
NOT_IN_TFLITE = {"SQUARE", "SIGN", "GELU_TANH"} | INTERNAL | set(FLEX)
SAME = {"padding": "SAME", "strideH": 1, "strideW": 1}
POOL = {**SAME, "filterHeight": 2, "filterWidth": 2}


def judged(blob: bytes, inputs: list[oracle.Array]) -> list[list[oracle.Array]]:
    """What each runtime says, by XNNPACK and by TFLite's own kernels: they differ among themselves
    on such numbers."""
    answers = []
    for runtime in oracle.available():
        for plain in (False, True):
            try:
                answers.append(oracle.run(blob, inputs, runtime, plain))
            except oracle.Refused:
                continue
    assert answers
    return answers


def check(runtime: Runtime, blob: bytes, inputs: list[oracle.Array], apart: float = 1e-5) -> None:
    """Every value as one of the judges has it; apart allows for rounding.

    Units: apart in parts of the value.
    """
    judges = judged(blob, inputs)
    for position, ours in enumerate(run_engine(runtime, blob, inputs)):
        right = np.zeros(ours.shape, bool)
        for answers in judges:
            theirs = answers[position]
            with np.errstate(all="ignore"):
                near = np.abs(ours - theirs) <= apart * np.abs(theirs) + 1e-14
            right |= near | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        wrong = np.argwhere(~right)[:3]
        assert right.all(), [(tuple(i), ours[tuple(i)], judges[0][position][tuple(i)])
                             for i in wrong]


@pytest.mark.parametrize("kind", [*sorted(set(UNARY) - NOT_IN_TFLITE), "GELU by tanh"])
def test_unary(runtime: Runtime, kind: str) -> None:
    op, *by = kind.split(" by ")
    given = np.concatenate([ANGLES if op in ("SIN", "COS") else NUMBERS, DENORMAL])
    spec = Spec(given.shape)
    options = {"approximate": True} if by else OPTIONS.get(op)
    check(runtime, single_op(op, [spec], [spec], options), [given])


@pytest.mark.parametrize("kind", [*sorted(BINARY - INTERNAL - {"PRELU"}), "ATAN2", "FLOOR_MOD"])
@pytest.mark.parametrize("constant", [None, 0, 1])
def test_binary(runtime: Runtime, kind: str, constant: int | None) -> None:
    dividends = divisors = NUMBERS
    if kind in ("FLOOR_DIV", "FLOOR_MOD"):
        # TFLite refuses zeros, and a quotient that is no float any more is -1 there.
        dividends, divisors = NUMBERS[np.float32(1e-20) != NUMBERS], NUMBERS[NUMBERS != 0]
    sides = [side.copy() for side in np.meshgrid(dividends, divisors, indexing="ij")]
    given: list[Any] = [Spec(side.shape) for side in sides]
    if constant is not None:
        given[constant] = sides[constant]
    blob = single_op(kind, given, [Spec(sides[0].shape)])
    check(runtime, blob, [s for i, s in enumerate(sides) if i != constant])


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_activations(runtime: Runtime, activation: str) -> None:
    sides = [side.copy() for side in np.meshgrid(NUMBERS, NUMBERS)]
    spec = Spec(sides[0].shape)
    check(runtime, single_op("ADD", [spec, spec], [spec], {"fusedActivationFunction": activation}),
          sides)


def test_slopes(runtime: Runtime) -> None:
    count = NUMBERS.size
    spec = Spec((1, 1, count, count))
    blob = single_op("PRELU", [spec, NUMBERS.reshape(1, 1, -1)], [spec])
    check(runtime, blob, [np.repeat(NUMBERS, count).reshape(spec.shape)])


def f4(*shape: int) -> oracle.Array:
    return np.random.default_rng(7).uniform(-1, 1, shape).astype("f4")


Whole = tuple[str, list[Any], tuple[int, ...], dict[str, Any] | None]
WHOLE: dict[str, Whole] = {
    "convolution": ("CONV_2D", [Spec((1, 6, 7, 3)), f4(5, 3, 3, 3), f4(5)], (1, 6, 7, 5),
                    {**SAME, "fusedActivationFunction": "RELU6"}),
    "pixels": ("CONV_2D", [Spec((1, 6, 7, 8)), f4(9, 1, 1, 8), f4(9)], (1, 6, 7, 9),
               {**SAME, "fusedActivationFunction": "RELU"}),
    "depthwise": ("DEPTHWISE_CONV_2D", [Spec((1, 6, 7, 4)), f4(1, 3, 3, 4), f4(4)], (1, 6, 7, 4),
                  {**SAME, "depthMultiplier": 1}),
    "transposed": ("TRANSPOSE_CONV", [np.array([1, 6, 6, 4], "i4"), f4(4, 3, 3, 3),
                                      Spec((1, 3, 3, 3))], (1, 6, 6, 4),
                   {"padding": "SAME", "strideH": 2, "strideW": 2}),
    "dense": ("FULLY_CONNECTED", [Spec((4, 9)), f4(6, 9), f4(6)], (4, 6), {}),
    "matrices": ("BATCH_MATMUL", [Spec((2, 3, 9)), Spec((2, 9, 5))], (2, 3, 5), {}),
    "softmax": ("SOFTMAX", [Spec((9, 10))], (9, 10), {"beta": 1.0}),
    "log softmax": ("LOG_SOFTMAX", [Spec((9, 10))], (9, 10), None),
    "length": ("L2_NORMALIZATION", [Spec((9, 10))], (9, 10), None),
    "bilinear": ("RESIZE_BILINEAR", [Spec((1, 4, 4, 3)), np.array([7, 9], "i4")], (1, 7, 9, 3), {}),
    "running sum": ("CUMSUM", [Spec((3, 9)), np.array(1, "i4")], (3, 9), {}),
    **{kind: (kind, [Spec((1, 6, 6, 3))], (1, 6, 6, 3), POOL)
       for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")},
    **{kind: (kind, [Spec((4, 5, 6)), np.array([1], "i4")], (4, 6), {"keepDims": False})
       for kind in ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN")},
}
FEW = {"NaN": [np.nan] * 3, "infinite": [np.inf] * 3, "below": [-np.inf] * 3,
       "huge": [3e38, 3e38, -3e38], "tiny": [1e-40, -1e-40, -0.0]}


# Whether an extreme is a NaN or what comes after it depends on the order in which it is sought.
UNORDERED = {("REDUCE_MAX", "NaN"), ("REDUCE_MIN", "NaN")}


@pytest.mark.parametrize(
    ("name", "values"), [case for case in product(WHOLE, FEW) if case not in UNORDERED]
)
def test_a_few_among_others(runtime: Runtime, name: str, values: str) -> None:
    op, given, out, options = WHOLE[name]
    rng = np.random.default_rng(3)
    inputs = [f4(*spec.shape) for spec in given if isinstance(spec, Spec)]
    for array in inputs:
        array.reshape(-1)[rng.choice(array.size, 3, replace=False)] = FEW[values]
    check(runtime, single_op(op, given, [Spec(out)], options), inputs, apart=1e-3)


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("name", WHOLE)
def test_nothing_else(runtime: Runtime, name: str, value: float) -> None:
    op, given, out, options = WHOLE[name]
    inputs = [np.full(spec.shape, value, "f4") for spec in given if isinstance(spec, Spec)]
    check(runtime, single_op(op, given, [Spec(out)], options), inputs)


@pytest.mark.parametrize("count", [0, 3, 9])
def test_the_largest_are_given_once_each(runtime: Runtime, count: int) -> None:
    x = np.tile(np.arange(9, dtype="f4"), (2, 1))
    x[:, :count] = np.nan
    blob = single_op("TOPK_V2", [Spec((2, 9)), np.array(9, "i4")],
                     [Spec((2, 9)), Spec((2, 9), "int32")])
    values, places = run_engine(runtime, blob, [x])
    expected = [*range(count), *range(8, count - 1, -1)]
    np.testing.assert_array_equal(places, [expected] * 2)
    np.testing.assert_array_equal(values, np.take_along_axis(x, places.astype(int), 1))


@pytest.mark.parametrize("constant", [False, True])
def test_powers_of_integers(runtime: Runtime, constant: bool) -> None:
    base = np.array([2, 3, -2, 0, 0, 2, 2, -1, 5, 7, 46341, -3, 2, 1, 10], "i4")
    exponent = np.array([3, 4, 5, 0, 1, 30, 31, 3, 2, 20, 2, 33, 32, 40, 10], "i4")
    shape = Spec((15,), "int32")
    model = ModelBuilder()
    graph = model.graph()
    given = graph.input((15,), "int32")
    # A model of constants alone is folded.
    pair = [graph.const(v) for v in (base, exponent)] if constant else [
        given, graph.input((15,), "int32")]
    made = graph.op("POW", pair, [shape], {})
    graph.outputs(*graph.op("ADD", [given, *made], [shape], {}) if constant else made)
    blob = model.build()
    inputs = [np.zeros(15, "i4")] if constant else [base, exponent]
    assert_op_same(runtime, blob, inputs)


@pytest.mark.parametrize("name", ["DIV", "FLOOR_DIV", "FLOOR_MOD"])
def test_the_least_integer_by_minus_one(runtime: Runtime, name: str) -> None:
    # A processor's own division stops it. TFLite's kernels agree, but for a remainder of -1.
    dividends, divisors = np.array([-2**31, -2**31, 7], "i4"), np.array([-1, 1, -1], "i4")
    blob = single_op(name, [Spec((3,), "int32")] * 2, [Spec((3,), "int32")], {})
    (made,) = run_engine(runtime, blob, [dividends, divisors])
    assert made.tolist() == ([0, 0, 0] if name == "FLOOR_MOD" else [-2**31, -2**31, -7])
