"""The test bed itself: what the builder makes is what the runtimes read."""

from __future__ import annotations

import numpy as np
import pytest

from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, schema, single_op
from tests.engine.options import options_table

RUNTIMES = pytest.mark.parametrize("runtime", oracle.available())


@RUNTIMES
def test_a_convolution_with_quantised_channels(runtime: str) -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (5, 3, 3, 2)).astype("i1")
    scales = tuple(float(s) for s in np.linspace(0.01, 0.03, 5))
    x = Spec((1, 6, 6, 2), "int8", Quantization((0.05,), (3,)))
    blob = single_op(
        "CONV_2D",
        [
            x,
            (weights, Quantization(scales, (0,) * 5)),
            (np.arange(5, dtype="i4"), Quantization(tuple(0.05 * s for s in scales), (0,) * 5)),
        ],
        [Spec((1, 3, 3, 5), "int8", Quantization((0.4,), (-5,)))],
        {"padding": "SAME", "strideH": 2, "strideW": 2, "fusedActivationFunction": "RELU"},
    )
    inputs = oracle.random_inputs(blob)
    (y,) = oracle.run(blob, inputs, runtime)
    (plain,) = oracle.run(blob, inputs, runtime, plain=True)
    assert y.shape == (1, 3, 3, 5)
    assert y.min() == -5
    oracle.assert_within_steps(y, plain)


@RUNTIMES
def test_chains_dynamic_batches_and_subgraphs(runtime: str) -> None:
    model = ModelBuilder()
    graph = model.graph()
    condition, x = graph.input((), "bool"), graph.input((-1, 3))
    (doubled,) = graph.op("ADD", [x, x], [x.spec])
    (y,) = graph.op(
        "IF", [condition, doubled], [x.spec], {"thenSubgraphIndex": 1, "elseSubgraphIndex": 2}
    )
    graph.outputs(y)
    for name, op in (("then", "NEG"), ("else", "ABS")):
        branch = model.graph(name)
        z = branch.input((-1, 3))
        branch.outputs(*branch.op(op, [z], [z.spec]))
    rows = np.arange(6, dtype="f4").reshape(2, 3) - 3
    for taken, expected in ((True, -2 * rows), (False, abs(2 * rows))):
        (answer,) = oracle.run(model.build(), [np.array(taken), rows], runtime)
        np.testing.assert_array_equal(answer, expected)


def test_a_refused_model_is_told_apart() -> None:
    blob = single_op("SomethingNew", [Spec((1,))], [Spec((1,))], custom=b"")
    with pytest.raises(oracle.Refused, match="SomethingNew"):
        oracle.run(blob, [np.zeros(1, "f4")])


def test_misspelt_options_are_refused() -> None:
    with pytest.raises(ValueError, match="has no field stride; it has"):
        single_op("MAX_POOL_2D", [Spec((1, 2, 2, 1))], [Spec((1, 1, 1, 1))], {"stride": 2})


def test_the_ops_without_an_options_table_are_those_that_have_none() -> None:
    names = {n for n in vars(schema.BuiltinOperator) if n.isupper() and "STABLEHLO" not in n}
    without = {n for n in names if options_table(n) is None}
    assert without == {
        *("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "PRELU", "ELU", "LOGISTIC", "TANH"),
        *("SIN", "LOG", "SQRT", "RSQRT", "CEIL", "FLOOR", "ROUND", "REAL", "IMAG", "COMPLEX_ABS"),
        *("EMBEDDING_LOOKUP", "HASHTABLE_LOOKUP", "BROADCAST_ARGS"),
        *("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"),
    }
    known = {n for kind in (schema.BuiltinOptions, schema.BuiltinOptions2) for n in vars(kind)}
    assert {str(options_table(n)) for n in names - without} <= known


@pytest.mark.parametrize(("shift", "passes"), [(0.9e-4, True), (1.1e-4, False)])
def test_the_float_tolerance_is_of_the_range(shift: float, passes: bool) -> None:
    expected = np.linspace(-50, 50, 11, dtype="f4")
    actual = expected + np.float32(100 * shift)
    if passes:
        oracle.assert_same(actual, expected)
    else:
        with pytest.raises(AssertionError, match="the largest difference"):
            oracle.assert_same(actual, expected)
