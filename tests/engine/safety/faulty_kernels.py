"""Kernels with the faults that the checker has to find; run by test_oclgrind.py."""

from __future__ import annotations

import sys

import numpy as np
import pyopencl as cl

KERNELS = {
    "beyond": "__kernel void k(__global float* y) { y[get_global_id(0) + 1] = 1.0f; }",
    "race": "__kernel void k(__global float* y) { y[0] = get_global_id(0); }",
    "unwritten": "__kernel void k(__global float* y)"
                 " { __local float t[8]; if (t[get_local_id(0)] > 0.0f) y[0] = 1.0f; }",
}


def main(fault: str) -> None:
    """Run one of them on the only device there is."""
    device = cl.get_platforms()[0].get_devices()[0]
    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    memory = cl.Buffer(context, cl.mem_flags.READ_WRITE, 8 * np.dtype("f4").itemsize)
    kernel = cl.Kernel(cl.Program(context, KERNELS[fault]).build(), "k")
    kernel.set_args(memory)
    cl.enqueue_nd_range_kernel(queue, kernel, (8,), (8,))
    queue.finish()


if __name__ == "__main__":
    main(sys.argv[1])
