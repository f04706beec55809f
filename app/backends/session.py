"""What every backend gives: one loaded model that turns arrays into arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from app.tensors import Array, TensorSpec


class Session(Protocol):
    """One model loaded on one device, in one worker.

    Thread-safe: run may be called by several threads at once.
    """

    backend: str
    """Either tflite or opencl."""

    device: str
    """What runs it, for people: CPU (ai-edge-litert 2.3.0), AMD Radeon RX 580 ..."""

    reason: str
    """Why this backend and runtime were taken, in one sentence."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    stateful: bool
    """Whether the rows of a request are steps that depend on each other: see backends.steps."""

    joins: bool
    """Whether rows of different callers may be run as one: they do not touch each other."""

    steady: bool
    """Whether how long a run takes is known from earlier ones, by the sizes of the inputs alone."""

    memory_bytes: int
    """What the loaded model holds: weights, arenas and staging, in bytes."""

    concurrency: int
    """How many calls of run are worth making at once; more only wait inside."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once.

        Shapes: every input has its spec's rank; dimension 0 may be any multiple of the model's
                own batch where the model has one, the others equal the spec (or any where -1).
        Raises: InvalidInput if an array does not fit; DeviceError if the device fails.
        """

    def close(self) -> None:
        """Free everything. Idempotent; run must not be called afterwards."""


@runtime_checkable
class Prepares(Protocol):
    """A session that has to make something, a plan for one, before inputs of other shapes run."""

    def prepared(self, inputs: Mapping[str, Array]) -> bool:
        """Tell, at once, whether a run of these inputs needs nothing to be made first."""

    def prepare(self, inputs: Mapping[str, Array]) -> None:
        """Make what a run of these inputs needs, while others run.

        What does not work out is told by the run.
        """
