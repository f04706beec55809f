"""The CPU backend: a bounded pool of interpreters of one model, one thread each."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.backends.details import specs
from app.backends.fit import fit, has_batch, splittable
from app.backends.runtimes import installed, interpreter
from app.backends.steps import joined, steps
from app.engine.cpu.interpreter import results
from app.errors import InvalidInput, ModelLoadFailed
from app.tensors import Array, TensorSpec, together


@dataclass(frozen=True, slots=True)
class TfliteOptions:
    """What the CPU backend is told.

    stateful: variables must not outlive a request, so each one gets a new interpreter.
    random: the model draws random numbers, so that no answer is the only right one.
    steady: how much there is to compute follows from the sizes of the inputs.
    Units: memory_bytes of one interpreter, as measured when the model was checked.
    """

    runtime: str
    reason: str
    threads: int = 1
    pool: int = 2
    stateful: bool = False
    random: bool = False
    steady: bool = False
    memory_bytes: int = 0


class TfliteSession:
    """One model on the CPU; as many runs at once as the pool has interpreters."""

    backend = "tflite"

    def __init__(self, data: bytes, options: TfliteOptions) -> None:
        self._data = data
        self._options = options
        self._idle: list[_Runner] = []
        self._free = threading.BoundedSemaphore(options.pool)
        self._closed = False
        self.stateful = options.stateful
        self.steady = options.steady
        self.device = f"CPU ({options.runtime} {installed().get(options.runtime, '?')})"
        self.reason = options.reason
        self.concurrency = options.pool
        first = self._make()
        self.inputs, self.outputs = first.inputs, first.outputs
        self.joins = has_batch((*self.inputs, *self.outputs)) and not self.stateful
        self.memory_bytes = len(data) + options.pool * options.memory_bytes
        self._idle.append(first)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; several of the model's own batches run one after the other.

        Shapes: outputs whose dimension 0 is the batch are joined on it, others are stacked.
        Raises: InvalidInput.
        """
        if self.stateful:
            return self._run_steps(inputs)
        arrays, runs = fit(self.inputs, inputs)
        with self._free:
            runner = self._take()
            # A runner that raised is dropped: what it holds is not known any more.
            results = [runner.run(part_of(arrays, index, runs)) for index in range(runs)]
            if not self._closed:
                self._idle.append(runner)
        return joined_runs(results, self.inputs)

    def _run_steps(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        parts, stacked = steps(self.inputs, inputs)
        with self._free:
            # Variables are not to be reset: the interpreter goes with its request.
            runner = self._take()
            results = [runner.run(part, again=bool(i)) for i, part in enumerate(parts)]
        return joined(self.inputs, results, stacked)

    def close(self) -> None:
        """Free the interpreters."""
        self._closed = True
        self._idle.clear()

    def _take(self) -> _Runner:
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def _make(self) -> _Runner:
        try:
            return _Runner(interpreter(self._options.runtime, self._data, self._options.threads))
        except (ValueError, RuntimeError) as error:
            raise ModelLoadFailed(f"{self._options.runtime} refuses the model: {error}") from error


class _Runner:
    """One interpreter, used by one thread at a time."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self._inputs = native.get_input_details()
        self._outputs = native.get_output_details()
        self.inputs: tuple[TensorSpec, ...] = specs(self._inputs, "input")
        self.outputs: tuple[TensorSpec, ...] = specs(self._outputs, "output")
        self._shapes: dict[int, tuple[int, ...]] = {
            detail["index"]: tuple(int(n) for n in detail["shape"]) for detail in self._inputs
        }
        if all(size > 0 for spec in self.inputs for size in spec.shape):
            native.allocate_tensors()
            self._allocated = True
        else:
            # The placeholder of a free dimension may be impossible; the first request decides.
            self._allocated = False

    def run(self, arrays: Mapping[str, Array], again: bool = False) -> dict[str, Array]:
        """Run once; again: go on from the state that the last run left."""
        try:
            return self._run(arrays, again)
        except (ValueError, RuntimeError) as error:
            raise InvalidInput(f"the model cannot compute this input: {error}") from error

    def _run(self, arrays: Mapping[str, Array], again: bool) -> dict[str, Array]:
        native = self._native
        for spec, detail in zip(self.inputs, self._inputs, strict=True):
            shape = arrays[spec.name].shape
            if self._shapes[detail["index"]] != shape:
                native.resize_tensor_input(detail["index"], shape, strict=True)
                self._shapes[detail["index"]] = shape
                self._allocated = False
        if not self._allocated:
            native.allocate_tensors()
            self._allocated = True
        if not again:
            native.reset_all_variables()
        for spec, detail in zip(self.inputs, self._inputs, strict=True):
            native.set_tensor(detail["index"], arrays[spec.name])
        native.invoke()
        made = results(native, self._outputs)
        return {spec.name: array for spec, array in zip(self.outputs, made, strict=True)}


def part_of(arrays: Mapping[str, Array], index: int, runs: int) -> Mapping[str, Array]:
    """The rows of one of several runs."""
    if runs == 1:
        return arrays
    parts = {}
    for name, array in arrays.items():
        rows = array.shape[0] // runs
        parts[name] = np.ascontiguousarray(array[index * rows : (index + 1) * rows])
    return parts


def joined_runs(
    results: list[dict[str, Array]], inputs: tuple[TensorSpec, ...]
) -> dict[str, Array]:
    """The results of several runs: joined on a batch dimension, else stacked.

    Raises: InvalidInput if they differ in shape.
    """
    if len(results) == 1:
        return results[0]
    batches = {spec.shape[0] for spec in inputs if splittable(spec)}
    joined: dict[str, Array] = {}
    for name, first in results[0].items():
        parts = [result[name] for result in results]
        by_row = first.ndim >= 1 and first.shape[0] in batches
        joined[name] = together(parts, by_row)
    return joined
