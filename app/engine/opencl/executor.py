"""Run a Plan on a device: arguments are set once, a request only enqueues and waits once."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pyopencl as cl

from app.engine import registry
from app.engine.ir import Arg, Const, Data, Launch, Local, Scratch, Tensor
from app.engine.opencl.programs import Programs
from app.engine.planner import OPAQUE, HostCall, Plan
from app.errors import DeviceMemoryError

FLAGS = cl.mem_flags.READ_WRITE
Call = tuple[Any, tuple[int, ...], tuple[int, ...]]


class Weights:
    """Packed constants on one device, shared by every plan of a model."""

    def __init__(self, context: cl.Context, queue: cl.CommandQueue) -> None:
        self._context, self._queue = context, queue
        self._buffers: dict[tuple[int, str], tuple[Any, Data]] = {}
        self.nbytes = 0

    def get(self, const: Const) -> Any:
        """The buffer of a constant; packs and uploads it the first time."""
        data = const.tensor.data
        if data is None:
            raise ValueError(f"{const.tensor.name} is not a constant")
        key = (id(data), const.label)
        if key not in self._buffers:
            packed = np.ascontiguousarray(const.pack(data))
            buffer = cl.Buffer(self._context, FLAGS, max(packed.nbytes, 4))
            if packed.nbytes:
                cl.enqueue_copy(self._queue, buffer, packed, is_blocking=True)
            # data is kept so that its id stays its own.
            self._buffers[key] = (buffer, data)
            self.nbytes += packed.nbytes
        return self._buffers[key][0]

    def clear(self) -> None:
        """Free everything; no plan may run afterwards."""
        self._buffers.clear()
        self.nbytes = 0


class Executor:
    """One plan, bound to one queue. Not thread-safe: its owner holds a lock."""

    def __init__(self, plan: Plan, queue: cl.CommandQueue, programs: Programs,
                 weights: Weights) -> None:
        self.plan, self._queue = plan, queue
        self._programs, self._weights = programs, weights
        self._context = queue.context
        self._arena = self._allocate(plan.arena_bytes)
        # PoCL aborts the process if a buffer goes while a kernel still names it.
        self._kept: dict[tuple[int, int, int], Any] = {}
        self._steps = [self._bind(s) if isinstance(s, Launch) else s for s in plan.steps]
        self.launches = sum(isinstance(s, Launch) for s in plan.steps)

    def run(self, inputs: Sequence[Data], context: registry.RunContext) -> list[Data]:
        """Run once.

        Shapes: inputs and result in the order and the shapes of the plan's graph.
        """
        graph, queue = self.plan.graph, self._queue
        # Dropping a copy's event waits for it: they are kept until the one blocking point.
        pending = [self._upload(t, d) for t, d in zip(graph.inputs, inputs, strict=True)]
        enqueue = cl.enqueue_nd_range_kernel
        for step in self._steps:
            if isinstance(step, HostCall):
                self._host(step, context)
            else:
                enqueue(queue, *step)
        results = []
        for tensor in graph.outputs:
            result, event = self._download(tensor)
            results.append(result)
            pending.append(event)
        queue.finish()
        return results

    def warm_up(self, context: registry.RunContext) -> None:
        """Run once on zeros, so that drivers finish what they do lazily."""
        self.run([np.zeros(t.shape, t.dtype) for t in self.plan.graph.inputs], context)

    def host_seconds(self, rounds: int = 20) -> float:
        """What one launch costs the host: the least time of an enqueue without its execution.

        Units: seconds. Only means something where the driver does not run kernels in the call.
        """
        calls = [c for c in self._steps if not isinstance(c, HostCall)]
        best = float("inf")
        for _ in range(rounds):
            start = perf_counter()
            for call in calls:
                cl.enqueue_nd_range_kernel(self._queue, *call)
            best = min(best, perf_counter() - start)
            self._queue.finish()
        return best / max(len(calls), 1)

    def seconds(self, times: int = 10) -> float:
        """The mean time of all launches, run that often without a pause. Units: seconds."""
        calls = [c for c in self._steps if not isinstance(c, HostCall)]
        self._queue.finish()
        start = perf_counter()
        for _ in range(times):
            for call in calls:
                cl.enqueue_nd_range_kernel(self._queue, *call)
        self._queue.finish()
        return (perf_counter() - start) / times

    def measure(self, rounds: int = 5) -> list[tuple[Launch, float]]:
        """Time every launch in its place in the sequence, the median of some rounds.

        Units: seconds.
        """
        calls = [(s, c) for s, c in zip(self.plan.steps, self._steps, strict=True)
                 if isinstance(s, Launch) and not isinstance(c, HostCall)]
        times: list[list[float]] = [[] for _ in calls]
        for _ in range(rounds):
            for own, (_, call) in zip(times, calls, strict=True):
                start = perf_counter()
                cl.enqueue_nd_range_kernel(self._queue, *call)
                self._queue.finish()
                own.append(perf_counter() - start)
        return [(launch, sorted(own)[rounds // 2])
                for own, (launch, _) in zip(times, calls, strict=True)]

    def _allocate(self, nbytes: int) -> Any:
        device = self._context.devices[0]
        if nbytes > device.max_mem_alloc_size:
            raise DeviceMemoryError(nbytes, device.max_mem_alloc_size)
        return cl.Buffer(self._context, FLAGS, max(nbytes, 1))

    def _bind(self, launch: Launch) -> Call:
        program = self._programs.get(launch.source, launch.defines)
        kernel = cl.Kernel(program, launch.kernel)
        for position, arg in enumerate(launch.args):
            kernel.set_arg(position, self._argument(arg))
        size = tuple(-(-g // w) * w for g, w in
                     zip(launch.global_size, launch.local_size, strict=True))
        return kernel, size, launch.local_size

    def _argument(self, arg: Arg) -> Any:
        if isinstance(arg, Const):
            return self._weights.get(arg)
        if isinstance(arg, Tensor):
            return self._buffer(arg)
        if isinstance(arg, Scratch):
            slot = self.plan.slots[arg]
            return self._region(slot.offset, slot.nbytes)
        if isinstance(arg, Local):
            return cl.LocalMemory(arg.nbytes)
        return arg

    def _buffer(self, tensor: Tensor) -> Any:
        if tensor.data is not None:
            return self._weights.get(Const(tensor, "raw", np.asarray))
        root, offset = self.plan.storage(tensor)
        if root.data is not None:
            raise ValueError(f"{tensor.name} is a view of a constant")
        return self._region(self.plan.slots[root].offset + offset, max(tensor.nbytes, 1))

    def _region(self, offset: int, nbytes: int) -> Any:
        key = (offset, nbytes, 0)
        if key not in self._kept:
            self._kept[key] = self._arena.get_sub_region(offset, nbytes)
        return self._kept[key]

    def _upload(self, tensor: Tensor, data: Data) -> Any:
        if not tensor.size:
            return None
        return cl.enqueue_copy(self._queue, self._buffer(tensor), np.ascontiguousarray(data),
                               is_blocking=False)

    def _download(self, tensor: Tensor) -> tuple[Data, Any]:
        if tensor.data is not None:
            return tensor.data, None
        result = np.empty(tensor.shape, tensor.dtype)
        if not tensor.size:
            return result, None
        return result, cl.enqueue_copy(self._queue, result, self._buffer(tensor),
                                       is_blocking=False)

    def _host(self, step: HostCall, context: registry.RunContext) -> None:
        node = step.node
        fetched = [self._fetch(t, context) for t in node.inputs]
        self._queue.finish()
        arrays = [data for data, _ in fetched]
        if node.op in registry.STATEFUL:
            results = registry.STATEFUL[node.op](node, arrays, context)
        else:
            results = registry.HOSTS[node.op](node, arrays)
        pending = []
        for tensor, result in zip(node.outputs, results, strict=True):
            if tensor.dtype in OPAQUE:
                context.opaque[tensor] = result
            else:
                pending.append(self._upload(tensor, np.asarray(result, tensor.dtype)))
        self._queue.finish()

    def _fetch(self, tensor: Tensor | None,
               context: registry.RunContext) -> tuple[Data | None, Any]:
        if tensor is None:
            return None, None
        if tensor.dtype in OPAQUE:
            return context.opaque.get(tensor, tensor.data), None
        return self._download(tensor)
