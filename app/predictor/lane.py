"""The bounded queue in front of one session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import DeadlineExceeded, Overloaded


class Lane:
    """Lets as many requests run at once as the session can, and so many more wait.

    Units: deadlines are time.monotonic() seconds.
    """

    def __init__(self, name: str, width: int, waiting: int) -> None:
        self._name = name
        self._room = width + waiting
        self._inside = 0
        self.width = width
        self._turn = threading.Condition()
        self._running = 0

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Wait for a place.

        Raises: Overloaded if too many wait; DeadlineExceeded if the place comes too late.
        """
        self._enter(deadline)
        try:
            yield
        finally:
            with self._turn:
                self._running -= 1
                self._inside -= 1
                self._turn.notify()

    def waiting(self) -> int:
        """Count the requests that wait now."""
        return max(0, self._inside - self._running)

    def _enter(self, deadline: float) -> None:
        with self._turn:
            if self._inside >= self._room:
                raise Overloaded(
                    f"{self._inside} requests are running or waiting for model {self._name!r}; "
                    "come back later"
                )
            self._inside += 1
            while self._running >= self.width:
                left = deadline - time.monotonic()
                if left <= 0 or not self._turn.wait(left):
                    self._inside -= 1
                    raise DeadlineExceeded(
                        f"model {self._name!r} was busy until the request's time was up"
                    )
            self._running += 1
