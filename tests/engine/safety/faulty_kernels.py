"""Kernels with the faults that the checker has to find; run by test_oclgrind.py."""

from __future__ import annotations

import sys

import numpy as np
import pyopencl as cl
import pytest

from tests.engine.safety.apart import keep_buffers

KERNELS = {
    "beyond": "__kernel void k(__global float* y) { y[get_global_id(0) + 1] = 1.0f; }",
    "race": "__kernel void k(__global float* y) { y[0] = get_global_id(0); }",
    "unwritten": "__kernel void k(__global float* y)"
                 " { __local float t[8]; if (t[get_local_id(0)] > 0.0f) y[0] = 1.0f; }",
}
WRITE = "__kernel void k(__global float* y) { y[get_global_id(0)] = 1.0f; }"
READ = """__kernel void k(__global const float* x, __global float* y)
{
    if (x[get_global_id(0)] > 0.0f) y[get_global_id(0)] = 1.0f;
}"""


class Bench:
    """The only device there is, and what runs a kernel of 8 work-items on it."""

    def __init__(self) -> None:
        self.context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
        self.queue = cl.CommandQueue(self.context)
        # The engine keeps its programs, too.
        self.programs: list[cl.Program] = []

    def buffer(self, count: int) -> cl.Buffer:
        """Memory for so many floats."""
        return cl.Buffer(self.context, cl.mem_flags.READ_WRITE, count * np.dtype("f4").itemsize)

    def run(self, text: str, count: int, *buffers: cl.Buffer) -> None:
        """Build and run the kernel k of a source."""
        self.programs.append(cl.Program(self.context, text).build())
        kernel = cl.Kernel(self.programs[-1], "k")
        kernel.set_args(*buffers)
        cl.enqueue_nd_range_kernel(self.queue, kernel, (count,), (count,))
        self.queue.finish()


def again(write: bool) -> None:
    """Use 2 floats, let them go, use 8: written first, or not."""
    bench = Bench()
    for count in (2, 8):
        x, y = bench.buffer(count), bench.buffer(count)
        if write or count == 2:
            bench.run(WRITE, count, x)
        bench.run(READ, count if write else 2, x, y)
        del x, y


def main(fault: str, *how: str) -> None:
    """Run one of them; "kept" lets no buffer go."""
    with pytest.MonkeyPatch.context() as patch:
        if "kept" in how:
            keep_buffers(patch)
        if fault == "again":
            again(write="written" in how)
        else:
            bench = Bench()
            bench.run(KERNELS[fault], 8, bench.buffer(8))


if __name__ == "__main__":
    main(*sys.argv[1:])
