"""Try what a processor is said to have: a driver may lack the instruction, or name it otherwise."""

from __future__ import annotations

import numpy as np
import pyopencl as cl

from app.engine.ir import Launch, Tensor
from app.engine.opencl.kernel import Kernel
from app.engine.opencl.programs import Programs
from app.errors import KernelBuildError

WIDTHS = (8, 16)


def has_dots(programs: Programs, queue: cl.CommandQueue) -> bool:
    """Whether the driver builds the dot products of kernels/dots.cl, and they are right."""
    try:
        return all(_right(programs, queue, lanes) for lanes in WIDTHS)
    except (KernelBuildError, cl.Error):
        return False


def _right(programs: Programs, queue: cl.CommandQueue, lanes: int) -> bool:
    rng = np.random.default_rng(lanes)
    x = rng.integers(0, 256, (lanes, 4)).astype(np.uint8)
    w = rng.integers(-128, 128, (lanes, 4)).astype(np.int8)
    sums = rng.integers(-1000, 1000, lanes).astype(np.int32)
    exact = sums + (x.astype(np.int32) * w).sum(1)
    tensors = tuple(Tensor(name, (lanes,), "int32") for name in "xwy")
    program, name = programs.get(
        Launch("trial", "dots_trial", tensors, (1, 1, 1), (1, 1, 1), {"VW": lanes}))
    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    buffers = [cl.Buffer(queue.context, flags, hostbuf=a) for a in (x, w, sums)]
    Kernel(queue, program, name, buffers, (1, 1, 1), (1, 1, 1)).enqueue()
    cl.enqueue_copy(queue, sums, buffers[2], is_blocking=True)
    return bool(np.array_equal(sums, exact))
