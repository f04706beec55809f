"""Whose turn it is on the device, and for how long already."""

from __future__ import annotations

import threading
from time import monotonic

# A first run may compile in the driver, far longer than any later run takes.
FIRST_SECONDS = 300.0


class Turns:
    """One thread at a time on the device's queue; a turn may be taken again within itself."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # When the present turn counts as begun; None between turns.
        self._since: float | None = None

    def __call__(self, first: bool = False) -> _Turn:
        """A context that waits for the device and has it; first: for a run that the driver may
        compile for."""
        return _Turn(self, FIRST_SECONDS if first else 0.0)

    def take(self, seconds: float) -> float | None:
        """Begin a turn that counts only after some seconds; gives when the outer one began."""
        self._lock.acquire()
        before, self._since = self._since, monotonic() + seconds
        return before

    def give(self, before: float | None) -> None:
        """End it, and let the outer turn count from now on."""
        self._since = None if before is None else monotonic()
        self._lock.release()

    @property
    def busy_seconds(self) -> float:
        """How long the present turn has lasted, beyond what a first run may; 0 between turns."""
        since = self._since
        return 0.0 if since is None else max(0.0, monotonic() - since)


class _Turn:
    # A generator would take three times as long, which is a tenth of what a small model takes.
    __slots__ = ("_before", "_seconds", "_turns")

    def __init__(self, turns: Turns, seconds: float) -> None:
        self._turns, self._seconds = turns, seconds

    def __enter__(self) -> None:
        self._before = self._turns.take(self._seconds)

    def __exit__(self, *_: object) -> None:
        self._turns.give(self._before)
