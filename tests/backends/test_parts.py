"""Models that no runtime takes whole run on the CPU in parts, where there is no card."""

from __future__ import annotations

import numpy as np
import pytest

from app.backends.choice import OpenclOptions, Source, open_session
from app.backends.tflite import TfliteOptions
from app.errors import DeviceNotFound, UnsupportedOp
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.node_defs import node_def
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


def positives(name: str, custom: bytes | None = None) -> bytes:
    """How much of x is above zero, and the rows of those places."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))
    (more,) = graph.op(name, [x], [x.spec], custom=custom)
    (above,) = graph.op("GREATER", [more, graph.const(np.float32(0))], [Spec((2, 3), "bool")])
    (places,) = graph.op("WHERE", [above], [Spec((-1, 2), "int64")])
    graph.outputs(*graph.op("GATHER_ND", [more, places], [Spec((-1,))]), places)
    return model.build()


@pytest.mark.parametrize("part", ["none", "some"])
@pytest.mark.parametrize("low", [-1, -2])
def test_how_much_there_is_depends_on_data(part: str, low: float) -> None:
    """A whole model in a runtime, and one in parts; nothing at all is an answer, too."""
    x = (np.arange(6, dtype="f4").reshape(2, 3) / 3 + low).astype("f4")
    if part == "some":
        blob, cpu = positives("FlexTan", node_def("Tan")), REFUSAL
        right = np.tan(x)
    else:
        blob, cpu = positives("NEG"), TfliteOptions("ai-edge-litert", "for this test")
        right = -np.abs(x) if low == -2 else -x
        x = np.abs(x) if low == -2 else x
    session = open_session(Source("positives", "1", "0" * 64, blob, cpu), "tflite", NOWHERE)
    values, places = session.run({session.inputs[0].name: x}).values()
    np.testing.assert_array_equal(places, np.argwhere(right > 0))
    np.testing.assert_allclose(values, right[right > 0], rtol=1e-6)
    session.close()
