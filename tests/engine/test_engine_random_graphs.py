"""Graphs made up at random, as TFLite answers: ops that are right alone may be wrong together."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import numpy as np
import pytest

from app.engine.runtime import Runtime
from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import Spec, single_op
from tests.engine.engine_check import assert_op_same, run_engine
from tests.engine.graphs.drawn import random_graph
from tests.engine.graphs.quantized import Conflict, quantized

FEW, MANY = range(6), range(100, 400)
# What one op is off by, those behind it may double.
STEPS = 4


def _check_floats(runtime: Runtime, seed: int) -> None:
    blob = random_graph(Random(seed))
    inputs = oracle.random_inputs(blob, seed)
    oracle.assert_model_same(blob, inputs, run_engine(runtime, blob, inputs))


def _quantized(random: Random, seed: int) -> bytes:
    """The first graph of those drawn of which there is one of int8."""
    while True:
        floats = random_graph(random, whole_kernels=True)
        with suppress(Conflict):
            return quantized(floats, oracle.random_inputs(floats, seed))


def _check_integers(runtime: Runtime, seed: int) -> None:
    blob = _quantized(Random(seed), seed)
    inputs = oracle.random_inputs(blob, seed)
    expected = oracle.run(blob, inputs, plain=True)
    other = oracle.run(blob, inputs)
    for actual, one, two in zip(run_engine(runtime, blob, inputs), expected, other, strict=True):
        gap = int(np.abs(one.astype("i4") - two.astype("i4")).max(initial=0))
        oracle.assert_within_steps(actual, one, max(gap, STEPS))


@pytest.mark.parametrize("seed", FEW)
def test_graphs_of_floats(runtime: Runtime, seed: int) -> None:
    _check_floats(runtime, seed)


@pytest.mark.parametrize("seed", FEW)
def test_graphs_of_integers(runtime: Runtime, seed: int) -> None:
    _check_integers(runtime, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_many_graphs_of_floats(runtime: Runtime, seed: int) -> None:
    _check_floats(runtime, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_many_graphs_of_integers(runtime: Runtime, seed: int) -> None:
    _check_integers(runtime, seed)


def test_integers_are_negated_whatever_they_stand_for(runtime: Runtime) -> None:
    scales = Quantization((0.5,), (3,)), Quantization((0.25,), (-7,))
    blob = single_op("NEG", [Spec((6,), "int8", scales[0])], [Spec((6,), "int8", scales[1])])
    assert_op_same(runtime, blob, [np.array([-128, -5, 0, 1, 100, 127], "i1")], steps=0, plain=True)
