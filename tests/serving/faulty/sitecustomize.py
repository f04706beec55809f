"""Puts a device that lies, or hangs, under a real server: found by Python through PYTHONPATH.

The folder in $FAULTS rules: a file "lie" flips a bit of every answer, "flip" one bit of a weight
that lies on the device, "lost" fails as a driver does that lost its card, "abort" as one that ends
the process, "hang" never answers, and "build" lets the driver's compiler refuse every kernel. With
"fork" no process can be started. On the CPU a first value of 13 or 14 is deadly, and at 15 the
kernel, whose count of such victims is the file "oom", kills for want of memory.
"""

import ctypes
import errno
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import DeviceError

FOLDER = os.environ.get("FAULTS")


class Faulty:
    """A session of the OpenCL backend that obeys the folder."""

    def __init__(self, session: Any, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._flipped = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, inputs: Any) -> Any:
        with self._session._model.runtime.turn():
            while (self._folder / "hang").exists():
                time.sleep(0.05)
        if (self._folder / "abort").exists():
            ctypes.CDLL(None).abort()
        if (self._folder / "lost").exists():
            raise DeviceError("the driver failed: clFinish failed: OUT_OF_RESOURCES")
        outputs = self._session.run(inputs)
        if (self._folder / "lie").exists():
            first = next(iter(outputs))
            outputs[first] = outputs[first].copy()
            outputs[first].reshape(-1).view(np.uint32)[0] ^= np.uint32(1 << 14)
        return outputs

    def damaged(self) -> Any:
        if (self._folder / "flip").exists() and not self._flipped:
            self._flipped = True
            self._flip()
        return self._session.damaged()

    def _flip(self) -> None:
        import pyopencl as cl  # only after the fork

        model = self._session._model
        constant = max(model._weights.uploaded(), key=lambda one: one.nbytes)
        held = np.empty(constant.nbytes, "u1")
        cl.enqueue_copy(model.runtime.queue, held, constant.buffer)
        held[0] ^= 1
        cl.enqueue_copy(model.runtime.queue, constant.buffer, held)


if FOLDER:
    _fork, _popen = os.fork, subprocess.Popen.__init__

    def _room() -> None:
        if (Path(str(FOLDER)) / "fork").exists():
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    def _forked() -> int:
        _room()
        return _fork()

    def _opened(*args: Any, **options: Any) -> None:
        _room()
        _popen(*args, **options)

    os.fork = _forked
    subprocess.Popen.__init__ = _opened  # type: ignore[method-assign]

    from app.backends import choice
    from app.repository import oom

    def _kills() -> int:
        path = Path(str(FOLDER)) / "oom"
        return int(path.read_text()) if path.exists() else 0

    oom.kills = _kills  # type: ignore[assignment]

    _open = choice.BACKENDS["opencl"]

    def _break_compiler() -> None:
        from app.engine.opencl import programs  # only after the fork

        ready = programs.Programs._ready

        def refused(own: Any, source: str, defines: Any, text: str) -> str:
            return ready(own, source, defines, f"#error no compiler today\n{text}")

        programs.Programs._ready = refused  # type: ignore[method-assign]

    def _faulty(source: Any, options: Any) -> Any:
        if (Path(str(FOLDER)) / "build").exists():
            _break_compiler()
        return Faulty(_open(source, options), Path(str(FOLDER)))

    choice.BACKENDS["opencl"] = _faulty  # type: ignore[index]
    _cpu = choice.BACKENDS["tflite"]

    class Deadly:
        """A CPU session that ends its process at a first value of 13 to 15."""

        def __init__(self, session: Any) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

        def run(self, inputs: Any) -> Any:
            first = next(iter(inputs.values())).flat[0]
            if first == 13:
                ctypes.string_at(0)
            if first == 14:
                ctypes.CDLL(None).abort()
            if first == 15:
                time.sleep(2.5)  # longer than between two looks
                (Path(str(FOLDER)) / "oom").write_text(str(oom.kills() + 1))
                os.kill(os.getpid(), signal.SIGKILL)
            return self._session.run(inputs)

    choice.BACKENDS["tflite"] = lambda *args: Deadly(_cpu(*args))  # type: ignore[index]
