"""Puts a device that lies, or hangs, under a real server: found by Python through PYTHONPATH.

The folder in $FAULTS rules: a file "lie" flips a bit of every answer, "hang" never answers.
"""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = os.environ.get("FAULTS")


class Faulty:
    """A session of the OpenCL backend that obeys the folder."""

    def __init__(self, session: Any, folder: Path) -> None:
        self._session = session
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, inputs: Any) -> Any:
        while (self._folder / "hang").exists():
            time.sleep(0.05)
        outputs = self._session.run(inputs)
        if (self._folder / "lie").exists():
            first = next(iter(outputs))
            outputs[first] = outputs[first].copy()
            outputs[first].reshape(-1).view(np.uint32)[0] ^= np.uint32(1 << 14)
        return outputs


if FOLDER:
    from app.backends import choice

    _open = choice.BACKENDS["opencl"]

    def _faulty(source: Any, options: Any) -> Any:
        return Faulty(_open(source, options), Path(str(FOLDER)))

    choice.BACKENDS["opencl"] = _faulty  # type: ignore[index]
