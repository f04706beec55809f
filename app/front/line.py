"""Requests whose answers cost so little that the loop gives them itself, one after the other.

Handing each to a thread would cost as much again, and the more of them there are the more the
threads would get in each other's way: with 16 callers of a small model a worker that answers them
itself gives two to three times as many answers.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable

from app.front.body import Buffer
from app.front.connection import Connection
from app.front.crew import Crew
from app.front.head import Head
from app.front.service import Service

# In one turn of the loop; others that have come must not wait longer.
TURN_SECONDS = 0.006
# So long they wait for a model that threads are busy with: then one of them may as well take them.
LATE_SECONDS = 0.005
# How often those who wait are counted: gauges cost as much as a small answer.
TELL_SECONDS = 0.05
# How long until such a model is looked at again.
_BUSY_SECONDS = 0.0005
# The connection, its head, its body, and for how many seconds it has waited in line; None if a
# thread answers it.
Compute = Callable[[Connection, Head, Buffer, "float | None"], None]


class Line:
    """First in, first out; belongs to the loop."""

    def __init__(self, service: Service, crew: Crew, compute: Compute) -> None:
        self._service = service
        self._crew = crew
        self._compute = compute
        self._line: deque[tuple[Connection, Head, Buffer, float]] = deque()
        # When it was last told how many wait; 0 if nobody did. Units: time.monotonic() seconds.
        self._told = 0.0

    def join(self, connection: Connection, head: Head, body: Buffer) -> None:
        """Stand behind the others."""
        self._line.append((connection, head, body, time.monotonic()))

    def work(self) -> float | None:
        """Answer some, for a share of a turn.

        Returns the seconds after which there is more to do; None if there is nothing.
        """
        pause = self._work()
        if self._line or self._told:
            self._tell(time.monotonic())
        return pause

    def _tell(self, now: float) -> None:
        if not self._line or now >= self._told + TELL_SECONDS:
            self._told = now if self._line else 0.0
            self._service.waiting([connection.route for connection, *_ in self._line])

    def _work(self) -> float | None:
        until = time.monotonic() + TURN_SECONDS
        while self._line and (now := time.monotonic()) < until:
            connection, head, body, since = self._line[0]
            waited = now - since
            if self._service.idle(connection.route):
                self._line.popleft()
                self._compute(connection, head, body, waited)
            elif waited < LATE_SECONDS:
                return _BUSY_SECONDS
            else:
                self._line.popleft()
                self._crew.do(functools.partial(self._compute, connection, head, body, None))
        return 0.0 if self._line else None
