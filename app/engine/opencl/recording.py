"""Launches recorded once in a command buffer (cl_khr_command_buffer), enqueued by one call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int32, c_uint32, c_void_p
from typing import Any

import pyopencl as cl

from app.engine.opencl.kernel import Kernel, check, library
from app.errors import DeviceError

EXTENSION = "cl_khr_command_buffer"
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "clCreateCommandBufferKHR": (c_void_p, c_uint32, c_void_p, c_void_p, c_void_p),
    "clFinalizeCommandBufferKHR": (c_int32, c_void_p),
    "clReleaseCommandBufferKHR": (c_int32, c_void_p),
    "clEnqueueCommandBufferKHR": (c_int32, c_uint32, c_void_p, c_void_p, c_uint32, c_void_p,
                                  c_void_p),
    "clCommandNDRangeKernelKHR": (c_int32, c_void_p, c_void_p, c_void_p, c_void_p, c_uint32,
                                  c_void_p, c_void_p, c_void_p, c_uint32, c_void_p, c_void_p,
                                  c_void_p),
}


def supported(device: Any) -> bool:
    """Whether the device's driver has command buffers."""
    return EXTENSION in device.extensions.split()


class Recording:
    """A sequence of launches on one in-order queue.

    Raises: DeviceError if the driver announces the extension but does not do it.
    """

    def __init__(self, queue: cl.CommandQueue, kernels: Sequence[Kernel]) -> None:
        self._functions = _functions(queue.device.platform)
        self._handle: int | None = None
        self.kernels = list(kernels)
        error = c_int32(0)
        self._handle = self._functions["clCreateCommandBufferKHR"](
            1, (c_void_p * 1)(queue.int_ptr), None, ctypes.byref(error))
        check("clCreateCommandBufferKHR", error.value)
        for k in self.kernels:
            self._call("clCommandNDRangeKernelKHR", self._handle, None, None, k.handle, k.rank,
                       None, k.size, k.local, 0, None, None, None)
        self._call("clFinalizeCommandBufferKHR", self._handle)
        self._enqueue = self._functions["clEnqueueCommandBufferKHR"]

    def enqueue(self) -> None:
        """Enqueue all launches; what was enqueued before must have finished."""
        code = self._enqueue(0, None, self._handle, 0, None, None)
        if code:
            check("clEnqueueCommandBufferKHR", code)

    def _call(self, name: str, *args: Any) -> None:
        check(name, self._functions[name](*args))

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            self._functions["clReleaseCommandBufferKHR"](handle)


def _functions(platform: Any) -> dict[str, Any]:
    found = {}
    for name, types in PROTOTYPES.items():
        pointer = library().clGetExtensionFunctionAddressForPlatform(platform.int_ptr,
                                                                     name.encode())
        if not pointer:
            raise DeviceError(f"the driver has no {name}")
        found[name] = ctypes.CFUNCTYPE(*types)(pointer)
    return found
