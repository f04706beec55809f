"""What a model on OpenCL says of itself."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from app.backends.opencl import OpenclSession
from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine.builder import ModelBuilder


def _relu(shape: tuple[int, ...]) -> bytes:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input(shape)
    graph.outputs(*graph.op("RELU", [x], [x.spec]))
    return model.build()


@pytest.mark.parametrize(("shape", "steady"), [
    ((1, 8), True), ((-1, 8), True), ((1, -1), False), ((-1,), False)])
def test_only_a_processor_takes_what_was_seen(runtime: Runtime, shape: tuple[int, ...],
                                              steady: bool) -> None:
    session = OpenclSession(LoadedModel(runtime, read(_relu(shape))), known=True)
    # A shape that has not been seen is compiled for first.
    assert session.steady == (steady and runtime.device.profile.is_cpu)
    session.close()
    session = OpenclSession(LoadedModel(runtime, read(_relu(shape))))
    assert not session.steady
    session.close()


def test_known_shapes_run_while_a_new_one_is_compiled(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LoadedModel(runtime, read(_relu((1, -1))))
    session = OpenclSession(model)
    name, result = session.inputs[0].name, session.outputs[0].name
    known, new = (np.full((1, size), -1.0, "f4") for size in (6, 9))
    session.run({name: known})
    entered, leave, made = threading.Event(), threading.Event(), model._routines.made

    def slow(*args: Any) -> Any:
        entered.set()
        assert leave.wait(20)
        return made(*args)

    monkeypatch.setattr(model._routines, "made", slow)
    thread = threading.Thread(target=session.prepare, args=({name: new},))
    thread.start()
    assert entered.wait(20)
    assert session.prepared({name: known})
    assert not session.prepared({name: new})
    # Three rows of the known shape need no other plan, whatever they are sent as.
    assert session.prepared({name: np.concatenate([known] * 3)})
    np.testing.assert_array_equal(session.run({name: known})[result], 0 * known)
    leave.set()
    thread.join(20)
    assert session.prepared({name: new})
    np.testing.assert_array_equal(session.run({name: new})[result], 0 * new)
    # What does not fit is told by the run.
    assert session.prepared({name: new[0, 0]})
    session.close()
