"""The OpenCL backend: the engine's loaded model behind the Session protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

from app.backends.choice import OpenclOptions, Source
from app.backends.details import describe
from app.backends.fit import fit, has_batch
from app.backends.steps import has_axis, joined, steps
from app.backends.tflite import TfliteOptions
from app.engine.choices import alone
from app.engine.loaded import LoadedModel
from app.engine.opencl.device import AUTO, choose, probe
from app.engine.opencl.failures import translated
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.engine.tuner import tune
from app.errors import DeviceNotFound, InvalidInput, ServingError, UnsupportedOp
from app.tensors import Array


def open_session(source: Source, options: OpenclOptions) -> OpenclSession:
    """Load a model on the device of this worker; makes the OpenCL context at the first call.

    Raises: DeviceNotFound, DeviceError, KernelBuildError, DeviceMemoryError, InvalidModel,
            UnsupportedOp.
    """
    # The reader first: a damaged file must not cost a context.
    model = read(source.data)
    with translated(lambda: len(source.data)):
        loaded = LoadedModel(runtime_of(options, os.getpid()), model,
                             fp16_storage=source.precision == "fp16-storage", ahead=True,
                             reserve=source.reserve)
        first_tuning(loaded, options.tune_seconds)
        return OpenclSession(loaded, isinstance(source.cpu, TfliteOptions) and source.cpu.steady)


def first_tuning(model: LoadedModel, seconds: float) -> None:
    """Tune a model's shapes on a GPU when it is loaded for the first time there, by one worker
    alone; the others take the good defaults until their next start."""
    runtime = model.runtime
    if runtime.choices_path is None or runtime.device.profile.is_cpu or seconds <= 0:
        return
    with alone(runtime.choices_path) as free:
        if free:
            tune(model, seconds=seconds)


@cache
def runtime_of(options: OpenclOptions, pid: int) -> Runtime:
    """The one context of this process for a device pattern; workers take equal devices in turn.

    Raises: DeviceNotFound if there is none; DeviceError if the device fails its probe.
    """
    device = choose(options.pattern, options.slot(pid))
    if device is None:
        raise DeviceNotFound("there is no OpenCL GPU; name a CPU device in OPENCL_DEVICE to "
                             f"use one all the same ({options.pattern or AUTO} never does)")
    probe(device)
    return Runtime(device, options.kernels)


class OpenclSession:
    """One model on one OpenCL device; calls run one after the other on its queue."""

    backend = "opencl"
    concurrency = 1

    def __init__(self, model: LoadedModel, known: bool = False) -> None:
        """Plan the model; known: see session.Session.steady, of the model itself."""
        self._model = model
        refused = [t.name for t in (*model.inputs, *model.outputs) if t.dtype == "bytes"]
        if refused:
            raise UnsupportedOp(f"strings do not run on the card: {', '.join(refused)}")
        self.inputs = describe(model.inputs, "input")
        self.outputs = describe(model.outputs, "output")
        self.stateful = model.stateful
        executor = model.prepare()
        tensors = (*self.inputs, *self.outputs)
        self._free = not self.stateful and has_batch(tensors, -1) and model.rows_apart()
        # A card's driver may take as long as it likes, and other shapes have to be compiled first.
        self._fixed = all(size >= 0 for spec in self.inputs
                          for size in spec.shape[1 if self._free else 0:])
        self.steady = known and model.runtime.device.profile.is_cpu and self._fixed
        self.joins = self._free or (has_batch(tensors) and not self.stateful)
        self.device = model.runtime.device.label
        hosts = sum(p.where == "host" for p in executor.plan.places)
        self.reason = (f"{self.device} runs {executor.launches} kernels"
                       + (f", the CPU {hosts} operations between them" if hosts else ""))

    @property
    def memory_bytes(self) -> int:
        """Weights and arenas on the device, in bytes."""
        return self._model.nbytes

    @property
    def busy_seconds(self) -> float:
        """How long the device has worked on one thing, whoever asked for it; see Turns."""
        return self._model.runtime.turn.busy_seconds

    def damaged(self) -> list[str]:
        """Read the weights back: names of those that the device no longer holds as sent.

        Raises: DeviceError.
        """
        with translated():
            return self._model.damaged()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; several of the model's own batches run as larger plans where that is exact.

        Raises: InvalidInput; DeviceError, DeviceMemoryError.
        """
        with translated(lambda: self.memory_bytes):
            return self._run(inputs)

    def prepared(self, inputs: Mapping[str, Array]) -> bool:
        """Tell whether kernels for inputs of these shapes are there."""
        shapes = self._shapes(inputs)
        return shapes is None or self._model.knows(shapes)

    def prepare(self, inputs: Mapping[str, Array]) -> None:
        """Plan for inputs of these shapes, and compile what that takes."""
        shapes = self._shapes(inputs)
        if shapes is not None:
            with suppress(ServingError), translated(lambda: self.memory_bytes):
                self._model.learn(shapes)

    def _shapes(self, inputs: Mapping[str, Array]) -> list[tuple[int, ...]] | None:
        """The shapes of one run, if they may be new."""
        if self._fixed or self.stateful:
            return None
        try:
            arrays, runs = fit(self.inputs, inputs)
        except InvalidInput:
            return None
        shapes = [arrays[spec.name].shape for spec in self.inputs]
        if self._free:
            return [(1, *shape[1:]) for shape in shapes]
        return [(shape[0] // runs, *shape[1:]) if shape else shape for shape in shapes]

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if self._model.has_variables or (self.stateful and has_axis(self.inputs, inputs)):
            return self._run_steps(inputs)
        arrays, runs = fit(self.inputs, inputs)
        ordered = [arrays[spec.name] for spec in self.inputs]
        rows = {array.shape[0] for array in ordered} if self._free else set()
        if len(rows) == 1:
            # Else every number of rows that a client thinks of would be planned for.
            runs = rows.pop()
        results = self._model.run_batches(ordered, runs)
        return {spec.name: r for spec, r in zip(self.outputs, results, strict=True)}

    def _run_steps(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        parts, stacked = steps(self.inputs, inputs)
        answers = self._model.run_steps([[p[s.name] for s in self.inputs] for p in parts])
        names = [spec.name for spec in self.outputs]
        results = [dict(zip(names, answer, strict=True)) for answer in answers]
        return joined(self.inputs, results, stacked)

    def close(self) -> None:
        """Free the model's device memory; the context stays for the worker's other models."""
        self._model.close()
