"""What the driver reports, as the errors that the rest of the server knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyopencl as cl

from app.errors import DeviceError, DeviceMemoryError

# Codes by which a driver says that memory ran out, not that the device failed.
# Source: OpenCL 1.2 specification, section 5.2.1 and appendix A.
FULL = {cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE, cl.status_code.OUT_OF_HOST_MEMORY,
        cl.status_code.INVALID_BUFFER_SIZE}


def failure(code: int, words: str, needed: int = 0) -> DeviceError:
    """The error that a status code of the driver means.

    Units: needed in bytes, 0 where only the driver knows it.
    """
    return DeviceMemoryError(needed, 0) if code in FULL else DeviceError(words)


@contextmanager
def translated(needed: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Turn what pyopencl raises inside into DeviceError, or DeviceMemoryError where memory is out.

    Units: needed in bytes, asked for only then.
    Raises: DeviceError, DeviceMemoryError.
    """
    try:
        yield
    except cl.Error as error:
        raise failure(error.code, f"the driver failed: {error}", needed()) from error
