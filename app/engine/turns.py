"""Whose turn it is on the device, and for how long already."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

# A first run may compile in the driver, far longer than any later run takes.
FIRST_SECONDS = 300.0


class Turns:
    """One thread at a time on the device's queue; a turn may be taken again within itself."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # When the present turn counts as begun; None between turns.
        self._since: float | None = None

    @contextmanager
    def __call__(self, first: bool = False) -> Iterator[None]:
        """Wait for the device and have it; first: for a run that the driver may compile for."""
        with self._lock:
            before = self._since
            self._since = monotonic() + (FIRST_SECONDS if first else 0.0)
            try:
                yield
            finally:
                self._since = None if before is None else monotonic()

    @property
    def busy_seconds(self) -> float:
        """How long the present turn has lasted, beyond what a first run may; 0 between turns."""
        since = self._since
        return 0.0 if since is None else max(0.0, monotonic() - since)
