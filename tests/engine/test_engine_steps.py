"""Requests of many steps to stateful models, through both backends."""

from __future__ import annotations

import numpy as np
import pytest

from app.backends.opencl import OpenclSession
from app.backends.session import Session
from app.backends.tflite import TfliteOptions, TfliteSession
from app.engine.loaded import LoadedModel
from app.engine.opencl import direct, whole_chain
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.errors import InvalidInput
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.test_engine_parts import accumulator


def sessions(runtime: Runtime) -> list[Session]:
    blob = accumulator()
    cpu = TfliteSession(blob, TfliteOptions("ai-edge-litert", "a test", stateful=True))
    return [OpenclSession(LoadedModel(runtime, read(blob))), cpu]


def test_rows_and_an_axis_of_steps(runtime: Runtime) -> None:
    x = np.arange(18, dtype="f4").reshape(3, 2, 3)
    expected = [answer[0] for answer in oracle.run_steps(accumulator(), [[step] for step in x])]
    for session in sessions(runtime):
        (name,), (output,) = [s.name for s in session.inputs], [s.name for s in session.outputs]
        for _ in range(2):
            axis = session.run({name: x})[output]
            rows = session.run({name: x.reshape(6, 3)})[output]
            np.testing.assert_array_equal(axis, np.stack(expected))
            np.testing.assert_array_equal(rows, np.concatenate(expected))
        np.testing.assert_array_equal(session.run({name: x[0]})[output], expected[0])
        with pytest.raises(InvalidInput, match="steps"):
            session.run({name: x[:0]})
        session.close()


def leaky() -> bytes:
    """v = v * decay + x; gives v and x + v, where v begins as ones and decay is a number."""
    model = ModelBuilder()
    graph = model.graph()
    x, decay = graph.input((2, 3)), graph.input(())
    graph.op("CALL_ONCE", [], [], {"initSubgraphIndex": 1})
    (name,) = graph.op("VAR_HANDLE", [], [Spec((), "resource")], {"sharedName": "v"})
    (before,) = graph.op("READ_VARIABLE", [name], [x.spec])
    (less,) = graph.op("MUL", [before, decay], [x.spec])
    (after,) = graph.op("ADD", [less, x], [x.spec])
    graph.op("ASSIGN_VARIABLE", [name, after], [])
    (both,) = graph.op("ADD", [x, after], [x.spec])
    graph.outputs(after, both)
    first = model.graph("first")
    (name,) = first.op("VAR_HANDLE", [], [Spec((), "resource")], {"sharedName": "v"})
    first.op("ASSIGN_VARIABLE", [name, first.const(np.ones((2, 3), "f4"))], [])
    return model.build()


@pytest.mark.parametrize("shared", [True, False])
def test_long_requests_go_in_parts(runtime: Runtime, monkeypatch: pytest.MonkeyPatch,
                                   shared: bool) -> None:
    # Without memory that host and device share, as most cards have it.
    monkeypatch.setattr(direct, "shares_memory", lambda _: shared)
    monkeypatch.setattr(whole_chain, "SHARED", 10 * 128)
    model = LoadedModel(runtime, read(leaky()))
    rng = np.random.default_rng(0)
    for length in (1, 57, 2):
        steps = [[rng.normal(size=(2, 3)).astype("f4"), np.array(rng.random(), "f4")]
                 for _ in range(length)]
        answers = model.run_steps(steps)
        assert len(answers) == length
        for actual, wanted in zip(answers, oracle.run_steps(leaky(), steps), strict=True):
            for ours, theirs in zip(actual, wanted, strict=True):
                oracle.assert_close(ours, theirs)
    # A step of another kind in the midst of a request is refused as the first would be.
    with pytest.raises(InvalidInput, match="float32; the array given is int32"):
        model.run_steps([steps[0], [steps[0][0].astype("i4"), steps[0][1]]])
    with pytest.raises(InvalidInput, match="2 inputs and 0 were given"):
        model.run_steps([[]])
    model.close()
