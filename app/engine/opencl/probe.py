"""Run in a child process: build a small wide-vector kernel, run it, compare."""

from __future__ import annotations

import sys

import numpy as np
import pyopencl as cl

from app.engine.opencl.kernel import Kernel

KERNEL = """
__kernel void probe(__global const float* x, __global float* y, __local float* t) {
    const int i = get_global_id(0), l = get_local_id(0);
    const float16 v = vload16(i, x) * 3.0f + 1.0f;
    t[l] = v.s0 + v.sf;
    barrier(CLK_LOCAL_MEM_FENCE);
    vstore16(v + t[get_local_size(0) - 1 - l] + exp(vload16(i, x) * 0.001f), i, y);
}
"""


def main(platform: int, device: int) -> int:
    """Probe one device; the exit code is 0 if it computes what numpy does."""
    handle = cl.get_platforms()[platform].get_devices()[device]
    context = cl.Context([handle])
    queue = cl.CommandQueue(context)
    x = np.arange(64 * 16, dtype=np.float32).reshape(64, 16)
    y = np.zeros_like(x)
    source = cl.Buffer(context, cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR, hostbuf=x)
    target = cl.Buffer(context, cl.mem_flags.WRITE_ONLY, y.nbytes)
    # Neither pyopencl's build cache nor its generated callers: both want a home to write to.
    program = cl.Program(context, KERNEL).build(cache_dir=False)
    kernel = Kernel(queue, program, "probe", [source, target, cl.LocalMemory(64)], (64,), (16,))
    kernel.enqueue()
    cl.enqueue_copy(queue, y, target, is_blocking=True)
    v = x * 3 + 1
    ends = (v[:, 0] + v[:, 15]).reshape(4, 16)[:, ::-1].reshape(64, 1)
    if not np.allclose(y, v + ends + np.exp(x * 0.001), rtol=1e-5):
        sys.stderr.write("the device computes wrong results\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
