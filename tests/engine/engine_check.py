"""Compare the engine with the two TFLite runtimes on one model."""

from __future__ import annotations

from collections.abc import Sequence

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.oracle import Array


def run_engine(runtime: Runtime, blob: bytes, inputs: Sequence[Array]) -> list[Array]:
    """Load a model, run it once, free it."""
    model = LoadedModel(runtime, read(blob))
    try:
        return model.run(inputs)
    finally:
        model.close()


def assert_op_same(runtime: Runtime, blob: bytes, inputs: Sequence[Array], steps: int = 1,
                   plain: bool = False, on_device: bool = True) -> None:
    """Check a small model against a TFLite runtime, and that no node fell back to the host.

    steps: allowed difference of small integers; plain: compare with TFLite's own kernels.
    """
    model = LoadedModel(runtime, read(blob))
    try:
        outputs = model.run(inputs)
        if on_device:
            places = model.prepare([a.shape for a in inputs]).plan.places
            fallen = [(p.node.op, p.reason) for p in places if p.where == "host"]
            assert not fallen, fallen
    finally:
        model.close()
    for actual, expected in zip(outputs, oracle.run(blob, inputs, plain=plain), strict=True):
        oracle.assert_same(actual, expected, steps)
