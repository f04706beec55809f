"""Who is let in: decided from a request's head, before anything else is spent on it."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from app.errors import Overloaded, QuotaExceeded
from app.predictor.predictor import Predictor
from app.repository.meter import rejected


@dataclass(frozen=True, slots=True)
class Ticket:
    """Stands for one request that was let in."""

    name: str


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
        self._all = 0

    def enter(self, name: str, version: str | None, size: int, caller: str) -> Ticket:
        """Let a request in; name "" if the model is not known yet.

        Units:  size in bytes of the body.
        Raises: Overloaded, QuotaExceeded.
        """
        try:
            room = self._predictor.room(name, version, size, caller)
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
        except Overloaded as error:
            rejected(error.reason)
            raise
        except QuotaExceeded:
            rejected("quota")
            raise
        return Ticket(name)

    def inside(self, name: str) -> int:
        """Count the requests for a model that are here now; may be out of date when it is read."""
        return self._inside.get(name, 0)

    def leave(self, ticket: Ticket) -> None:
        """Let a request go."""
        with self._lock:
            self._all -= 1
            self._inside[ticket.name] -= 1
            if not self._inside[ticket.name]:
                del self._inside[ticket.name]
