"""Run a Plan on a device: arguments are set once, a request only enqueues and waits once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from time import perf_counter
from typing import Any

import numpy as np
import pyopencl as cl

from app.engine import registry
from app.engine.chains import POINTERS
from app.engine.ir import Arg, Const, Launch, Local, Scratch, Tensor
from app.engine.opencl.chain_program import Chains, chains
from app.engine.opencl.direct import direct
from app.engine.opencl.kernel import Kernel, write
from app.engine.opencl.programs import Programs
from app.engine.opencl.recording import Recording, supported
from app.engine.opencl.request import Request
from app.engine.opencl.texts import key_of
from app.engine.opencl.weights import FLAGS, Weights
from app.engine.opencl.whole_chain import WholeChain, chain_kernel
from app.engine.placement import StateCall
from app.engine.planner import Plan
from app.engine.segments import HostCall
from app.engine.values import Resident, Value
from app.errors import DeviceMemoryError


class Executor:
    """One plan, bound to one queue. Not thread-safe: its owner holds a lock.

    joined: have programs of its own with many kernels each, which load faster, instead of those
    that it may share with other plans.
    """

    def __init__(self, plan: Plan, queue: cl.CommandQueue, programs: Programs,
                 weights: Weights, joined: bool = False) -> None:
        self.plan, self.queue = plan, queue
        self._programs, self._weights = programs, weights
        self._context = queue.context
        self._arena = self._allocate(plan.arena_bytes)
        # PoCL aborts the process if a buffer goes while a kernel still names it.
        self._kept: dict[tuple[int, int, int], Any] = {}
        self._results: dict[Tensor, list[Resident]] = {}
        # What a plan needs that is nothing but one chain.
        self.chain: tuple[cl.Program, Chains] | None = None
        self._chains = self._bind_chains(
            [s for s in plan.steps if isinstance(s, Launch) and s.parts])
        self._joined = programs.joined(
            s for s in plan.steps if isinstance(s, Launch) and not s.parts) if joined else {}
        self._steps = [self._bind(s) if isinstance(s, Launch) else s for s in plan.steps]
        self._kernels = [s for s in self._steps if isinstance(s, Kernel)]
        self._recorded = self._record() if supported(queue.device) else self._steps
        self.direct = direct(self, self._recorded)
        self._stateful = [s for s in plan.steps if isinstance(s, HostCall)]
        self._firsts = [(self.memory(s.before), np.ascontiguousarray(s.first))
                        for s in plan.states]
        self.launches = sum(isinstance(s, Launch) for s in plan.steps)

    def run(self, inputs: Sequence[Value], context: registry.RunContext,
            stay: bool = False) -> list[Value]:
        """Run once.

        stay: leave results where they are and do not wait; else they are arrays.
        Shapes: inputs and result in the order and the shapes of the plan's graph.
        """
        arrays = [v for v in inputs if isinstance(v, np.ndarray)]
        if self.direct is not None and not stay and len(arrays) == len(inputs):
            return [*self.direct.run(arrays)]
        request = Request(self, context)
        for tensor, value in zip(self.plan.graph.inputs, inputs, strict=True):
            request.put(tensor, value, lasting=True)
        # A recording must not be enqueued again before it has finished, as loops would.
        for step in self._steps if stay else self._recorded:
            if isinstance(step, Kernel | Recording):
                step.enqueue()
            elif isinstance(step, HostCall):
                request.run_host(step)
            else:
                request.run_state(step.node)
        if stay:
            return request.stay()
        return request.results()

    @property
    def nbytes(self) -> int:
        """Device memory of its own: the arena and the copies of results."""
        copies = sum(r.nbytes for pair in self._results.values() for r in pair)
        return self.plan.arena_bytes + copies

    def reset(self) -> None:
        """Forget what variables and state tensors hold from an earlier request."""
        for step in self._stateful:
            step.reset()
        if isinstance(self.direct, WholeChain):
            # It is all that runs a plan with states.
            self.direct.reset()
            return
        for buffer, first in self._firsts:
            write(self.queue.int_ptr, buffer, first)

    def host_seconds(self, rounds: int = 20) -> float:
        """What one launch costs the host: the least time of an enqueue behind a closed gate, so
        that no kernel takes the processor or its caches from the calling thread meanwhile.

        Units: seconds. Not for a driver that runs kernels in the calling thread (PoCL's basic
        device): it would wait for the gate itself.
        """
        steps = [s for s in self._recorded if isinstance(s, Kernel | Recording)]
        best = float("inf")
        for _ in range(rounds):
            gate = cl.UserEvent(self._context)
            cl.enqueue_barrier(self.queue, wait_for=[gate])
            start = perf_counter()
            for step in steps:
                step.enqueue()
            best = min(best, perf_counter() - start)
            gate.set_status(cl.command_execution_status.COMPLETE)
            self.queue.finish()
        return best / max(len(self._kernels), 1)

    def seconds(self, times: int = 10) -> float:
        """The mean time of all launches, run that often without a pause. Units: seconds."""
        self.queue.finish()
        start = perf_counter()
        for _ in range(times):
            for kernel in self._kernels:
                kernel.enqueue()
        self.queue.finish()
        return (perf_counter() - start) / times

    def measure(self, rounds: int = 5) -> list[tuple[Launch, float]]:
        """Time every launch in its place in the sequence, the median of some rounds.

        Units: seconds.
        """
        launches = [s for s in self.plan.steps if isinstance(s, Launch)]
        times: list[list[float]] = [[] for _ in launches]
        for _ in range(rounds):
            for own, kernel in zip(times, self._kernels, strict=True):
                start = perf_counter()
                kernel.enqueue()
                self.queue.finish()
                own.append(perf_counter() - start)
        return [(launch, sorted(own)[rounds // 2])
                for own, launch in zip(times, launches, strict=True)]

    def memory(self, tensor: Tensor) -> Any:
        """The device memory of a tensor: its place in the arena, or its constant's buffer."""
        constant = _constant(tensor)
        if constant is not None:
            return self._weights.get(constant)
        root, offset = self.plan.storage(tensor)
        if root.data is not None:
            raise ValueError(f"{tensor.name} is a view of a constant")
        return self._region(self.plan.slots[root].offset + offset, max(tensor.nbytes, 1))

    def own_copy(self, tensor: Tensor, value: Resident) -> Resident:
        """Copy a result to memory of its own, which the run after the next one reuses: the next
        one may have it as an input."""
        pair = self._results.setdefault(tensor, [])
        if len(pair) < 2:
            buffer = cl.Buffer(self._context, FLAGS, max(value.nbytes, 1))
            pair.append(Resident(buffer, value.shape, value.dtype, value.nbytes))
        else:
            pair.reverse()
        made = pair[-1]
        if value.nbytes:
            cl.enqueue_copy(self.queue, made.buffer, value.buffer, byte_count=value.nbytes)
        return made

    def _allocate(self, nbytes: int) -> Any:
        device = self._context.devices[0]
        if nbytes > device.max_mem_alloc_size:
            raise DeviceMemoryError(nbytes, device.max_mem_alloc_size)
        return cl.Buffer(self._context, FLAGS, max(nbytes, 1))

    def _record(self) -> list[Kernel | Recording | HostCall | StateCall]:
        """The steps with every run of kernels in a command buffer of its own."""
        found: list[Kernel | Recording | HostCall | StateCall] = []
        for is_kernel, run in groupby(self._steps, lambda s: isinstance(s, Kernel)):
            steps = list(run)
            kernels = [s for s in steps if isinstance(s, Kernel)]
            found += [Recording(self.queue, kernels)] if is_kernel else steps
        return found

    def _bind(self, launch: Launch) -> Kernel:
        if launch in self._chains:
            return self._chains[launch]
        program, name = self._joined.get(key_of(launch)) or self._programs.get(launch)
        args = [self._argument(a) for a in launch.args]
        size = tuple(-(-g // w) * w for g, w in
                     zip(launch.global_size, launch.local_size, strict=True))
        return Kernel(self.queue, program, name, args, size, launch.local_size)

    def _bind_chains(self, launches: Sequence[Launch]) -> dict[Launch, Kernel]:
        if not launches:
            return {}
        # A driver looks after every buffer of a launch: constants of chains have one together.
        self._weights.together([c for launch in launches for c in map(_constant, launch.args)
                                if c is not None])
        made = chains(launches, self._place)
        if len(made.buffers) > POINTERS + 1 and len(launches) > 1:
            # Other plans have constants of theirs in buffers of their own.
            half = len(launches) // 2
            return self._bind_chains(launches[:half]) | self._bind_chains(launches[half:])
        program = self._programs.whole(made.text)
        if len(self.plan.steps) == 1:
            self.chain = program, made
        return {launch: chain_kernel(self.queue, program, made, launch) for launch in launches}

    def _place(self, arg: Tensor | Scratch | Const) -> tuple[Any, int]:
        constant = _constant(arg)
        if constant is not None:
            (found,) = self._weights.together([constant])
            return found.base, found.offset
        assert not isinstance(arg, Const)
        root, offset = self.plan.storage(arg) if isinstance(arg, Tensor) else (arg, 0)
        return self._arena, self.plan.slots[root].offset + offset

    def _argument(self, arg: Arg) -> Any:
        constant = _constant(arg)
        if constant is not None:
            return self._weights.get(constant)
        if isinstance(arg, Tensor):
            return self.memory(arg)
        if isinstance(arg, Scratch):
            slot = self.plan.slots[arg]
            return self._region(slot.offset, slot.nbytes)
        if isinstance(arg, Local):
            return cl.LocalMemory(arg.nbytes)
        return arg

    def _region(self, offset: int, nbytes: int) -> Any:
        key = (offset, nbytes, 0)
        if key not in self._kept:
            self._kept[key] = self._arena.get_sub_region(offset, nbytes)
        return self._kept[key]


def _constant(arg: Arg) -> Const | None:
    if isinstance(arg, Tensor) and arg.data is not None:
        return Const(arg, "raw", np.asarray)
    return arg if isinstance(arg, Const) else None
