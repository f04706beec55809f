"""Requests to a plan that only has kernels: copies and launches bound beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from app.engine.ir import Data, Tensor
from app.engine.opencl.kernel import Kernel, address, check, library
from app.engine.opencl.recording import Recording
from app.engine.opencl.whole_chain import WholeChain, shares_memory

if TYPE_CHECKING:
    from app.engine.opencl.executor import Executor


# To copy so much takes less time than to ask where an array lies. Units: bytes.
SMALL = 4096
# So many steps wait for the device together: what waiting costs is little then.
STEPS = 16


class Direct(Protocol):
    """Runs a plan with arrays of its shapes; results are arrays. Not thread-safe."""

    # So many steps run_each takes at once.
    most: int

    def run(self, inputs: Sequence[Data]) -> list[Data]:
        """Run once."""

    def run_each(self, steps: Sequence[Sequence[Data]]) -> list[list[Data]]:
        """Run for each step's inputs, one after the other; the device's states go on."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A transfer of one tensor; position is its place among the graph's inputs.

    staged: memory of the host that small values pass through, and where it lies.
    """

    position: int
    handle: int
    nbytes: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    # Kept because the driver does not keep it.
    buffer: Any
    staged: Data | None
    address: int


class Transfers:
    """Uploads, launches, downloads: nothing is looked up at run time, and nothing waits but the
    last download."""

    most = STEPS

    def __init__(self, executor: Executor, steps: Sequence[Kernel | Recording]) -> None:
        graph, plan = executor.plan.graph, executor.plan
        self._queue = executor.queue.int_ptr
        self._write, self._read = library().clEnqueueWriteBuffer, library().clEnqueueReadBuffer
        self._steps: list[Callable[[], None]] = [s.enqueue for s in steps]
        # A recording must not be enqueued again before it has finished.
        kernels = [k for s in steps for k in (s.kernels if isinstance(s, Recording) else [s])]
        self._kernels: list[Callable[[], None]] = [k.enqueue for k in kernels]
        self._uploads = [_copy(executor, t, i) for i, t in enumerate(graph.inputs)
                         if t.size and plan.storage(t)[0] in plan.on_device]
        self._downloads = [_copy(executor, t, i) for i, t in enumerate(graph.outputs)]

    def run(self, inputs: Sequence[Data]) -> list[Data]:
        """Run once."""
        kept = []
        for copy in self._uploads:
            array = inputs[copy.position]
            if copy.staged is not None:
                copy.staged[...] = array
                self._upload(copy, copy.address)
            else:
                kept.append(_plain(copy, array))
                self._upload(copy, address(kept[-1]))
        for enqueue in self._steps:
            enqueue()
        results: list[Data] = []
        last = len(self._downloads) - 1
        for position, copy in enumerate(self._downloads):
            made = np.empty(copy.shape, copy.dtype) if copy.staged is None else copy.staged
            results.append(made)
            self._download(copy, copy.address or address(made), position == last)
        # The next run writes where small results came to.
        return [r if c.staged is None else r.copy()
                for r, c in zip(results, self._downloads, strict=True)]

    def run_each(self, steps: Sequence[Sequence[Data]]) -> list[list[Data]]:
        """Run for each step's inputs: all is enqueued before the first wait."""
        kept: list[Data] = []
        answers: list[list[Data]] = []
        for step, inputs in enumerate(steps):
            for copy in self._uploads:
                kept.append(_plain(copy, inputs[copy.position]))
                self._upload(copy, address(kept[-1]))
            for enqueue in self._kernels:
                enqueue()
            answers.append([np.empty(c.shape, c.dtype) for c in self._downloads])
            for position, (copy, made) in enumerate(zip(self._downloads, answers[-1],
                                                        strict=True)):
                self._download(copy, address(made), step == len(steps) - 1
                               and position == len(self._downloads) - 1)
        return answers

    def _upload(self, copy: _Copy, where: int) -> None:
        code = self._write(self._queue, copy.handle, 0, 0, copy.nbytes, where, 0, None, None)
        if code:
            check("clEnqueueWriteBuffer", code)

    def _download(self, copy: _Copy, where: int, wait: bool) -> None:
        code = self._read(self._queue, copy.handle, wait, 0, copy.nbytes, where, 0, None, None)
        if code:
            check("clEnqueueReadBuffer", code)


def direct(executor: Executor, steps: Sequence[Any]) -> Direct | None:
    """The plan as transfers and launches, if it is nothing else and every result is made by a
    kernel."""
    plan = executor.plan
    plain = all(isinstance(s, Kernel | Recording) for s in steps)
    given = {plan.storage(t)[0] for t in plan.graph.inputs}
    made = all(t.data is None and t.size and root in plan.on_device and root not in given
               for t in plan.graph.outputs for root in (plan.storage(t)[0],))
    if not plain or not made or not plan.graph.outputs:
        return None
    if executor.chain is not None and shares_memory(executor.queue.device):
        return WholeChain(executor, *executor.chain)
    return Transfers(executor, steps)


def _plain(copy: _Copy, array: Data) -> Data:
    if array.dtype == copy.dtype and array.flags.c_contiguous:
        return array
    return np.ascontiguousarray(array, copy.dtype)


def _copy(executor: Executor, tensor: Tensor, position: int) -> _Copy:
    buffer = executor.memory(tensor)
    staged = np.empty(tensor.shape, tensor.dtype) if tensor.nbytes <= SMALL else None
    return _Copy(position, buffer.int_ptr, tensor.nbytes, np.dtype(tensor.dtype), tensor.shape,
                 buffer, staged, 0 if staged is None else address(staged))
