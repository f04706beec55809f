"""What every request gets: an id, a deadline, a log line."""

from __future__ import annotations

import logging
import re
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request

from app.errors import DeadlineExceeded, InvalidRequest
from app.predictor.predictor import Terms

log = logging.getLogger("app.request")

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
QUIET = frozenset({"health.live", "health.ready", "health.health", "prometheus_metrics"})


def init_app(app: Flask) -> None:
    """Note the start and the id of each request, and log its end."""
    app.before_request(_begin)
    app.after_request(_end)


def deadline(default: float) -> float:
    """Say until when this request may be worked on.

    Units:  default in seconds; the answer in time.monotonic() seconds.
    Raises: InvalidRequest if X-Request-Timeout is no positive number; DeadlineExceeded.
    """
    text = request.headers.get("X-Request-Timeout")
    seconds = default
    if text is not None:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
            raise InvalidRequest(
                f"X-Request-Timeout is {text[:40]!r}; it must be a number of seconds like 2.5"
            )
        seconds = min(default, float(text))
    until = float(g.started) + seconds
    if time.monotonic() >= until:
        raise DeadlineExceeded("the request's time was up before it was read")
    return until


def terms(default: float, timeout: float | None = None, priority: int = 0) -> Terms:
    """Say on what terms this request is run; a deadline in the body and one in a header both hold.

    Units:  default and timeout in seconds.
    Raises: InvalidRequest, DeadlineExceeded.
    """
    until = deadline(default)
    if timeout is not None:
        until = min(until, float(g.started) + timeout)
    caller = request.headers.get("X-Caller") or request.remote_addr or ""
    return Terms(until, priority, _alive(request.environ.get("gunicorn.socket")), caller)


def _alive(client: Any) -> Callable[[], bool] | None:
    """Make the question whether the caller still waits; TLS has no way to peek."""
    if type(client) is not socket.socket:
        return None

    def alive() -> bool:
        try:
            return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    return alive


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.started = time.monotonic()


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    level = logging.DEBUG if request.endpoint in QUIET else logging.INFO
    if log.isEnabledFor(level):
        seconds = time.monotonic() - g.get("started", time.monotonic())
        log.log(
            level,
            "%s %s %d",
            request.method[:20], request.path[:200], response.status_code,
            extra={
                "request_id": g.get("request_id"),
                "status": response.status_code,
                "ms": round(seconds * 1e3, 3),
                "bytes_in": request.content_length,
                "problem": g.get("problem"),
                **g.get("facts", {}),
            },
        )  # fmt: skip
    return response
