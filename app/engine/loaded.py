"""A model on a device: its plans, and what runs them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile

import numpy as np

from app.engine.ahead import ending
from app.engine.batches import Batcher
from app.engine.explain import Row, explain
from app.engine.ir import Data, Graph, Launch, Model, Tensor
from app.engine.known import refuse_unknown
from app.engine.larger import LargerPlans
from app.engine.opencl.executor import Executor
from app.engine.opencl.weights import Weights
from app.engine.passes.facts import OPAQUE
from app.engine.passes.rebatch import rebatched
from app.engine.planner import Plan, plan
from app.engine.routine import Routines, check_inputs
from app.engine.run import Run
from app.engine.runtime import Runtime, graphs_of
from app.engine.trials import drawn, nothing, trial_shapes
from app.errors import DeviceMemoryError, InvalidInput, ModelNotReady, ServingError

Shape = tuple[int, ...]
STATE_OPS = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}


class LoadedModel:
    """A model on a runtime. Thread-safe: plans are made under locks of its own, so that other
    models run meanwhile; runs take turns on the runtime's queue.

    fp16_storage: keep weights as float16 on the device where they fit, on cards activations too;
    ahead: make plans of larger batches beside the requests that could use them, which do with
    smaller ones until then; reserve: told how many bytes of the device the model will hold in all
    before it grows by further plans, raises DeviceMemoryError if there is no room.
    Raises: UnsupportedOp that names every operation that nothing here knows.
    """

    def __init__(self, runtime: Runtime, model: Model, fp16_storage: bool = False,
                 ahead: bool = False, reserve: Callable[[int], None] | None = None) -> None:
        refuse_unknown(model)
        self.runtime, self.model = runtime, model
        # Who needs both takes the plans first.
        self._plans, self._planning = threading.RLock(), threading.RLock()
        self.profile = replace(runtime.device.profile, fp16_storage=fp16_storage)
        self._graphs = graphs_of(model)
        self._batched = [rebatched(self._graphs[0]), *self._graphs[1:]]
        self._weights = Weights(runtime.context, runtime.queue)
        self._constants: dict[tuple[Tensor, str], Tensor] = {}
        # A cycle would keep the file's bytes until Python looks for cycles, long after close().
        self._own = weakref.proxy(self)
        own = self._own
        self._growing = threading.Lock()
        self._reserve, self._closed = reserve, False
        self._routines = self._planned(False)
        self._larger = LargerPlans(self._batched[0], self._routines, self._plans,
                                   lambda shapes: own._run_zeros(own._batched, shapes))
        self._batcher = Batcher(
            lambda inputs, runs: own._run(own._batched if runs > 1 else own._graphs, inputs),
            *[partial(self._larger.ready, runtime.ahead)] if ahead else [])
        # State tensors of the old kind live in the CPU's part where steps follow each other.
        self._lasting = self._routines
        if any(t.is_variable for g in model.graphs for n in g.nodes for t in n.reads):
            self._lasting = self._planned(True)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The main graph's inputs; -1 where the caller chooses."""
        return self._graphs[0].inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The main graph's outputs, as the file describes them."""
        return self.model.graphs[0].outputs

    @property
    def has_variables(self) -> bool:
        """Whether the model assigns variables: the rows of a request are steps then."""
        return any(n.op in STATE_OPS for g in self.model.graphs for n in g.nodes)

    @property
    def stateful(self) -> bool:
        """Whether the steps of one request depend on each other."""
        return self.has_variables or self._lasting is not self._routines

    @property
    def lasting(self) -> list[Executor]:
        """What runs the steps of requests of several, as far as it is planned."""
        return self._lasting.executors

    @property
    def nbytes(self) -> int:
        """Device memory held: weights and the arenas of all plans."""
        executors = {*self._routines.executors, *self._lasting.executors}
        return self._weights.nbytes + sum(e.nbytes for e in executors)

    def prepare(self, shapes: Sequence[Shape] | None = None) -> Executor:
        """Plan and build for input shapes, and run once on zeros.

        Shapes: default the file's, with the smallest extents that the model takes where it
                leaves them open.
        """
        trials = [list(shapes)] if shapes else list(trial_shapes(self._graphs[0]))
        planned: list[Executor] = []
        failed: list[InvalidInput] = []
        with self._plans:
            for wanted in trials:
                try:
                    return self._prepared(wanted, planned)
                except InvalidInput as error:
                    failed.append(error)
        if planned:
            return planned[0]
        raise failed[-1]

    def _prepared(self, shapes: Sequence[Shape], planned: list[Executor]) -> Executor:
        graph = self._graphs[0]
        ready = self._routines.stage(graph, shapes, {})
        if ready.stage.rest is not None or ready.executor.plan.particular:
            # Zeros may be no possible lengths, positions or matrices: that says nothing of real
            # inputs.
            planned.append(ready.executor)
        self._run_zeros(self._graphs, shapes)
        return ready.executor

    def _run_zeros(self, graphs: Sequence[Graph], shapes: Sequence[Shape]) -> None:
        inputs = graphs[0].inputs
        zeros = [nothing(t, s) for t, s in zip(inputs, shapes, strict=True)]
        with self.runtime.turn(first=True):
            Run(self._routines, graphs, self.runtime.queue).main(zeros)

    def damaged(self) -> list[str]:
        """Names of the constants whose bytes on the device are no longer what was sent there."""
        found = []
        for constant in self._weights.uploaded():
            # One at a time, so that requests run in between.
            with self.runtime.turn():
                if not self._weights.intact(constant):
                    found.append(constant.name)
        return found

    def explain(self) -> list[Row]:
        """Where each operator of the file's main graph runs, and why."""
        return explain(self.model, self.prepare().plan)

    def run(self, inputs: Sequence[Data]) -> list[Data]:
        """Run the main graph.

        Shapes: one array per input; any shape the model can be resized to.
        Raises: InvalidInput if the arrays do not fit the model.
        """
        return self._run(self._graphs, inputs)

    def _run(self, graphs: Sequence[Graph], inputs: Sequence[Data]) -> list[Data]:
        with self.runtime.turn():
            # Whoever forgets plans waits for a turn to do so.
            if (known := self._routines.known(graphs[0], inputs)) is not None:
                return known.run(inputs)
        inputs = [np.asarray(a) for a in inputs]
        check_inputs(graphs[0], inputs)
        with self._plans:
            known = self._routines.direct(graphs[0], inputs)
            if known is not None:
                with self.runtime.turn():
                    return known.run(inputs)
            planned = self._ready(graphs[0], inputs, self._routines)
            with self.runtime.turn(first=not planned):
                return Run(self._routines, graphs, self.runtime.queue).main(inputs)

    def run_steps(self, steps: Sequence[Sequence[Data]]) -> list[list[Data]]:
        """Run the main graph once per step; variables live from the first step to the last.

        Raises: InvalidInput if the arrays do not fit the model.
        """
        graph, answers = self._graphs[0], list[list[Data]]()
        kinds = [[(a.shape, a.dtype) for a in arrays] for arrays in steps]
        for arrays, kind, before in zip(steps, kinds, [None, *kinds], strict=False):
            if kind != before:
                check_inputs(graph, arrays)
        with self._plans:
            state = Run(self._lasting, self._graphs, self.runtime.queue)
            while len(answers) < len(steps):
                arrays = steps[len(answers)]
                known = self._lasting.repeated(graph, arrays)
                if known is not None and known.direct is not None:
                    # A turn for some steps: a long sequence must not keep the others waiting.
                    first = len(answers)
                    end = first + known.direct.most
                    alike = list(takewhile(kinds[first].__eq__, kinds[first:end]))
                    with self.runtime.turn():
                        state.entered(known)
                        answers += known.direct.run_each(steps[first:first + len(alike)])
                    continue
                planned = self._ready(graph, arrays, self._lasting)
                with self.runtime.turn(first=not planned):
                    answers.append(state.main(arrays))
        return answers

    def _ready(self, graph: Graph, inputs: Sequence[Data], routines: Routines) -> bool:
        """Make the graph's plan for these shapes, before the device is taken for the run; whether
        it was there already."""
        shapes = [np.shape(a) for a in inputs]
        if any(t.dtype in OPAQUE for t in graph.inputs):
            return False
        planned = routines.knows(graph, shapes)
        routines.stage(graph, shapes, {})
        return planned

    def knows(self, shapes: Sequence[Shape]) -> bool:
        """Whether a run of inputs of these shapes needs no plan to be made first."""
        return self._routines.knows(self._graphs[0], shapes)

    def learn(self, shapes: Sequence[Shape]) -> None:
        """Make the plan for inputs of these shapes while others are in use, and run it on zeros.

        Raises: InvalidInput, UnsupportedOp, DeviceMemoryError, KernelBuildError, DeviceError;
                ModelNotReady if the model is closed meanwhile.
        """
        ready = self._routines.made(self._graphs[0], shapes, {})
        with self._plans:
            if self._closed:
                raise ModelNotReady("the model is unloaded")
            self._routines.put(self._graphs[0], shapes, ready,
                               partial(self._run_zeros, self._graphs))

    def rows_apart(self) -> bool:
        """Whether the rows of a model whose batch is free do not touch each other, tried out once
        on two rows; False where another extent is free, too."""
        shapes = [t.shape for t in self.inputs]
        if not shapes or any(len(s) < 2 or s[0] != -1 or -1 in s[1:] for s in shapes):
            return False
        rng = np.random.default_rng(0)
        two = [drawn(rng, (2, *t.shape[1:]), t.dtype) for t in self.inputs]
        try:
            return self._batcher.apart(two)
        except (InvalidInput, ServingError):
            return False

    def run_batches(self, inputs: Sequence[Data], runs: int) -> list[Data]:
        """Run several of the model's own batches, joined on dimension 0: see batches.Batcher."""
        return self._batcher.run(inputs, runs)

    def _planned(self, lasting: bool) -> Routines:
        own = self._own
        return Routines(self._graphs[0],
                        lambda graph, whole: own._make(graph, lasting, whole))

    def _make(self, graph: Graph, lasting: bool, whole: bool) -> Executor:
        runtime = self.runtime
        with self._planning:
            ready = plan(graph, self.profile, self._constants, lasting, whole)
            needed, room = self.nbytes + ready.device_bytes, self.profile.global_bytes
            if needed > room:
                raise DeviceMemoryError(needed, room)
            # The first plan of a model is the same at every start; others depend on what is
            # asked for.
            first = not self._routines.executors and not self._lasting.executors
            if not first:
                self._grow(self.nbytes + ready.arena_bytes)
                self._compile(ready)
            return Executor(ready, runtime.queue, runtime.programs, self._weights, joined=first)

    def _compile(self, ready: Plan) -> None:
        for step in ready.steps:
            if ending():
                raise ModelNotReady("the worker ends")
            if isinstance(step, Launch) and not step.parts:
                self.runtime.programs.get(step)

    def _grow(self, nbytes: int) -> None:
        with self._growing:
            if self._closed:
                # What is reserved for it now nobody would give back.
                raise ModelNotReady("the model is unloaded")
            if self._reserve is not None:
                self._reserve(nbytes)

    def replan(self) -> None:
        """Forget the plans and what was packed for them: choices have changed."""
        with self._plans, self.runtime.turn():
            self.runtime.queue.finish()
            self._routines.clear()
            self._lasting.clear()
            self._weights.clear()

    def close(self) -> None:
        """Free plans and weights."""
        with self._growing:
            self._closed = True
        with self._plans:
            self._larger.close()
            self.replan()
            self._constants.clear()
