"""Graphs as callables: plans by input shapes, stage after stage where shapes depend on data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.engine.ir import Data, Graph, Tensor
from app.engine.opencl.direct import Direct
from app.engine.opencl.executor import Executor
from app.engine.passes.lengths import unrolled
from app.engine.passes.stages import Stage, first_stage
from app.engine.registry import RunContext
from app.engine.values import Value
from app.errors import InvalidInput, UnsupportedOp

Shape = tuple[int, ...]
Key = tuple[Graph, tuple[Shape, ...], tuple[tuple[int, bytes], ...]]
# A graph, and the shape and type of each input.
Kind = tuple[Any, ...]
# Plans kept per model: enough for its subgraphs and a few sizes, bounded for changing lengths.
MAX_PLANS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A stage with what runs it."""

    stage: Stage
    executor: Executor


class Routines:
    """The plans of one model. Not thread-safe: its owner holds a lock."""

    def __init__(self, main: Graph, make: Callable[[Graph, bool], Executor]) -> None:
        self._main, self._make = main, make
        self._ready: dict[Key, Ready] = {}
        # What is asked for again and again, by what can be told fastest.
        self._direct: dict[Kind, tuple[Key, Direct]] = {}

    @property
    def executors(self) -> list[Executor]:
        """Everything that is planned at present."""
        return [r.executor for r in list(self._ready.values())]

    def clear(self) -> None:
        """Drop all plans."""
        self._ready.clear()
        self._direct.clear()

    def knows(self, graph: Graph, shapes: Sequence[Shape]) -> bool:
        """Whether a graph is planned for these shapes."""
        return (graph, tuple(shapes), ()) in self._ready

    def stage(self, graph: Graph, shapes: Sequence[Shape],
              contents: Mapping[Tensor, Data]) -> Ready:
        """The plan of a graph, or of its first part, from memory or made now.

        Raises: InvalidInput, UnsupportedOp, DeviceMemoryError, KernelBuildError.
        """
        order = [i for i, t in enumerate(graph.inputs) if t in contents]
        key: Key = (graph, tuple(shapes),
                    tuple((i, contents[graph.inputs[i]].tobytes()) for i in order))
        found = self._ready.get(key) or self.made(graph, shapes, contents)
        self._keep(key, found)
        return found

    def made(self, graph: Graph, shapes: Sequence[Shape],
             contents: Mapping[Tensor, Data]) -> Ready:
        """A plan made now, which nobody uses yet; needs no lock of the owner's.

        Raises: as stage.
        """
        stage = first_stage(unrolled(graph, shapes), shapes, contents)
        whole = graph is self._main and stage.rest is None
        return Ready(stage, self._make(stage.graph, whole))

    def put(self, graph: Graph, shapes: Sequence[Shape], ready: Ready,
            try_out: Callable[[Sequence[Shape]], None]) -> None:
        """Take in what was made for a graph whose shapes depend on no data, if it can be run."""
        key: Key = (graph, tuple(shapes), ())
        self._keep(key, ready)
        try:
            try_out(shapes)
        except BaseException:
            self._ready.pop(key, None)
            self._direct.clear()
            raise

    def _keep(self, key: Key, ready: Ready) -> None:
        # The last one used is the last to go.
        for used, _ in self._direct.values():
            self._ready[used] = self._ready.pop(used)
        self._direct.clear()
        self._ready.pop(key, None)
        while len(self._ready) >= MAX_PLANS:
            self._ready.pop(next(iter(self._ready)))
        self._ready[key] = ready

    def known(self, graph: Graph, arrays: Sequence[Data]) -> Direct | None:
        """What ran arrays of these shapes and types lately; needs no lock of the owner's."""
        found = self._direct.get(_kind(graph, arrays))
        return found[1] if found is not None else None

    def direct(self, graph: Graph, arrays: Sequence[Data]) -> Direct | None:
        """What runs a graph that is planned and needs nothing but kernels, for arrays that fit
        it."""
        key: Key = (graph, tuple([a.shape for a in arrays]), ())
        found = self._ready.get(key)
        if found is None or found.stage.rest is not None or found.executor.plan.states:
            return None
        direct = found.executor.direct
        if direct is not None:
            self._direct[_kind(graph, arrays)] = key, direct
        return direct

    def repeated(self, graph: Graph, arrays: Sequence[Data]) -> Executor | None:
        """What runs steps with arrays of these shapes if it is planned, needs nothing but kernels
        and has all variables on the device."""
        found = self._ready.get((graph, tuple([a.shape for a in arrays]), ()))
        return None if (found is None or found.stage.rest is not None
                        or found.executor.direct is None) else found.executor

    def run(self, graph: Graph, values: Sequence[Value], context: RunContext,
            stay: bool = False) -> list[Value]:
        """Run a graph through all its stages.

        Raises: InvalidInput if the values do not fit the graph.
        """
        env: dict[Tensor, Value] = {}
        contents: dict[Tensor, Data] = {}
        while True:
            shapes = [t.shape if t.dtype in ("resource", "variant") else tuple(v.shape)
                      for t, v in zip(graph.inputs, values, strict=True)]
            ready = self.stage(graph, shapes, contents)
            rest = ready.stage.rest
            context.entered(ready.executor)
            results = ready.executor.run(values, context, stay or rest is not None)
            if rest is None:
                return results
            env = dict(zip(graph.inputs, values, strict=True))
            env.update(zip(ready.stage.produced, results, strict=True))
            wanted = [t for t in rest.inputs if t in ready.stage.values]
            if not ready.stage.graph.nodes and all(t in contents for t in wanted):
                raise UnsupportedOp(f"the shape of {rest.nodes[0].op}'s result is not to be found")
            contents = {t: context.array(env[t]) for t in wanted}
            graph, values = rest, [env[t] for t in rest.inputs]


def _kind(graph: Graph, arrays: Sequence[Data]) -> Kind:
    if len(arrays) == 1:
        # A loop for the one input of most models would take as long as all else here.
        return graph, arrays[0].shape, arrays[0].dtype
    return (graph, *[(a.shape, a.dtype) for a in arrays])


def check_inputs(graph: Graph, arrays: Sequence[Data]) -> None:
    """Compare arrays with what the graph takes.

    Raises: InvalidInput.
    """
    if len(arrays) != len(graph.inputs):
        raise InvalidInput(f"the model has {len(graph.inputs)} inputs and {len(arrays)} were "
                           "given")
    for tensor, array in zip(graph.inputs, arrays, strict=True):
        if len(array.shape) != len(tensor.shape):
            raise InvalidInput(f"{tensor.name} has {len(tensor.shape)} dimensions; the array "
                               f"given has shape {array.shape}")
        if tensor.dtype != "bytes" and array.dtype != np.dtype(tensor.dtype):
            raise InvalidInput(f"{tensor.name} is {tensor.dtype}; the array given is "
                               f"{array.dtype}")
