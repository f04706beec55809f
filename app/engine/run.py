"""One request to a model: its variables, its calls of subgraphs, its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyopencl as cl

from app.engine.ir import Data, Graph
from app.engine.opencl.weights import FLAGS
from app.engine.routine import Routines
from app.engine.values import Handle, Resident, Value
from app.errors import InvalidInput


class Run:
    """The state of one request: see registry.RunContext."""

    def __init__(self, routines: Routines, graphs: Sequence[Graph], queue: cl.CommandQueue) -> None:
        self._routines, self._graphs, self._queue = routines, graphs, queue
        self.variables: dict[str, Value] = {}
        self.tables: dict[str, dict[Any, Any]] = {}
        self.done_once: set[int] = set()
        self._entered: set[int] = set()
        self._keeper = False
        self._kept: list[Any] = []
        self._buffers: dict[str, Any] = {}

    def main(self, inputs: Sequence[Data]) -> list[Data]:
        """Run the main graph once; call again for the next step."""
        results = self._routines.run(self._graphs[0], [np.asarray(a) for a in inputs], self)
        self._queue.finish()
        self._kept.clear()
        return [self.array(r) for r in results]

    def call_graph(self, index: int, inputs: Sequence[Value | None]) -> list[Value]:
        """Run a subgraph; its results may stay on the device."""
        if not 0 <= index < len(self._graphs):
            raise InvalidInput(f"the model refers to subgraph {index}, which it does not have")
        given = [v for v in inputs if v is not None]
        return self._routines.run(self._graphs[index], given, self, stay=True)

    def array(self, value: Value | None) -> Data:
        """The numbers of a value."""
        if isinstance(value, np.ndarray | np.generic):
            return np.asarray(value)
        if not isinstance(value, Resident):
            raise InvalidInput("the model uses a resource as if it were numbers")
        made: Data = np.empty(value.shape, value.dtype)
        if made.size:
            cl.enqueue_copy(self._queue, made, value.buffer, is_blocking=True)
        return made

    def store(self, name: str, value: Value) -> None:
        """Give a variable a value, in memory of its own."""
        if isinstance(value, Resident):
            buffer = self._buffers.get(name)
            if buffer is None or buffer.size < value.nbytes:
                buffer = cl.Buffer(self._queue.context, FLAGS, max(value.nbytes, 1))
                self._kept.append(self._buffers.get(name))
                self._buffers[name] = buffer
            if value.nbytes:
                cl.enqueue_copy(self._queue, buffer, value.buffer, byte_count=value.nbytes)
            value = Resident(buffer, value.shape, value.dtype, value.nbytes)
        elif isinstance(value, Handle):
            raise InvalidInput(f"the model stores a resource in the variable {name}")
        self.variables[name] = value

    def entered(self, executor: Any) -> None:
        """Reset the variables of a plan that this request meets for the first time.

        Raises: InvalidInput if the steps have different shapes while a plan holds the variables.
        """
        if id(executor) in self._entered:
            return
        if self._keeper and executor.plan.graph.index == 0:
            raise InvalidInput("the steps of one request to this model must have equal shapes")
        self._entered.add(id(executor))
        self._keeper = self._keeper or bool(executor.plan.states)
        executor.reset()

    def keep(self, things: Sequence[Any]) -> None:
        """Hold what the device still reads until the step is over."""
        self._kept.extend(things)
