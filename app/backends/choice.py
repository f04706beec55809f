"""Which backend runs a model: a table of them, and the fall back from the card to the CPU."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.backends.session import Session
from app.backends.tflite import TfliteOptions, TfliteSession
from app.errors import DeviceError, InvalidModel, ModelLoadFailed, ServingError, UnsupportedOp

# How the card keeps weights and activations, and by what share of its largest value an output may
# then differ from the CPU's. float16 halves their memory and keeps 11 bits of each: by root mean
# square the worst of 29 models was 0.0069 of its range off, single pixels of a mask by a third.
PRECISIONS: Mapping[str, float] = {"fp32": 1e-3, "fp16-storage": 1e-2}


@dataclass(frozen=True, slots=True)
class Source:
    """One model file as the backends need it.

    cpu: how the CPU runs it, or the error that says why it does not.
    precision: one of PRECISIONS; only the card knows it. reserve: told how many bytes of the card
    the model will hold in all when it grows after its load; raises DeviceMemoryError if there is no
    room.
    """

    name: str
    version: str
    sha256: str
    data: bytes
    cpu: TfliteOptions | ServingError
    precision: str = "fp32"
    reserve: Callable[[int], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class OpenclOptions:
    """What the OpenCL backend is told.

    pattern: see OPENCL_DEVICE; kernels: the folder of compiled programs and
    tuned choices, None keeps none.
    Units: tune_seconds is what the first load of a model on a GPU may spend on timing variants.
    """

    pattern: str = "auto"
    kernels: Path | None = None
    tune_seconds: float = 15.0

    def slot(self, pid: int) -> int:
        """Spread the workers over equal devices: children of one master have pids in a row."""
        return pid


Opener = Callable[[Source, OpenclOptions], Session]


def _open_tflite(source: Source, device: OpenclOptions) -> Session:
    if isinstance(source.cpu, UnsupportedOp):
        # Only models that no runtime takes whole pay for loading the engine here.
        from app.backends.parts import PartsSession

        return PartsSession(source.data, str(source.cpu))
    if isinstance(source.cpu, ServingError):
        raise source.cpu
    return TfliteSession(source.data, source.cpu)


def _open_opencl(source: Source, device: OpenclOptions) -> Session:
    """Load app.backends.opencl, which has open_session(source, device), when it is there."""
    name = "app.backends.opencl"
    if importlib.util.find_spec(name) is None:
        raise DeviceError("this installation has no OpenCL backend")
    opener: Opener = importlib.import_module(name).open_session
    return opener(source, device)


BACKENDS: Mapping[str, Opener] = {"opencl": _open_opencl, "tflite": _open_tflite}


def open_session(source: Source, backend: str, device: OpenclOptions) -> Session:
    """Load a model on the backend asked for; auto tries the card first, then the CPU.

    Raises: InvalidModel, ModelLoadFailed or DeviceError of the backend that was asked for.
    """
    if backend != "auto":
        return BACKENDS[backend](source, device)
    try:
        return BACKENDS["opencl"](source, device)
    except (DeviceError, InvalidModel, ModelLoadFailed) as error:
        session = BACKENDS["tflite"](source, device)
        session.reason = f"CPU, because {error}; {session.reason}"
        return session
