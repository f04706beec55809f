"""Who has how many connections: memory that the workers of one master share.

The kernel gives a new connection to whichever worker comes first, which on a busy machine is often
the one that took the last: all connections of a client then end in one worker.
"""

from __future__ import annotations

import mmap

# A worker that has not been heard of for so long counts no more: it is dead, or hangs.
SILENT_SECONDS = 1.0
# Of each place: when it was last heard of, its connections, and its worker's number.
_FIELDS = 3


class Peers:
    """Made in the master, before it forks.

    Units: places for so many workers; of two in one place only the balance suffers.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._cells = memoryview(mmap.mmap(-1, 8 * _FIELDS * places)).cast("d")

    def join(self, number: int) -> Peer:
        """Take the place of the worker with this number, counted from 1 on."""
        place = number % self._places * _FIELDS
        self._cells[place + 2] = number
        return Peer(self._cells, place)

    def joined(self, number: int) -> bool:
        """Tell whether the worker with this number has come so far, whatever became of it."""
        return self._cells[number % self._places * _FIELDS + 2] == number


class Peer:
    """One worker among its peers.

    Units: now in time.monotonic() seconds, which all processes share.
    """

    def __init__(self, cells: memoryview[float], place: int) -> None:
        self._cells = cells
        self._place = place
        self._yielded_to: float | None = None

    def note(self, count: int, now: float) -> None:
        """Tell the others how many connections this worker has."""
        self._cells[self._place + 1] = count
        self._cells[self._place] = now

    def accompanied(self, now: float) -> bool:
        """Tell whether another worker takes requests."""
        return any(
            place != self._place and now - self._cells[place] < SILENT_SECONDS
            for place in range(0, len(self._cells), _FIELDS)
        )

    def leave(self) -> None:
        """Count no more."""
        self._cells[self._place] = 0.0

    def yields(self, count: int, now: float) -> bool:
        """Tell whether a new connection should be left to another worker for a moment.

        Once only, unless that one moves: nobody waits for a worker that accepts nothing.
        """
        fewest = min(
            (
                self._cells[place + 1]
                for place in range(0, len(self._cells), _FIELDS)
                if place != self._place and now - self._cells[place] < SILENT_SECONDS
            ),
            default=None,
        )
        if fewest is None or count <= fewest + 1 + fewest // 4:
            self._yielded_to = None
            return False
        waited, self._yielded_to = self._yielded_to, fewest
        return waited != fewest
