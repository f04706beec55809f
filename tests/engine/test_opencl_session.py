"""What a model on OpenCL says of itself."""

from __future__ import annotations

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
