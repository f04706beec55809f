"""Models that no runtime takes whole run on the CPU in parts, where there is no card."""

from __future__ import annotations

import numpy as np
import pytest

from app.backends.choice import OpenclOptions, Source, open_session
from app.errors import DeviceNotFound, UnsupportedOp
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.safety.test_small_shapes import POOL

REFUSAL = UnsupportedOp("both runtimes refuse MaxPoolingWithArgmax2D")
NOWHERE = OpenclOptions(pattern="no such device")


def pooled(custom: str = "MaxPoolingWithArgmax2D") -> bytes:
    """RELU, the custom operation, and the sum of its results."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 4, 4, 3))
    (positive,) = graph.op("RELU", [x], [x.spec])
    largest, place = graph.op(custom, [positive], [Spec((1, 2, 2, 3))] * 2, custom=POOL)
    graph.outputs(*graph.op("ADD", [largest, place], [largest.spec]))
    return model.build()


def source(data: bytes) -> Source:
    return Source("pooled", "1", "0" * 64, data, REFUSAL)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_model_runs_in_parts(batch: int) -> None:
    session = open_session(source(pooled()), "auto", NOWHERE)
    assert session.backend == "tflite"
    assert "no such device" in session.reason
    assert "in parts" in session.reason
    x = np.random.default_rng(4).uniform(-1, 1, (batch, 4, 4, 3)).astype("f4")
    ((_, y),) = session.run({session.inputs[0].name: x}).items()
    windows = np.maximum(x, 0).reshape(batch, 2, 2, 2, 2, 3).swapaxes(2, 3).reshape(
        batch, 2, 2, 4, 3)
    np.testing.assert_allclose(y, windows.max(3) + windows.argmax(3) + 0.1, rtol=1e-6)
    session.close()


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UnsupportedOp, match="SomethingElse"):
        open_session(source(pooled("SomethingElse")), "tflite", NOWHERE)


def test_a_card_that_was_asked_for_is_not_replaced() -> None:
    with pytest.raises(DeviceNotFound):
        open_session(source(pooled()), "opencl", NOWHERE)


def counted() -> bytes:
    """An operation that no runtime has, which is folded, and one that only they have."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 3))
    (count,) = graph.op("STABLEHLO_IOTA", [], [Spec((1, 3))], {"iotaDimension": 1})
    (made,) = graph.op("ADD", [x, count], [x.spec], {})
    graph.outputs(*graph.op("MATRIX_DIAG", [made], [Spec((1, 3, 3))]))
    return model.build()


def test_a_part_says_nothing_of_operations_that_it_does_not_have() -> None:
    session = open_session(source(counted()), "tflite", NOWHERE)
    ((_, y),) = session.run({session.inputs[0].name: np.ones((1, 3), "f4")}).items()
    assert y[0].tolist() == np.diag([1, 2, 3]).tolist()
    session.close()
