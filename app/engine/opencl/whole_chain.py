"""A plan that is one chain: inputs and results lie in memory that host and device share, so that a
run is one launch, and so are many steps of a request."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_void_p
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyopencl as cl

from app.engine.chains import seconds
from app.engine.ir import Data, Launch, Tensor
from app.engine.opencl.chain_program import KERNEL, Chains, Passage
from app.engine.opencl.kernel import Kernel, check, library
from app.engine.opencl.weights import FLAGS

if TYPE_CHECKING:
    from app.engine.opencl.executor import Executor

# Where a tensor may begin. Units: bytes.
ALIGN = 64
# What one launch may do: the memory for it, and how long others wait for it, about.
# Units: bytes, seconds.
SHARED = 1 << 18
LONGEST = 2e-3


def shares_memory(device: cl.Device) -> bool:
    """Whether a kernel sees what the host wrote to shared memory before the kernel was enqueued,
    and the host what a kernel wrote that has finished, with no command for it (OpenCL 2.0, 3.3.3:
    fine-grained buffer sharing)."""
    try:
        return bool(device.svm_capabilities & cl.device_svm_capabilities.FINE_GRAIN_BUFFER)
    except cl.LogicError:
        return False


def chain_kernel(queue: cl.CommandQueue, program: cl.Program, chains: Chains, launch: Launch,
                 passages: Sequence[Passage] = (), shared: Sequence[Data | None] = (None,) * 3,
                 ) -> Kernel:
    """The kernel of a chain, for one step; shared is where it finds variables' first values and
    inputs, and leaves results."""
    table = cl.Buffer(queue.context, FLAGS | cl.mem_flags.COPY_HOST_PTR,
                      hostbuf=chains.table(launch, *passages))
    args = [table, np.int32(1), np.int32(0), *shared, *chains.buffers]
    return Kernel(queue, program, KERNEL, args, launch.global_size, launch.local_size)


class WholeChain:
    """See direct.Direct.

    Raises: DeviceError.
    """

    def __init__(self, executor: Executor, program: cl.Program, chains: Chains) -> None:
        (launch,), graph, plan = executor.plan.steps, executor.plan.graph, executor.plan
        assert isinstance(launch, Launch)
        self._finish = partial(library().clFinish, c_void_p(executor.queue.int_ptr))
        read = [t for t in graph.inputs if t.size and plan.storage(t)[0] in plan.on_device]
        given, made = _passage(read), _passage(graph.outputs)
        first = _passage([s.before for s in plan.states])
        fits = SHARED // max(given.stride, made.stride, 1)
        steps = min(fits, int(LONGEST / max(seconds(launch), 1e-9))) if plan.states else 1
        self.most = max(1, steps)
        memory = [cl.fsvm_empty(executor.queue.context, (max(size, 1),), np.uint8) for size in
                  (first.stride, self.most * given.stride, self.most * made.stride)]
        self._kernel = chain_kernel(executor.queue, program, chains, launch,
                                    (first, given, made), memory)
        for state in plan.states:
            _view(memory[0], first, state.before)[0] = state.first
        self._steps, self._afresh = 1, False
        self._given = [(graph.inputs.index(t), _view(memory[1], given, t, self.most))
                       for t in read]
        self._made = [_view(memory[2], made, t, self.most) for t in graph.outputs]
        self._one = [(i, v[0, ...]) for i, v in self._given], [v[0, ...] for v in self._made]

    def reset(self) -> None:
        """Let variables begin with their first values in the next run."""
        self._kernel.set(2, np.int32(1))
        self._afresh = True

    def run(self, inputs: Sequence[Data]) -> list[Data]:
        """Run once."""
        given, made = self._one
        for position, view in given:
            view[...] = inputs[position]
        self._launch(1)
        return [view.copy() for view in made]

    def run_each(self, steps: Sequence[Sequence[Data]]) -> list[list[Data]]:
        """Run so many times, at most as often as `most` says."""
        for position, view in self._given:
            for step, inputs in enumerate(steps):
                view[step] = inputs[position]
        self._launch(len(steps))
        results = [view[:len(steps)].copy() for view in self._made]
        # A plain index would make numbers of scalar tensors.
        return [[found[step, ...] for found in results] for step in range(len(steps))]

    def _launch(self, steps: int) -> None:
        if steps != self._steps:
            self._kernel.set(1, np.int32(steps))
            self._steps = steps
        self._kernel.enqueue()
        code = self._finish()
        if code:
            check("clFinish", code)
        if self._afresh:
            self._kernel.set(2, np.int32(0))
            self._afresh = False


def _passage(tensors: Sequence[Tensor]) -> Passage:
    places: dict[Tensor, int] = {}
    end = 0
    for tensor in dict.fromkeys(tensors):
        places[tensor] = end
        end += -(-tensor.nbytes // ALIGN) * ALIGN
    return Passage(end, places)


def _view(memory: Data, passage: Passage, tensor: Tensor, steps: int = 1) -> Data:
    """A tensor's place in every step: steps x its shape."""
    inner = np.empty(tensor.shape, tensor.dtype).strides
    return np.ndarray((steps, *tensor.shape), tensor.dtype, memory.data, passage.places[tensor],
                      (passage.stride, *inner))
