"""Recurrent layers that TFLite has no steady answer for: checked against numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.engine.reader import read
from app.engine.runtime import LoadedModel, Runtime
from tests.engine import oracle
from tests.engine.builder import Spec
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
