"""One request to a plan that only has kernels: copies and launches bound beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.engine.ir import Data, Tensor
from app.engine.opencl.kernel import Kernel, address, check, library
from app.engine.opencl.recording import Recording

if TYPE_CHECKING:
    from app.engine.opencl.executor import Executor


# To copy so much takes less time than to ask where an array lies. Units: bytes.
SMALL = 4096


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


class Direct:
    """Uploads, launches, downloads: nothing is looked up at run time, and nothing waits but the
    last download."""

    def __init__(self, executor: Executor, steps: Sequence[Kernel | Recording]) -> None:
        graph, plan = executor.plan.graph, executor.plan
        self._queue = executor.queue.int_ptr
        self._write, self._read = library().clEnqueueWriteBuffer, library().clEnqueueReadBuffer
        self._steps: list[Callable[[int], None]] = [s.enqueue for s in steps]
        self._uploads = [_copy(executor, t, i) for i, t in enumerate(graph.inputs)
                         if t.size and plan.storage(t)[0] in plan.on_device]
        self._downloads = [_copy(executor, t, i) for i, t in enumerate(graph.outputs)]

    def run(self, inputs: Sequence[Data]) -> list[Data]:
        """Run once with arrays of the plan's shapes; the results are arrays."""
        queue, kept = self._queue, []
        for copy in self._uploads:
            array = inputs[copy.position]
            if copy.staged is not None:
                copy.staged[...] = array
                where = copy.address
            else:
                if array.dtype != copy.dtype or not array.flags.c_contiguous:
                    array = np.ascontiguousarray(array, copy.dtype)
                kept.append(array)
                where = address(array)
            code = self._write(queue, copy.handle, 0, 0, copy.nbytes, where, 0, None, None)
            if code:
                check("clEnqueueWriteBuffer", code)
        for enqueue in self._steps:
            enqueue(queue)
        results: list[Data] = []
        last = len(self._downloads) - 1
        for position, copy in enumerate(self._downloads):
            made = np.empty(copy.shape, copy.dtype) if copy.staged is None else copy.staged
            results.append(made)
            where = copy.address or address(made)
            code = self._read(queue, copy.handle, position == last, 0, copy.nbytes, where, 0, None,
                              None)
            if code:
                check("clEnqueueReadBuffer", code)
        # The next run writes where small results came to.
        return [r if c.staged is None else r.copy()
                for r, c in zip(results, self._downloads, strict=True)]


def direct(executor: Executor, steps: Sequence[Any]) -> Direct | None:
    """The plan as transfers and launches, if it is nothing else and every result is made by a
    kernel."""
    plan = executor.plan
    plain = all(isinstance(s, Kernel | Recording) for s in steps)
    given = {plan.storage(t)[0] for t in plan.graph.inputs}
    made = all(t.data is None and t.size and root in plan.on_device and root not in given
               for t in plan.graph.outputs for root in (plan.storage(t)[0],))
    return Direct(executor, steps) if plain and made and plan.graph.outputs else None


def _copy(executor: Executor, tensor: Tensor, position: int) -> _Copy:
    buffer = executor.memory(tensor)
    staged = np.empty(tensor.shape, tensor.dtype) if tensor.nbytes <= SMALL else None
    return _Copy(position, buffer.int_ptr, tensor.nbytes, np.dtype(tensor.dtype), tensor.shape,
                 buffer, staged, 0 if staged is None else address(staged))
