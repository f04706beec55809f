"""The short way for inference requests: from the worker's front to the predictor and back.

Flask's routing, contexts and response objects cost more than a small model does, and refusing a
request must cost next to nothing when there are too many. The functions that read, run and answer
are those of the blueprints.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from app.batching.lane import Lane
from app.blueprints.errors import PROBLEM, STATUS, UNEXPECTED, problem, retry_after
from app.blueprints.full import MARK, FullQueues
from app.blueprints.requests import WAITED, new_request_id, seconds_of
from app.blueprints.serving import Sent, Serving
from app.blueprints.ways import Route, Ways, named
from app.errors import ServingError, exhausted
from app.front.body import Buffer
from app.front.head import Head, json_length
from app.front.reply import Reply, Stamped
from app.predictor.costs import Costs, kind
from app.predictor.gate import Gate, Ticket
from app.wire.response import HEADER_LENGTH
from monitoring.http import in_flight

log = logging.getLogger("app.request")

_PRIORITY = b'"priority"'
# A large body is nearly all numbers: its few quotes are found many times faster than the word.
# Beyond so many quotes it is the other way round.
_QUOTES = 64
PROBLEM_TYPE = ("Content-Type", PROBLEM)
# How often refusals are logged, which come by the thousand when there are any.
_LOG_SECONDS = 1.0


class Express:
    """The service behind the front of one worker."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._gate = Gate(serving.predictor, serving.settings.queue_per_worker)
        self._ways = Ways(pages=bool(serving.settings.origins))
        self._full = FullQueues(self._gate)
        self.limit = serving.settings.max_body_bytes
        self._costs = Costs(serving.settings.workers)
        self._standing: set[Lane | None] = set()
        self._logged = 0.0

    def match(self, head: Head) -> Route | None:
        """Give the route of an inference that is JSON or the protocol's; None for all else."""
        return self._ways.match(head)

    def named(self, route: Route, body: Buffer) -> Route:
        """Find out which model a body is for, where that can be had cheaply."""
        return named(route, body)

    def admit(
        self, route: Route, head: Head, caller: str, read: bool
    ) -> Reply | Stamped | Ticket | None:
        """Let a request in, or refuse it."""
        if route.name is None and not read:
            return None
        again = self._full.again(route, head)
        if again is not None:
            return again
        try:
            seconds = seconds_of(head.fields, self._serving.settings.request_timeout_s)
            return self._gate.enter(
                route.name or "", route.version, head.length or 0, caller, seconds
            )
        except ServingError as error:
            self._say(route, error)
            return self._turn_away(route, head, error)

    def _say(self, route: Route, error: ServingError) -> None:
        now = time.monotonic()
        self._full.unsaid += 1
        if now - self._logged > _LOG_SECONDS:
            log.info(
                "refused %d requests, the last for %s", self._full.unsaid, route.name,
                extra={"problem": error.code, "detail": str(error)},
            )  # fmt: skip
            self._logged, self._full.unsaid = now, 0

    def _turn_away(self, route: Route, head: Head, error: ServingError) -> Reply | Stamped:
        room = getattr(error, "room", None)
        if room is None or "HTTP_X_REQUEST_ID" in head.fields:
            return self._problem(route, head, error, time.monotonic())
        reply = _refusal(error, MARK)
        reply.fields.append(("X-Request-Id", MARK))
        return self._full.refuse(route, head, room, reply)

    def settle(self) -> None:
        """Count the refusals since the last time."""
        self._full.settle()

    def leave(self, ticket: Ticket | None) -> None:
        """Take back what admit gave."""
        if ticket is not None:
            self._gate.leave(ticket)

    def brief(self, route: Route, head: Head, body: Buffer) -> bool:
        """Tell whether the loop may answer itself: it takes no longer than others may wait.

        Not what names a priority: in the loop's line all are equal.
        """
        return (
            self._costs.brief(kind(route.name, route.version, len(body)))
            and "HTTP_CONTENT_ENCODING" not in head.fields
            and self._serving.predictor.prompt(route.name or "", route.version)
            and not (route.ranked and _names_priority(head, body))
        )

    def idle(self, route: Route) -> bool:
        """Tell whether an answer would begin at once."""
        lane = self._serving.predictor.lane(route.name or "", route.version)
        return lane is None or lane.idle

    def waiting(self, routes: Sequence[Route]) -> None:
        """Note of whom the loop still has requests in line, one route for each."""
        standing = Counter(
            self._serving.predictor.lane(name or "", version)
            for name, version in ((route.name, route.version) for route in routes)
        )
        for lane in self._standing - standing.keys() | standing.keys():
            if lane is not None:
                lane.outside(standing[lane])
        self._standing = set(standing)

    def answer(
        self, route: Route, head: Head, body: Buffer, caller: str, socket: Any, started: float,
        waited: float | None,
    ) -> Reply:  # fmt: skip
        """Answer an inference.

        Units: waited in seconds in the loop's line; None for a thread, which may wait on.
        """
        environ = {**head.fields, "gunicorn.socket": socket, "REMOTE_ADDR": caller}
        if waited is not None:
            environ[WAITED] = waited
        request_id = new_request_id(head.fields.get("HTTP_X_REQUEST_ID", ""))
        facts: dict[str, object] = {"model": route.name, "version": route.version}
        began = time.thread_time()
        with in_flight():
            try:
                sent, facts = route.answer(
                    self._serving, body, environ, started, request_id,
                    route.name if route.named else None, route.version,
                )  # fmt: skip
                reply = Reply(200, _fields(sent), sent.body)
            except ServingError as error:
                reply = _refusal(error, request_id)
                facts["problem"] = error.code
            except Exception as error:
                reply = _failed(error, request_id)
        spent = time.thread_time() - began
        if waited is None and "compute_ms" in facts:
            # Another thread may have run it.
            spent += float(str(facts["compute_ms"])) / 1e3
        self._costs.learn(kind(route.name, route.version, len(body)), spent, reply.status == 200)
        return self._counted(route, head, reply, request_id, len(body), started, facts)

    def refuse(self, route: Route, head: Head, error: Exception, started: float) -> Reply:
        """Answer a request whose body cannot be read."""
        assert isinstance(error, ServingError)
        return self._problem(route, head, error, started)

    def _problem(self, route: Route, head: Head, error: ServingError, started: float) -> Reply:
        request_id = new_request_id(head.fields.get("HTTP_X_REQUEST_ID", ""))
        reply = _refusal(error, request_id)
        reply.fields.append(("X-Request-Id", request_id))
        seconds = time.monotonic() - started
        route.counts.count(reply.status, seconds, head.length or 0, len(reply.body))
        return reply

    def _counted(
        self, route: Route, head: Head, reply: Reply, request_id: str, received: int,
        started: float, facts: dict[str, object],
    ) -> Reply:  # fmt: skip
        seconds = time.monotonic() - started
        reply.fields.append(("X-Request-Id", request_id))
        route.counts.count(reply.status, seconds, head.length or 0, len(reply.body))
        if log.isEnabledFor(logging.INFO):
            log.info(
                "POST %s %d", head.path, reply.status,
                extra={
                    "request_id": request_id, "status": reply.status,
                    "ms": round(seconds * 1e3, 3), "bytes_in": received, **facts,
                },
            )  # fmt: skip
        return reply


def _names_priority(head: Head, body: Buffer) -> bool:
    text = bytes(body[: json_length(head)])
    at = text.find(b'"')
    for _ in range(_QUOTES):
        if at < 0 or text.startswith(_PRIORITY, at):
            return at >= 0
        at = text.find(b'"', at + 1)
    return text.find(_PRIORITY, at) >= 0


def _fields(sent: Sent) -> list[tuple[str, str]]:
    fields = [("Content-Type", sent.content_type)]
    if sent.coding:
        fields.append(("Content-Encoding", sent.coding))
    if sent.header_length is not None:
        fields.append((HEADER_LENGTH, str(sent.header_length)))
    return fields


def _refusal(error: ServingError, request_id: str) -> Reply:
    status = STATUS[type(error)]
    fields = [PROBLEM_TYPE]
    if wait := retry_after(error):
        fields.append(("Retry-After", wait))
    return Reply(status, fields, problem(status, error.code, str(error), request_id))


def _failed(error: Exception, request_id: str) -> Reply:
    too_much = exhausted(error)
    if too_much is not None:
        log.warning("%s", too_much, extra={"request_id": request_id})
        return _refusal(too_much, request_id)
    log.error("unexpected error", exc_info=error, extra={"request_id": request_id})
    return Reply(500, [PROBLEM_TYPE], problem(500, "internal_error", UNEXPECTED, request_id))
