"""Recurrent layers that TFLite has no steady answer for: checked against numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, Value
from tests.engine.corpus import NETS
from tests.engine.engine_check import assert_op_same
from tests.engine.examples import rest
from tests.engine.examples.case import Case, State

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
LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
# Where an LSTM has matrices, which converters make int8 where they quantise nothing else.
MATRICES = (*range(1, 12), 16)


def one_step(case: Case) -> Case:
    """The form without an axis of time."""
    x, y = case.inputs[0], case.outputs[0]
    return replace(case, inputs=(Spec((x.shape[0], x.shape[2])), *case.inputs[1:]),
                   outputs=(Spec((y.shape[0], y.shape[2])),))


def with_small_weights(case: Case, **options: Any) -> bytes:
    """An LSTM with weights of 8 bits between floats."""
    model = ModelBuilder()
    graph = model.graph()
    values: list[Value | None] = []
    for at, given in enumerate(case.inputs):
        if isinstance(given, State):
            values.append(graph.variable(Spec(given.shape)))
        elif isinstance(given, Spec):
            values.append(graph.input(given.shape))
        elif given is None:
            values.append(None)
        else:
            integers = np.clip(np.rint(given * 100), -127, 127).astype("i1")
            values.append(graph.const(integers, NARROW) if at in MATRICES else graph.const(given))
    graph.outputs(*graph.op(LSTM, values, case.outputs, {**(case.options or {}), **options}))
    return model.build()


@pytest.mark.parametrize("form", rest.LSTM_FORMS)
def test_a_form_of_lstm_runs_on_the_device(runtime: Runtime, form: str) -> None:
    case = rest.LSTM_FORMS[form]
    for blob in (case.blob(LSTM), one_step(case).blob("LSTM")):
        assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("form", ["projection", "all"])
def test_an_lstm_with_small_weights(runtime: Runtime, form: str, asymmetric: bool) -> None:
    blob = with_small_weights(rest.LSTM_FORMS[form], asymmetricQuantizeInputs=asymmetric)
    assert_op_same(runtime, blob, oracle.random_inputs(blob), plain=True)


def test_the_oldest_lstm(runtime: Runtime) -> None:
    blob = rest.CASES["LSTM"].blob("LSTM")
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_an_lstm_in_both_directions_with_projections(runtime: Runtime) -> None:
    one = rest.lstm(projection=3)
    states = [State((2, 3)), State((2, rest.UNITS))]
    inputs = (rest.SEQUENCE, *one[:-2], *one[:-2], *states, *states, *[None] * 9)
    case = replace(rest.CASES[NAME], inputs=inputs, outputs=(Spec((2, rest.STEPS, 6)),))
    blob = case.blob(NAME)
    (x,) = oracle.random_inputs(blob)
    ahead = replace(rest.LSTM_FORMS["projection"],
                    inputs=(rest.SEQUENCE, *rest.lstm(projection=3))).blob(LSTM)
    back = oracle.run(ahead, [x[:, ::-1].copy()])[0][:, ::-1]
    model = LoadedModel(runtime, read(blob))
    try:
        (output,) = model.run([x])
    finally:
        model.close()
    oracle.assert_close(output, np.concatenate([oracle.run(ahead, [x])[0], back], 2))


def test_a_layer_without_steps_gives_nothing(runtime: Runtime) -> None:
    case = rest.LSTM_FORMS["all"]
    blob = replace(case, inputs=(Spec((2, -1, rest.INPUTS)), *case.inputs[1:]),
                   outputs=(Spec((2, -1, 3)),)).blob(LSTM)
    model = LoadedModel(runtime, read(blob))
    try:
        (output,) = model.run([np.zeros((2, 0, rest.INPUTS), "f4")])
    finally:
        model.close()
    assert output.shape == (2, 0, 3)


@pytest.mark.parametrize("form", ["plain", "cifg"])
def test_recurrent_weights_may_be_a_diagonal(runtime: Runtime, form: str) -> None:
    case = rest.LSTM_FORMS[form]
    again = (None if w is None else np.diag(w).copy() for w in case.inputs[5:9])
    blob = replace(case, inputs=(*case.inputs[:5], *again, *case.inputs[9:]),
                   options={**rest.TANH, "diagonalRecurrentTensors": True}).blob(LSTM)
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_what_has_no_kernel_says_why(runtime: Runtime) -> None:
    case = rest.LSTM_FORMS["plain"]
    blob = replace(case, options={"fusedActivationFunction": "RELU"}).blob(LSTM)
    model = LoadedModel(runtime, read(blob))
    try:
        (row,) = model.explain()
    finally:
        model.close()
    assert row.place == "CPU"
    assert "the activation RELU" in row.reason


@pytest.mark.parametrize("op", [LSTM, "UNIDIRECTIONAL_SEQUENCE_RNN"])
def test_a_layer_of_very_many_steps_is_left_to_the_cpu(runtime: Runtime, op: str) -> None:
    case = rest.LSTM_FORMS["plain"] if op == LSTM else rest.CASES[op]
    steps = 100_000
    blob = replace(case, inputs=(Spec((1, steps, rest.INPUTS)), *case.inputs[1:-2],
                                 *(State((1, *s.shape[1:])) if isinstance(s, State) else s
                                   for s in case.inputs[-2:])),
                   outputs=(Spec((1, steps, rest.UNITS)),)).blob(op)
    model = LoadedModel(runtime, read(blob))
    try:
        (row,) = model.explain()
        (output,) = model.run(inputs := oracle.random_inputs(blob))
    finally:
        model.close()
    assert row.place == "CPU"
    assert "more than 1024 steps" in row.reason
    oracle.assert_same(output, oracle.run(blob, inputs)[0])


def lstm_of_integers(*, cifg: bool = False, peepholes: bool = False, projection: int = 0,
                     norms: bool = False, major: bool = False) -> bytes:
    """A quantised LSTM over 2 sequences of 5 steps."""
    units, outer = 8, projection or 8
    data, hidden, weights, looking = (Quantization((s,), (z,)) for s, z in (
        (0.03, 5), (0.02, -3), (0.008, 0), (2e-5, 0)))
    inner = Quantization((0.01,), (2,)) if projection else hidden
    bias = Quantization((2e-5 * 2 ** -10 if norms else 0.03 * 0.008,), (0,))
    model = ModelBuilder()
    graph = model.graph()

    def gates(there: bool, shape: tuple[int, ...], dtype: str, top: int, quant: Quantization,
              seed: int, which: tuple[int, ...] = (0, 1, 2, 3)) -> list[Value | None]:
        return [graph.const(drawn(shape, dtype, seed + k, top), quant)
                if there and not (cifg and k == 0) else None for k in which]

    values = [
        graph.input((5, 2, 6) if major else (2, 5, 6), "int8", data),
        *gates(True, (units, 6), "i1", 127, weights, 1),
        *gates(True, (units, outer), "i1", 127, weights, 11),
        *gates(peepholes, (units,), "i2", 32767, looking, 21, (0, 1, 3)),
        *gates(True, (units,), "i4", round(0.5 / bias.scales[0]), bias, 31),
        graph.const(drawn((outer, units), "i1", 41), weights) if projection else None,
        graph.const(drawn((outer,), "i4", 42, 2500), Quantization((0.01 * 0.008,), (0,)))
        if projection else None,
        graph.variable(Spec((2, outer), "int8", hidden)),
        graph.variable(Spec((2, units), "int16", Quantization((2.0 ** -11,), (0,)))),
        *gates(norms, (units,), "i2", 32767, looking, 51)]
    y = graph.op(LSTM, values, [Spec((5, 2, outer) if major else (2, 5, outer), "int8", hidden)],
                 {"fusedActivationFunction": "TANH", "timeMajor": major})
    gate = Spec((), "int16", Quantization((0.0006,), (0,)))
    graph.intermediates(gate, gate, gate, gate, Spec((), "int8", inner))
    graph.outputs(*y)
    return model.build()


@pytest.mark.parametrize("form", [
    {"peepholes": True}, {"cifg": True, "projection": 6, "major": True}])
def test_an_lstm_of_integers(runtime: Runtime, form: dict[str, Any]) -> None:
    blob = lstm_of_integers(**form)
    assert_op_same(runtime, blob, oracle.random_inputs(blob), plain=True)


@pytest.mark.parametrize("runtime", ["own"], indirect=True)
@pytest.mark.parametrize("norms", [True, False])
def test_an_lstm_of_integers_that_is_the_cpus(runtime: Runtime, norms: bool) -> None:
    blob = lstm_of_integers(norms=norms, peepholes=True, projection=5)
    assert_op_same(runtime, blob, oracle.random_inputs(blob), steps=0, plain=True, on_device=False)


def filter_of_integers() -> bytes:
    """A quantised SVDF."""
    model = ModelBuilder()
    graph = model.graph()
    steps = Quantization((0.004,), (0,))
    values = [graph.input((2, 6), "int8", Quantization((0.02,), (3,))),
              graph.const(drawn((8, 6), "i1", 1), NARROW),
              graph.const(drawn((8, 5), "i1", 2).astype("i2"), NARROW),
              graph.const(drawn((4,), "i4", 3, 9000), Quantization((0.004 * 0.01,), (0,))),
              graph.variable(Spec((2, 40), "int16", steps))]
    graph.outputs(*graph.op("SVDF", values, [Spec((2, 4), "int8", Quantization((0.05,), (-4,)))],
                            {"rank": 2, "fusedActivationFunction": "RELU"}))
    return model.build()


STEPS = {
    "LSTM": one_step(rest.LSTM_FORMS["all"]).blob("LSTM"),
    "LSTM over time": rest.LSTM_FORMS["peepholes"].blob(LSTM),
    "LSTM of small weights": with_small_weights(rest.LSTM_FORMS["norms"]),
    "LSTM of integers": (NETS / "lstm_int8.tflite").read_bytes(),
    **{name: rest.CASES[name].blob(name)
       for name in ("SVDF", "RNN", "UNIDIRECTIONAL_SEQUENCE_RNN")},
    "SVDF of integers": filter_of_integers(),
}


@pytest.mark.parametrize("name", STEPS)
def test_states_stay_on_the_device_from_step_to_step(runtime: Runtime, name: str) -> None:
    blob = STEPS[name]
    steps = [oracle.random_inputs(blob, seed) for seed in range(8)]
    model = LoadedModel(runtime, read(blob))
    try:
        answers, again = model.run_steps(steps), model.run_steps(steps)
        (executor,) = model.lasting
        assert [p.node.op for p in executor.plan.places if p.where == "host"] == []
    finally:
        model.close()
    for ours, second, theirs in zip(answers, again, oracle.run_steps(blob, steps, plain=True),
                                    strict=True):
        for actual, repeated, answer in zip(ours, second, theirs, strict=True):
            oracle.assert_same(actual, answer)
            np.testing.assert_array_equal(repeated, actual)


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
