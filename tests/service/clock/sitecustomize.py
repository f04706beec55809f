"""Lets a test set the wall clock of a real server: found by Python through PYTHONPATH.

The file in $CLOCK has the seconds by which it is wrong.
"""

import os
import time
from pathlib import Path

FILE = Path(os.environ["CLOCK"])
right = time.time


def _wrong() -> float:
    return right() + float(FILE.read_text() or 0)


time.time = _wrong
time.time_ns = lambda: int(_wrong() * 1e9)
