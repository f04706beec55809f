"""The values of one run of one plan, wherever they are, and what the host does between kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl

from app.engine import registry
from app.engine.blame import blamed
from app.engine.ir import Data, Node, Tensor
from app.engine.passes.facts import OPAQUE
from app.engine.segments import HostCall
from app.engine.values import Resident, Value

if TYPE_CHECKING:
    from app.engine.opencl.executor import Executor


class Request:
    """One run. held has what the host knows; the rest is in the executor's arena."""

    def __init__(self, executor: Executor, context: registry.RunContext) -> None:
        self._executor, self._context = executor, context
        self._plan, self._queue = executor.plan, executor.queue
        self._held: dict[Tensor, Value] = {}
        # Dropping a copy's event waits for it: they are kept until a blocking point.
        self._pending: list[Any] = []

    def put(self, tensor: Tensor, value: Value, lasting: bool = False) -> None:
        """Give a tensor its value: in the arena if a kernel touches it, and on the host.

        lasting: memory of a Resident value is not written before this run is over.
        """
        placed = self._plan.storage(tensor)[0] in self._plan.on_device
        if isinstance(value, Resident):
            if placed:
                self._copy(tensor, value)
            elif lasting:
                self._held[tensor] = value
            else:
                self._held[tensor] = self._downloaded(value.buffer, value.shape, value.dtype)
                self._wait()
            return
        self._held[tensor] = value
        if placed and isinstance(value, np.ndarray) and value.size:
            array = np.asarray(value, tensor.dtype, order="C")
            self._pending.append((array, cl.enqueue_copy(
                self._queue, self._executor.memory(tensor), array, is_blocking=False)))

    def run_host(self, call: HostCall) -> None:
        """Run a segment: everything it reads comes at once, its parts follow each other."""
        local: dict[Tensor, Any] = {}
        for tensor in call.inputs:
            local[tensor] = self._start_fetch(tensor)
        self._wait()
        made = call.run(local)
        for tensor in call.outputs:
            self.put(tensor, made[tensor])

    def run_state(self, node: Node) -> None:
        """Run a node that needs variables or other graphs; its values may stay on the device."""
        values = [None if t is None else self._value(t) for t in node.inputs]
        with blamed(node):
            results = registry.STATEFUL[node.op](node, values, self._context)
            made = list(zip(node.outputs, results, strict=True))
        for tensor, value in made:
            self.put(tensor, value)

    def results(self) -> list[Value]:
        """The graph's outputs as arrays; waits for the device."""
        found = [self._start_fetch(t) for t in self._plan.graph.outputs]
        self._wait()
        return found

    def stay(self) -> list[Value]:
        """The graph's outputs where they are: valid until the executor runs again."""
        found: list[Value] = []
        for tensor in self._plan.graph.outputs:
            value = self._value(tensor)
            # What only passes through is copied too: the next run may write where it lies.
            found.append(self._executor.own_copy(tensor, value)
                         if isinstance(value, Resident) else value)
        self._context.keep(self._pending)
        return found

    def _known(self, tensor: Tensor) -> Value | None:
        if tensor.data is not None:
            return tensor.data
        if tensor in self._held:
            return self._held[tensor]
        root, offset = self._plan.storage(tensor)
        value = self._held.get(root)
        if not isinstance(value, np.ndarray):
            return value
        raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return raw[offset:offset + tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)

    def _value(self, tensor: Tensor) -> Value:
        value = self._known(tensor)
        if value is not None:
            return value
        if tensor.dtype in OPAQUE:
            raise ValueError(f"{tensor.name} has no value yet")
        if not tensor.size:
            return np.empty(tensor.shape, tensor.dtype)
        return Resident(self._executor.memory(tensor), tensor.shape, tensor.dtype, tensor.nbytes)

    def _start_fetch(self, tensor: Tensor) -> Value:
        value = self._value(tensor)
        if isinstance(value, Resident):
            return self._downloaded(value.buffer, value.shape, value.dtype)
        return value

    def _downloaded(self, buffer: Any, shape: tuple[int, ...], dtype: str) -> Data:
        result: Data = np.empty(shape, dtype)
        if result.size:
            self._pending.append(cl.enqueue_copy(self._queue, result, buffer, is_blocking=False))
        return result

    def _copy(self, tensor: Tensor, value: Resident) -> None:
        if value.nbytes:
            cl.enqueue_copy(self._queue, self._executor.memory(tensor), value.buffer,
                            byte_count=value.nbytes)

    def _wait(self) -> None:
        self._queue.finish()
        self._pending.clear()
