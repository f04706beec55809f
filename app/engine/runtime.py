"""The engine's front door: open a device once per worker, load models on it, run them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyopencl as cl

import app.engine.ops  # noqa: F401  (fills the tables)
from app.engine.batches import Batcher
from app.engine.choices import load, save
from app.engine.ir import Data, Graph, Model, Tensor
from app.engine.opencl.device import Device
from app.engine.opencl.executor import Executor, Weights
from app.engine.opencl.programs import Programs
from app.engine.passes.control import settle
from app.engine.passes.fuse import fuse
from app.engine.passes.quantize import lower
from app.engine.passes.recurrent import unfold
from app.engine.passes.specialise import specialise
from app.engine.planner import Plan, plan
from app.engine.profile import DeviceProfile
from app.engine.tuned import choices_file
from app.errors import InvalidInput

Shape = tuple[int, ...]
# Plans kept per subgraph: enough for a few batch sizes, bounded for changing lengths.
MAX_PLANS = 16


class Runtime:
    """One context and one in-order queue on one device; made after fork, closed once."""

    def __init__(self, device: Device, cache: Path | None = None) -> None:
        self.choices_path = None if cache is None else choices_file(cache, device)
        known = device.profile.choices if self.choices_path is None else load(self.choices_path)
        self.device = replace(device, profile=replace(device.profile, choices=known))
        self.context = cl.Context([device.handle])
        self.queue = cl.CommandQueue(self.context)
        self.programs = Programs(self.context, cache)
        self.lock = threading.RLock()

    def keep_choices(self) -> None:
        """Write what was tuned, for the other workers and the next start."""
        if self.choices_path is not None:
            save(self.choices_path, self.device.profile.choices)

    def close(self) -> None:
        """Wait for what is enqueued."""
        with self.lock:
            self.queue.finish()


def compile_graph(graph: Graph, shapes: Sequence[Shape], profile: DeviceProfile) -> Plan:
    """Specialise, fuse and plan a graph; no device is needed.

    Raises: UnsupportedOp, InvalidInput, InvalidModel.
    """
    return plan(fuse(specialise(graph, shapes)), profile)


def graphs_of(model: Model) -> list[Graph]:
    """The model's graphs after all passes that do not depend on shapes."""
    return [lower(unfold(g)) for g in settle(model.graphs)]


class LoadedModel:
    """A model on a runtime. Thread-safe: the runtime's lock guards the queue."""

    def __init__(self, runtime: Runtime, model: Model) -> None:
        self.runtime, self.model = runtime, model
        self._graphs = graphs_of(model)
        self._weights = Weights(runtime.context, runtime.queue)
        self._batcher = Batcher(self.run)
        self._plans: dict[tuple[int, tuple[Shape, ...]], Executor] = {}

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The main graph's inputs; -1 where the caller chooses."""
        return self._graphs[0].inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The main graph's outputs, as the file describes them."""
        return self._graphs[0].outputs

    @property
    def nbytes(self) -> int:
        """Device memory held: weights and the arenas of all plans."""
        return self._weights.nbytes + sum(e.plan.arena_bytes for e in self._plans.values())

    def prepare(self, shapes: Sequence[Shape] | None = None) -> Executor:
        """Plan and build for input shapes (default: the file's, 1 where it leaves them open),
        run once on zeros and save the built programs."""
        wanted = tuple(shapes or default_shapes(self._graphs[0]))
        with self.runtime.lock:
            executor = self._executor(0, wanted)
            executor.warm_up(_Run(self))
            self.runtime.programs.save()
            return executor

    def run(self, inputs: Sequence[Data]) -> list[Data]:
        """Run the main graph.

        Shapes: one array per input; any shape the model can be resized to.
        Raises: InvalidInput if the arrays do not fit the model.
        """
        with self.runtime.lock:
            return _Run(self).call_graph(0, inputs)

    def run_batches(self, inputs: Sequence[Data], runs: int) -> list[Data]:
        """Run several of the model's own batches, joined on dimension 0: see batches.Batcher."""
        return self._batcher.run(inputs, runs)

    def run_steps(self, steps: Sequence[Sequence[Data]]) -> list[list[Data]]:
        """Run a stateful model over several inputs; its variables start anew with each call.

        Raises: InvalidInput if the arrays do not fit the model.
        """
        with self.runtime.lock:
            state = _Run(self)
            return [state.call_graph(0, inputs) for inputs in steps]

    def _executor(self, index: int, shapes: tuple[Shape, ...]) -> Executor:
        key = (index, shapes)
        if key not in self._plans:
            if len(shapes) != len(self._graphs[index].inputs):
                raise InvalidInput(f"the model has {len(self._graphs[index].inputs)} inputs and "
                                   f"{len(shapes)} were given")
            ready = compile_graph(self._graphs[index], shapes, self.runtime.device.profile)
            while len(self._plans) >= MAX_PLANS:
                self._plans.pop(next(iter(self._plans)))
            runtime = self.runtime
            self._plans[key] = Executor(ready, runtime.queue, runtime.programs, self._weights)
        return self._plans[key]

    def replan(self) -> None:
        """Forget the plans and what was packed for them: choices have changed."""
        with self.runtime.lock:
            self.runtime.queue.finish()
            self._plans.clear()
            self._weights.clear()

    def close(self) -> None:
        """Free plans and weights."""
        with self.runtime.lock:
            self.runtime.queue.finish()
            self._plans.clear()
            self._weights.clear()


class _Run:
    """The state of one request: see registry.RunContext."""

    def __init__(self, owner: LoadedModel) -> None:
        self._owner = owner
        self.variables: dict[str, Data] = {}
        self.opaque: dict[Tensor, Data] = {}

    def call_graph(self, index: int, inputs: Sequence[Data]) -> list[Data]:
        shapes = tuple(tuple(a.shape) for a in inputs)
        return self._owner._executor(index, shapes).run(inputs, self)


def default_shapes(graph: Graph) -> list[Shape]:
    """The file's input shapes with 1 for every dimension it leaves open."""
    return [tuple(1 if e < 0 else e for e in t.shape) for t in graph.inputs]
