"""One request on its way through a lane."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from app.tensors import Array

Inputs = Mapping[str, Array]
Outputs = dict[str, Array]
# What must be equal for two requests to share a batch: names, types and inner shapes.
Signature = tuple[tuple[str, str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A request as its caller states it.

    Units: deadline on time.monotonic's clock, None for none; priority 1 is the most urgent,
           0 the model's default; waited in seconds, before it came here.
    alive tells, cheaply and from any thread, whether the caller still waits.
    """

    inputs: Inputs
    deadline: float | None = None
    priority: int = 0
    alive: Callable[[], bool] | None = None
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer and what it took.

    Units: seconds; rows of the batch that it was part of.
    """

    outputs: Outputs
    queue_seconds: float
    run_seconds: float
    batch_rows: int


class Job:
    """A call in the queue: who waits for it, and where its answer goes."""

    __slots__ = (
        "_done", "call", "error", "outcome", "prepared", "rows", "signature", "since", "size",
        "state",
    )  # fmt: skip

    def __init__(self, call: Call, now: float, joinable: bool) -> None:
        self.call = call
        self.since = now
        self.state = "waiting"
        # Whether what can be made for it before its run has been made.
        self.prepared = True
        self.size = sum(array.nbytes for array in call.inputs.values())
        rows = _rows(call.inputs)
        self.rows = rows or 1
        self.signature = _signature(call.inputs) if joinable and rows else None
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        # A bare lock is a quarter of threading.Event's cost, and each job is waited for once.
        self._done = threading.Lock()
        self._done.acquire()

    def wait(self, timeout: float) -> bool:
        """Wait for finish; seconds, negative for ever."""
        return self._done.acquire(timeout=timeout)

    def finish(self, outcome: Outcome | None, error: Exception | None = None) -> None:
        """Wake the caller; called once."""
        self.outcome, self.error = outcome, error
        self._done.release()


def _rows(inputs: Inputs) -> int:
    """Give the size of dimension 0 that all inputs share; 0 if they share none."""
    leading = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    return leading.pop() if len(leading) == 1 else 0


def _signature(inputs: Inputs) -> Signature:
    return tuple((name, a.dtype.str, a.shape[1:]) for name, a in sorted(inputs.items()))


def join(jobs: list[Job]) -> Inputs:
    """Put the inputs of jobs of one signature behind each other."""
    if len(jobs) == 1:
        return jobs[0].call.inputs
    names = jobs[0].call.inputs
    return {name: np.concatenate([job.call.inputs[name] for job in jobs]) for name in names}


def split(outputs: Outputs, jobs: list[Job]) -> list[Outputs] | None:
    """Give each job its own rows back; None if the outputs do not have one row for each."""
    if len(jobs) == 1:
        return [outputs]
    total = sum(job.rows for job in jobs)
    if any(array.ndim < 1 or array.shape[0] != total for array in outputs.values()):
        return None
    parts, start = [], 0
    for job in jobs:
        end = start + job.rows
        parts.append({name: array[start:end] for name, array in outputs.items()})
        start = end
    return parts
