"""What every request gets: an id, a deadline, a log line."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, g, request

from app.errors import DeadlineExceeded, InvalidRequest
from app.front.connection import hung_up
from app.predictor.predictor import Terms

log = logging.getLogger("app.request")

TIMEOUT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,30})?")
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
WAITED = "front.waited"
"""Set in the environment of a request that is answered by the thread that reads all others, to the
seconds that it has waited for that."""
QUIET = frozenset({"health.live", "health.ready", "health.health", "prometheus_metrics"})


def init_app(app: Flask) -> None:
    """Note the start and the id of each request, and log its end."""
    app.before_request(_begin)
    app.after_request(_end)


def terms(default: float) -> Terms:
    """Say on what terms this request is run.

    Units:  default in seconds.
    Raises: InvalidRequest if X-Request-Timeout is no positive number; DeadlineExceeded.
    """
    return terms_of(request.environ, float(g.started), default)


def terms_of(
    environ: Mapping[str, Any],
    started: float,
    default: float,
    timeout: float | None = None,
    priority: int = 0,
) -> Terms:
    """Say on what terms a request is run; a timeout in its body and one in its header both hold.

    Units:  started in time.monotonic() seconds; default and timeout in seconds.
    Raises: InvalidRequest if X-Request-Timeout is no positive number; DeadlineExceeded.
    """
    until = started + seconds_of(environ, default if timeout is None else min(default, timeout))
    if time.monotonic() >= until:
        raise DeadlineExceeded("the request's time was up before it was read")
    caller = environ.get("HTTP_X_CALLER") or environ.get("REMOTE_ADDR") or ""
    alive = _alive(environ.get("gunicorn.socket"))
    waited = environ.get(WAITED)
    return Terms(until, priority, alive, caller, waited is None, waited or 0.0)


def seconds_of(environ: Mapping[str, Any], most: float) -> float:
    """Read how many seconds a request has, by its head; at most so many.

    Raises: InvalidRequest if X-Request-Timeout is no positive number.
    """
    text = environ.get("HTTP_X_REQUEST_TIMEOUT")
    if text is None:
        return most
    if not TIMEOUT.fullmatch(text):
        raise InvalidRequest(
            f"X-Request-Timeout is {text[:40]!r}; it must be a number of seconds like 2.5"
        )
    return min(most, float(text))


def new_request_id(given: str) -> str:
    """Take the caller's own id if it is one, else make one."""
    return given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def _alive(client: Any) -> Callable[[], bool] | None:
    """Make the question whether the caller still waits; TLS has no way to peek."""
    if type(client) is not socket.socket:
        return None
    return lambda: not hung_up(client)


def _begin() -> None:
    # gunicorn says that its streams end by themselves; held to Content-Length, a body that breaks
    # off is an error instead of a shorter body.
    if "CONTENT_LENGTH" in request.environ:
        request.environ.pop("wsgi.input_terminated", None)
    g.request_id = new_request_id(request.headers.get("X-Request-Id", ""))
    g.started = time.monotonic()


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    quiet = request.endpoint in QUIET or request.method == "OPTIONS"
    level = logging.DEBUG if quiet else logging.INFO
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
