"""Recurrent layers that TFLite has no steady answer for: checked against numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.engine.reader import read
from app.engine.runtime import LoadedModel, Runtime
from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.engine_check import assert_op_same
from tests.engine.examples import rest

NAME = "BIDIRECTIONAL_SEQUENCE_LSTM"


def layer(x: oracle.Array, inputs: tuple[Any, ...]) -> oracle.Array:
    """An LSTM over [B,T,D] in double precision; inputs: 8 weights, 3 absent, 4 biases."""
    weights, again, biases = inputs[:4], inputs[4:8], inputs[11:15]
    hidden = cell = np.zeros((len(x), rest.UNITS))
    made = []
    for step in np.moveaxis(x.astype("f8"), 1, 0):
        enter, forget, new, leave = (step @ weights[k].T + hidden @ again[k].T + biases[k]
                                     for k in range(4))
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
        hidden = sigmoid(leave) * np.tanh(cell)
        made.append(hidden)
    return np.stack(made, 1).astype("f4")


def sigmoid(x: oracle.Array) -> oracle.Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("merged", [True, False])
def test_a_layer_in_both_directions(runtime: Runtime, merged: bool) -> None:
    case = rest.CASES[NAME]
    if not merged:
        half = Spec((2, rest.STEPS, rest.UNITS))
        case = replace(case, outputs=(half, half),
                       options={**(case.options or {}), "mergeOutputs": False})
    blob = case.blob(NAME)
    (x,) = oracle.random_inputs(blob)
    ahead = layer(x, case.inputs[1:])
    back = layer(x[:, ::-1], case.inputs[18:])[:, ::-1]
    model = LoadedModel(runtime, read(blob))
    try:
        outputs = model.run([x])
        assert not [p for p in model.prepare().plan.places if p.where == "host"]
    finally:
        model.close()
    for actual, answer in zip(outputs, [np.concatenate([ahead, back], 2)] if merged
                              else [ahead, back], strict=True):
        oracle.assert_close(actual, answer)


def drawn(shape: tuple[int, ...], dtype: str, seed: int, top: int = 127) -> oracle.Array:
    return np.random.default_rng(seed).integers(-top, top + 1, shape).astype(dtype)


def check(runtime: Runtime, op: str, inputs: tuple[Any, ...], output: Spec,
          options: dict[str, Any]) -> None:
    model = ModelBuilder()
    graph = model.graph()
    values = [None if given is None else graph.input(given.shape, given.dtype, given.quant)
              if isinstance(given, Spec) else graph.const(*given)
              for given in inputs[:-1]]
    # The state comes last, and begins at zero.
    values.append(graph.variable(inputs[-1]))
    graph.outputs(*graph.op(op, values, [output], options))
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob), plain=True)


NARROW = Quantization((0.01,), (0,))


@pytest.mark.parametrize(("weights", "major"), [("float32", False), ("int8", True)])
def test_a_plain_recurrent_layer(runtime: Runtime, weights: str, major: bool) -> None:
    shapes = [(4, 3), (4, 4)]
    given = [(drawn(s, "i1", k), NARROW) if weights == "int8" else
             (drawn(s, "f4", k) / 100,) for k, s in enumerate(shapes)]
    x = (5, 2) if major else (2, 5)
    inputs = (Spec((*x, 3)), *given, (drawn((4,), "f4", 3) / 100,), Spec((2, 4)))
    check(runtime, "UNIDIRECTIONAL_SEQUENCE_RNN", inputs, Spec((*x, 4)),
          {"timeMajor": major, "fusedActivationFunction": "RELU",
           "asymmetricQuantizeInputs": major})


@pytest.mark.parametrize(("kind", "bias"), [("float32", True), ("hybrid", False), ("int8", True)])
def test_a_filter_over_time(runtime: Runtime, kind: str, bias: bool) -> None:
    features, time = drawn((8, 6), "i1", 1), drawn((8, 5), "i1", 2)
    offset: Any = (drawn((4,), "f4", 3) / 100,)
    whole = kind == "int8"
    x = Spec((2, 6), "int8", Quantization((0.02,), (3,))) if whole else Spec((2, 6))
    y = Spec((2, 4), "int8", Quantization((0.05,), (-4,))) if whole else Spec((2, 4))
    weights: list[Any] = [(features / np.float32(100),), (time / np.float32(100),)]
    state = Spec((2, 40))
    if kind == "hybrid":
        weights = [(features, NARROW), (time, NARROW)]
    elif whole:
        steps = Quantization((0.004,), (0,))
        weights = [(features, NARROW), (time.astype("i2"), NARROW)]
        offset = (drawn((4,), "i4", 3, 9000), Quantization((0.004 * 0.01,), (0,)))
        state = Spec((2, 40), "int16", steps)
    check(runtime, "SVDF", (x, *weights, offset if bias else None, state), y,
          {"rank": 2, "fusedActivationFunction": "RELU" if whole else "NONE"})
