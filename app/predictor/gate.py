"""Who is let in: decided from a request's head, before anything else is spent on it."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass

from app.errors import Overloaded, QuotaExceeded
from app.predictor.predictor import Predictor
from app.repository.meter import rejected

# So many still there make a crowd: the server is not waiting for its callers.
_CROWD = 3
# For about so long an answer counts in the estimate of the pace: one gap, in which the process was
# not given the CPU, says little of thousands a second.
_MEMORY_SECONDS = 0.2
_NAMES = 1024


@dataclass(frozen=True, slots=True)
class Ticket:
    """Stands for one request that was let in."""

    name: str


class _Pace:
    """A running estimate of the seconds between two answers of a model while others wait."""

    __slots__ = ("_answers", "_crowded", "_last", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._answers = 0.0
        self._last = 0.0
        self._crowded = False

    @property
    def seconds(self) -> float | None:
        """The estimate; None before the first answer."""
        return self._seconds / self._answers if self._answers else None

    def answered(self, crowded: bool) -> None:
        """Note an answer; crowded if others are still here."""
        now = time.monotonic()
        if self._crowded:
            gap = now - self._last
            kept = math.exp(-gap / _MEMORY_SECONDS)
            self._seconds = kept * self._seconds + gap
            self._answers = kept * self._answers + 1.0
        self._last, self._crowded = now, crowded


class Gate:
    """Counts the requests that are past the door, from their heads until they are answered.

    A lane counts those that wait in it; before it stand those that are being sent or decoded, and
    without a bound on them a queue would form there instead.
    Units: most in requests of one worker.
    """

    def __init__(self, predictor: Predictor, most: int) -> None:
        self._predictor = predictor
        self._most = most
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self._paces: dict[str, _Pace] = {}
        self._all = 0

    def enter(
        self, name: str, version: str | None, size: int, caller: str, seconds: float
    ) -> Ticket:
        """Let a request in; name "" if the model is not known yet.

        Units:  size in bytes of the body; seconds in which it has to be answered.
        Raises: Overloaded, QuotaExceeded.
        """
        try:
            pace = self._paces.get(name)
            room = self._predictor.room(name, version, size, caller, pace.seconds if pace else None)
            self._check_time(name, version, seconds)
            with self._lock:
                here = self._inside[name]
                if room is not None and here >= room:
                    raise Overloaded(
                        f"{here} requests are here for model {name!r}, as many as it may have; "
                        "come back later",
                        room=room,
                    )
                if self._all >= self._most:
                    raise Overloaded(
                        f"this worker has {self._all} requests, its limit; come back later"
                    )
                self._inside[name] += 1
                self._all += 1
        except (Overloaded, QuotaExceeded) as error:
            rejected(error.reason)
            raise
        return Ticket(name)

    def _check_time(self, name: str, version: str | None, seconds: float) -> None:
        here = self.inside(name)
        if not here:
            return
        in_time = self._predictor.patience(name, version, seconds)
        if in_time is not None and here >= in_time:
            raise Overloaded(
                f"{here} requests are here for model {name!r}, more than it can answer in the "
                f"{seconds:g} s that this one has; allow more time, or come back later",
                reason="deadline",
            )

    def inside(self, name: str) -> int:
        """Count the requests for a model that are here now; may be out of date when it is read."""
        return self._inside.get(name, 0)

    def leave(self, ticket: Ticket) -> None:
        """Let a request go."""
        name = ticket.name
        with self._lock:
            self._all -= 1
            left = self._inside[name] - 1
            self._inside[name] = left
            if left >= _CROWD or name in self._paces:
                self._pace_of(name).answered(left >= _CROWD)
            if not left:
                del self._inside[name]

    def _pace_of(self, name: str) -> _Pace:
        if len(self._paces) > _NAMES:
            self._paces.clear()
        return self._paces.setdefault(name, _Pace())
