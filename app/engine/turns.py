"""Whose turn it is on the device, and for how long already."""

from __future__ import annotations

import threading
from time import monotonic

# A first run may compile in the driver, far longer than any later run takes.
FIRST_SECONDS = 300.0


class Turns:
    """One thread at a time on the device's queue; a turn may be taken again within itself."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # When the present turn counts as begun; None between turns. Units: monotonic() seconds.
        self.since: float | None = None
        # The same of the turns that it was taken within.
        self.outer: list[float | None] = []
        self._plain, self._first = _Turn(self, 0.0), _Turn(self, FIRST_SECONDS)

    def __call__(self, first: bool = False) -> _Turn:
        """A context that waits for the device and has it; first: for a run that the driver may
        compile for."""
        return self._first if first else self._plain

    @property
    def busy_seconds(self) -> float:
        """How long the present turn has lasted, beyond what a first run may; 0 between turns."""
        since = self.since
        return 0.0 if since is None else max(0.0, monotonic() - since)


class _Turn:
    """What counts only after some seconds; one for all turns, since an object for each, or a
    generator, would take a tenth of what a small model takes."""

    __slots__ = ("_seconds", "_turns")

    def __init__(self, turns: Turns, seconds: float) -> None:
        self._turns, self._seconds = turns, seconds

    def __enter__(self) -> None:
        turns = self._turns
        turns.lock.acquire()
        turns.outer.append(turns.since)
        turns.since = monotonic() + self._seconds

    def __exit__(self, *_: object) -> None:
        turns = self._turns
        # The outer turn counts from now on.
        turns.since = None if turns.outer.pop() is None else monotonic()
        turns.lock.release()
