"""One kernel with its arguments set, enqueued by a plain C call.

pyopencl generates Python code for every kernel object, which costs half a millisecond each: more
than all else of a cached load. So kernels are made and enqueued through the C interface itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int32, c_size_t, c_uint32, c_void_p, cast
from functools import cache, partial
from typing import Any

import numpy as np
import pyopencl as cl

from app.engine.ir import Data
from app.engine.opencl.failures import failure
from app.errors import DeviceError

POINTER_SIZE = ctypes.sizeof(c_void_p)
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "clCreateKernel": (c_void_p, c_void_p, c_char_p, c_void_p),
    "clSetKernelArg": (c_int32, c_void_p, c_uint32, c_size_t, c_void_p),
    "clSetKernelArgSVMPointer": (c_int32, c_void_p, c_uint32, c_void_p),
    "clFinish": (c_int32, c_void_p),
    "clEnqueueNDRangeKernel": (c_int32, c_void_p, c_void_p, c_uint32, c_void_p, c_void_p,
                               c_void_p, c_uint32, c_void_p, c_void_p),
    "clEnqueueWriteBuffer": (c_int32, c_void_p, c_void_p, c_uint32, c_size_t, c_size_t, c_void_p,
                             c_uint32, c_void_p, c_void_p),
    "clEnqueueReadBuffer": (c_int32, c_void_p, c_void_p, c_uint32, c_size_t, c_size_t, c_void_p,
                            c_uint32, c_void_p, c_void_p),
    "clGetProgramInfo": (c_int32, c_void_p, c_uint32, c_size_t, c_void_p, c_void_p),
    "clReleaseKernel": (c_int32, c_void_p),
    "clGetExtensionFunctionAddressForPlatform": (c_void_p, c_void_p, c_char_p),
}


@cache
def library() -> Any:
    """The OpenCL loader that pyopencl uses, wherever its wheel or the system keeps it.

    Raises: DeviceError if it cannot be opened.
    Source: dlsym(3): a lookup in a library also searches those that it was linked with. Only so
    it is the same loader for sure: a second one would know nothing of pyopencl's objects.
    """
    try:
        loaded = ctypes.CDLL(cl._cl.__file__)
        for function, (result, *arguments) in PROTOTYPES.items():
            entry = getattr(loaded, function)
            entry.restype, entry.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise DeviceError(f"pyopencl's OpenCL loader cannot be opened: {error}; "
                          "install ocl-icd-libopencl1 and pyopencl again") from error
    return loaded


def check(name: str, code: int) -> None:
    """Turn an OpenCL status into an exception.

    Raises: DeviceError unless code is 0; DeviceMemoryError if it says that memory is out.
    """
    if code:
        said = cl.status_code.to_string(code, "unknown status %d")
        raise failure(code, f"{name} failed: {said}")


def address(array: Data) -> int:
    """Where an array's first element lies in the host's memory."""
    # array.ctypes makes objects for it, which takes a microsecond.
    found: int = array.__array_interface__["data"][0]
    return found


def write(queue: int, buffer: Any, array: Data) -> None:
    """Enqueue a copy to the device; the caller keeps the array until the queue has finished.

    Raises: DeviceError.
    """
    if array.nbytes:
        check("clEnqueueWriteBuffer", library().clEnqueueWriteBuffer(
            queue, buffer.int_ptr, 0, 0, array.nbytes, address(array), 0, None, None))


class Kernel:
    """A kernel bound to its queue, its arguments and its extents; keeps them alive.

    args: memory of the device or None, numbers, arrays in memory that host and device share.
    Raises: DeviceError if the driver refuses an argument.
    """

    def __init__(self, queue: cl.CommandQueue, program: cl.Program, name: str, args: Sequence[Any],
                 size: tuple[int, ...], local: tuple[int, ...]) -> None:
        api = library()
        self._release = api.clReleaseKernel
        error = c_int32(0)
        self.handle = api.clCreateKernel(program.int_ptr, name.encode(), byref(error))
        check(f"clCreateKernel({name})", error.value)
        # The driver does not keep buffers alive: PoCL aborts if one goes before its kernel.
        self._kept, self._name = (queue, program, list(args)), name
        for position, arg in enumerate(args):
            self.set(position, arg)
        self.rank = len(size)
        self.size = (c_size_t * self.rank)(*size)
        self.local = (c_size_t * self.rank)(*local)
        # To make the arguments anew for each call takes longer than the call.
        nothing = c_void_p(None)
        self._enqueue = partial(
            api.clEnqueueNDRangeKernel, c_void_p(queue.int_ptr), c_void_p(self.handle),
            c_uint32(self.rank), nothing, cast(self.size, c_void_p), cast(self.local, c_void_p),
            c_uint32(0), nothing, nothing)

    def set(self, position: int, arg: Any) -> None:
        """Change an argument; numbers only after the kernel is made: nothing else is kept."""
        code = _set(library(), self.handle, position, arg)
        if code:
            check(f"clSetKernelArg({self._name}, {position})", code)

    def enqueue(self) -> None:
        """Enqueue one launch."""
        code = self._enqueue()
        if code:
            check("clEnqueueNDRangeKernel", code)

    def __del__(self) -> None:
        handle, self.handle = getattr(self, "handle", None), None
        if handle:
            self._release(handle)


def _set(api: Any, kernel: int, position: int, arg: Any) -> int:
    if isinstance(arg, np.generic):
        raw = arg.tobytes()
        return int(api.clSetKernelArg(kernel, position, len(raw), raw))
    if isinstance(arg, cl.LocalMemory):
        return int(api.clSetKernelArg(kernel, position, arg.size, None))
    if isinstance(arg, np.ndarray):
        return int(api.clSetKernelArgSVMPointer(kernel, position, address(arg)))
    handle = None if arg is None else arg.int_ptr
    return int(api.clSetKernelArg(kernel, position, POINTER_SIZE, byref(c_void_p(handle))))
