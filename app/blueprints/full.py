"""What callers of a model hear whose queue has no room left: thousands a second, if need be."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass

from app.blueprints.ways import Route
from app.front.head import Head
from app.front.reply import Reply, Stamped, Template
from app.predictor.gate import Gate
from app.repository.meter import rejected
from monitoring.http import Exchanges

# Stands for a request's id in an answer that is made once a second.
MARK = "#" * 32
_MODELS = 256
# For so long what was found out about a full queue is taken to be true still.
_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Full:
    until: float
    room: int
    template: Template


@dataclass(slots=True)
class _Owed:
    """Refusals of one route that are still to be counted: their number and the bytes of all."""

    status: int
    answers: int = 0
    rejected: int = 0
    received: int = 0
    sent: int = 0


class FullQueues:
    """Refuses for a while what was refused a moment ago, without asking anew."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._full: dict[tuple[str | None, str | None], _Full] = {}
        self._owed: dict[Exchanges, _Owed] = {}
        self._ids = os.urandom(8).hex()
        self._count = itertools.count()
        # Those that nobody has told of yet.
        self.unsaid = 0

    def again(self, route: Route, head: Head) -> Stamped | None:
        """Refuse as a moment ago; None if that is not known to be right."""
        full = self._full.get((route.name, route.version))
        if (
            full is None
            or self._gate.inside(route.name or "") < full.room
            or full.until <= time.monotonic()
            or "HTTP_X_REQUEST_ID" in head.fields
        ):
            return None
        self.unsaid += 1
        return self._stamped(route, head, full, 1)

    def refuse(self, route: Route, head: Head, room: int, reply: Reply) -> Stamped:
        """Refuse one that the gate has refused, and counted; reply has MARK for its id."""
        if len(self._full) > _MODELS:
            self._full.clear()
        full = _Full(time.monotonic() + _SECONDS, room, Template(reply, MARK))
        self._full[route.name, route.version] = full
        return self._stamped(route, head, full, 0)

    def _stamped(self, route: Route, head: Head, full: _Full, uncounted: int) -> Stamped:
        template = full.template
        owed = self._owed.get(route.counts)
        if owed is None:
            owed = self._owed[route.counts] = _Owed(template.status)
        owed.rejected += uncounted
        owed.answers += 1
        owed.received += head.length or 0
        owed.sent += template.length
        return Stamped(template, f"{self._ids}{next(self._count):016x}")

    def settle(self) -> None:
        """Count the refusals since the last time: counting costs as much as all else of them."""
        for counts, owed in self._owed.items():
            rejected("queue_full", owed.rejected)
            counts.count(owed.status, 0.0, owed.received, owed.sent, owed.answers)
        self._owed.clear()
