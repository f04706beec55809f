"""Built programs on disk for all processes: each is compiled once, by whoever comes first."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyopencl as cl

from app.engine.opencl.kernel import check, library

MAGIC = b"RX5KERN1"
# Source: CL/cl.h.
BINARY_SIZES, BINARIES = 0x1165, 0x1166
# Who waits longer for another process compiles itself: that one may hang in its driver.
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.02
# Each program's lock is a byte of one file, the system's own memory of who holds what.
BYTES = 1 << 31


def binary_of(program: cl.Program) -> bytes:
    """The machine code of a program for its one device.

    pyopencl asks for it with Python's lock held, and PoCL compiles only now: for seconds, in which
    no other thread could do anything. A plain C call lets them.
    Raises: DeviceError.
    """
    api, handle = library(), program.int_ptr
    size = ctypes.c_size_t()
    check("clGetProgramInfo", api.clGetProgramInfo(
        handle, BINARY_SIZES, ctypes.sizeof(size), ctypes.byref(size), None))
    room = ctypes.create_string_buffer(size.value)
    where = ctypes.c_void_p(ctypes.addressof(room))
    check("clGetProgramInfo", api.clGetProgramInfo(
        handle, BINARIES, ctypes.sizeof(where), ctypes.byref(where), None))
    return room.raw


class Binaries:
    """A folder of binaries by key; None keeps nothing. Its owner sees to it that no two threads of
    one process ask for the same key at once: the system knows processes only."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._locks: int | None = None
        self._opening = threading.Lock()

    def read(self, key: str) -> bytes | None:
        """The binary as it was written; None if there is none, or a damaged one."""
        if self._directory is None:
            return None
        try:
            blob = (self._directory / key).read_bytes()
        except OSError:
            return None
        head, binary = blob[:40], blob[40:]
        return binary if head == MAGIC + hashlib.sha256(binary).digest() else None

    def write(self, key: str, program: cl.Program) -> None:
        """Keep a program's binary; warns where that cannot be."""
        if self._directory is None:
            return
        # PoCL makes the machine code only when it is asked for it, or at the first run.
        binary = binary_of(program)
        path = self._directory / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + hashlib.sha256(binary).digest() + binary)
            os.replace(name, path)
        except OSError as error:
            warnings.warn(f"the kernel cache {path.parent} cannot be written: {error}",
                          stacklevel=2)

    @contextmanager
    def compiling(self, key: str) -> Iterator[None]:
        """Keep other processes from compiling the same meanwhile; they find it on disk then."""
        place = int(key[:8], 16) % BYTES
        held = self._take(place)
        try:
            yield
        finally:
            if held is not None:
                fcntl.lockf(held, fcntl.LOCK_UN, 1, place)

    def _take(self, place: int) -> int | None:
        locks = self._opened()
        end = time.monotonic() + PATIENCE_SECONDS
        while locks is not None and time.monotonic() < end:
            try:
                fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except BlockingIOError:
                time.sleep(POLL_SECONDS)
            except OSError:
                # Some file systems have no locks.
                return None
            else:
                return locks
        return None

    def _opened(self) -> int | None:
        """The file of locks, opened once: closing it anywhere would give all of them up."""
        with self._opening:
            if self._locks is None and self._directory is not None:
                try:
                    self._directory.mkdir(parents=True, exist_ok=True)
                    self._locks = os.open(self._directory / "compiling.lock",
                                          os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                except OSError:
                    return None
            return self._locks

    def __del__(self) -> None:
        if self._locks is not None:
            os.close(self._locks)
