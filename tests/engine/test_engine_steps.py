"""Requests of many steps to stateful models, through both backends."""

from __future__ import annotations

import numpy as np
import pytest

from app.backends.opencl import OpenclSession
from app.backends.session import Session
from app.backends.tflite import TfliteOptions, TfliteSession
from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.errors import InvalidInput
from tests.engine import oracle
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
