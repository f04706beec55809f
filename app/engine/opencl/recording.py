"""Launches recorded once in a command buffer (cl_khr_command_buffer), enqueued by one call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int32, c_size_t, c_uint32, c_void_p
from typing import Any

import pyopencl as cl

from app.errors import DeviceError

EXTENSION = "cl_khr_command_buffer"
Call = tuple[Any, tuple[int, ...], tuple[int, ...]]
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
    """A sequence of launches on one queue; kernels and buffers must outlive it.

    Raises: DeviceError if the driver announces the extension but does not do it.
    """

    def __init__(self, queue: cl.CommandQueue, calls: Sequence[Call]) -> None:
        self._functions = _functions(queue.device.platform)
        self._queue = (c_void_p * 1)(queue.int_ptr)
        # The kernels are kept: the driver may look at them when the buffer is enqueued.
        self._calls = list(calls)
        error = c_int32(0)
        self._handle = self._functions["clCreateCommandBufferKHR"](
            1, self._queue, None, ctypes.byref(error))
        _check("clCreateCommandBufferKHR", error.value)
        for kernel, size, local in self._calls:
            self._record(kernel, size, local)
        self._call("clFinalizeCommandBufferKHR", self._handle)

    def _record(self, kernel: Any, size: tuple[int, ...], local: tuple[int, ...]) -> None:
        rank = len(size)
        extents = (c_size_t * rank)(*size)
        group = (c_size_t * rank)(*local)
        self._call("clCommandNDRangeKernelKHR", self._handle, None, None, kernel.int_ptr, rank,
                   None, extents, group, 0, None, None, None)

    def enqueue(self) -> None:
        """Enqueue all launches. The previous ones must have finished."""
        code = self._functions["clEnqueueCommandBufferKHR"](0, None, self._handle, 0, None, None)
        _check("clEnqueueCommandBufferKHR", code)

    def _call(self, name: str, *args: Any) -> None:
        _check(name, self._functions[name](*args))

    def close(self) -> None:
        """Release the buffer; the queue must be idle."""
        if self._handle:
            self._functions["clReleaseCommandBufferKHR"](self._handle)
            self._handle = None


def _check(name: str, code: int) -> None:
    if code:
        raise DeviceError(f"{name} failed with {code}")


def _functions(platform: Any) -> dict[str, Any]:
    library = ctypes.CDLL("libOpenCL.so.1")
    address = library.clGetExtensionFunctionAddressForPlatform
    address.restype, address.argtypes = c_void_p, (c_void_p, ctypes.c_char_p)
    found = {}
    for name, types in PROTOTYPES.items():
        pointer = address(platform.int_ptr, name.encode())
        if not pointer:
            raise DeviceError(f"the driver has no {name}")
        found[name] = ctypes.CFUNCTYPE(*types)(pointer)
    return found
