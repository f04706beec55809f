"""Build OpenCL programs, or load what was built before."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyopencl as cl

from app.engine.ir import Launch
from app.engine.opencl.binaries import Binaries
from app.engine.opencl.texts import Key, entries, kernels, key_of
from app.errors import KernelBuildError

# Products and sums contract to v_mac_f32; infinities and NaN keep their meaning.
OPTIONS = ("-cl-std=CL1.2", "-cl-mad-enable", "-cl-no-signed-zeros")
# A driver spends most of a load on what all programs have in common; but each kernel that is
# compiled costs it a walk over the whole program.
FEW, MANY = 8, 32


class Entry(NamedTuple):
    """A kernel: its program, and its name there."""

    program: cl.Program
    name: str


class Programs:
    """The built programs of one context.

    directory None keeps nothing on disk. Thread-safe: the models of one context share it.
    """

    def __init__(self, context: cl.Context, directory: Path | None) -> None:
        self._context = context
        self._device = context.devices[0]
        self._binaries = Binaries(directory)
        self._built: dict[str, cl.Program] = {}
        self._write = entries if self._device.type & cl.device_type.CPU else kernels
        self._entries: dict[Key, Entry] = {}
        self._lock = threading.Lock()
        self.compiled = 0

    def get(self, launch: Launch) -> Entry:
        """The kernel of a launch, from memory, disk or the compiler.

        Raises: KernelBuildError with the build log.
        """
        key = key_of(launch)
        with self._lock:
            if key not in self._entries:
                text, names = self._write([launch])
                shown = " ".join(f"{k}={v}" for k, v in launch.defines.items())
                self._entries[key] = Entry(self._ready(f"{launch.source}.cl", shown, text),
                                           names[0])
            return self._entries[key]

    def whole(self, text: str) -> cl.Program:
        """The program of a text that was written for one plan.

        Raises: KernelBuildError with the build log.
        """
        with self._lock:
            return self._ready("several kernels in one", "", text)

    def joined(self, launches: Iterable[Launch]) -> dict[Key, Entry]:
        """Kernels for all launches of one plan, many in one program. Empty if there are few
        kinds, which load quickly enough alone and may be shared then, or if one does not build.
        """
        wanted = {key_of(launch): launch for launch in launches}
        found: dict[Key, Entry] = {}
        for start in range(0, len(wanted) if len(wanted) >= FEW else 0, MANY):
            part: Sequence[Key] = list(wanted)[start:start + MANY]
            text, names = self._write([wanted[key] for key in part])
            try:
                program = self.whole(text)
            except KernelBuildError:
                # Alone each one tells whether it is to blame.
                return {}
            found.update({key: Entry(program, name)
                          for key, name in zip(part, names, strict=True)})
        return found

    def _ready(self, label: str, shown: str, text: str) -> cl.Program:
        key = self._key(text)
        if key not in self._built:
            self._built[key] = self._load(key) or self._compiled(key, label, shown, text)
        return self._built[key]

    def _compiled(self, key: str, label: str, shown: str, text: str) -> cl.Program:
        with self._binaries.compiling(key):
            # Another worker may have done it while this one waited for its turn.
            return self._load(key) or self._compile(key, label, shown, text)

    def _key(self, text: str) -> str:
        device = self._device
        parts = (device.platform.name, device.platform.version, device.name, device.version,
                 device.driver_version, " ".join(OPTIONS), text)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _load(self, key: str) -> cl.Program | None:
        binary = self._binaries.read(key)
        if binary is None:
            return None
        try:
            program = cl.Program(self._context, [self._device], [binary])
            return _quiet_build(program, ())
        except cl.Error:
            # The driver changed without changing its version: build from source again.
            return None

    def _compile(self, key: str, label: str, shown: str, text: str) -> cl.Program:
        self.compiled += 1
        program = cl.Program(self._context, text)
        try:
            built = _quiet_build(program, OPTIONS)
        except cl.Error as error:
            raise KernelBuildError(label, shown, str(error)) from error
        self._binaries.write(key, built)
        return built


def _quiet_build(program: cl.Program, options: tuple[str, ...]) -> cl.Program:
    with warnings.catch_warnings():
        # Compilers that talk without reason make pyopencl warn.
        warnings.simplefilter("ignore")
        return program.build(list(options), cache_dir=False)

