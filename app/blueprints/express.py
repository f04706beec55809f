"""The short way for inference requests of the Open Inference Protocol.

Flask's routing, contexts and response objects cost more than a small model does, and refusing a
request must cost next to nothing when there are too many. This layer answers the infer routes by
the same functions as the blueprint, v2.run, and hands everything else on.
"""

from __future__ import annotations

import logging
import math
import re
import time
import uuid
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from app.blueprints.errors import STATUS, problem
from app.blueprints.requests import REQUEST_ID, terms_of
from app.blueprints.serving import Serving
from app.blueprints.v2 import infer_bytes
from app.errors import InvalidRequest, RequestTooLarge, ServingError
from app.wire.response import HEADER_LENGTH
from monitoring.http import HANDLER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("app.request")

ROUTE = re.compile(
    r"/v2/models/(?P<name>[A-Za-z0-9._-]{1,64})(?:/versions/(?P<version>[A-Za-z0-9._-]{1,64}))?/infer"
)
RULES = {
    False: "/v2/models/<name>/infer",
    True: "/v2/models/<name>/versions/<version>/infer",
}
Headers = list[tuple[str, str]]


class Express:
    """A WSGI layer around the Flask app."""

    def __init__(self, app: WSGIApplication, serving: Serving) -> None:
        self._app = app
        self._serving = serving

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer an inference, or hand on what is none, or comes in chunks."""
        if environ["REQUEST_METHOD"] != "POST" or not environ.get("CONTENT_LENGTH"):
            return self._app(environ, start_response)
        route = ROUTE.fullmatch(environ["PATH_INFO"])
        if route is None:
            return self._app(environ, start_response)
        started = time.monotonic()
        environ[HANDLER] = RULES[route["version"] is not None]
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        facts: dict[str, object] = {"model": route["name"], "version": route["version"]}
        try:
            status, headers, body = self._infer(environ, route, started, facts)
        except ServingError as error:
            status, headers, body = _refusal(error, request_id)
            facts["problem"] = error.code
        except Exception:
            log.exception("unexpected error", extra={"request_id": request_id})
            status, headers, body = _failure(request_id)
        headers += [("Content-Length", str(len(body))), ("X-Request-Id", request_id)]
        _log(environ, status, started, {"request_id": request_id, **facts})
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [body]

    def _infer(
        self,
        environ: WSGIEnvironment,
        route: re.Match[str],
        started: float,
        facts: dict[str, object],
    ) -> tuple[int, Headers, bytes]:
        here = self._serving
        body = _body(environ, here.settings.max_body_bytes)
        # Before the body is looked at: refusing has to be cheap. It was read, though, since
        # closing a connection with bytes unread resets it, and the refusal would be lost.
        here.predictor.admit(route["name"], route["version"])
        sent, result = infer_bytes(
            here,
            body,
            environ,
            lambda asked: terms_of(
                environ, started, here.settings.request_timeout_s, asked.timeout, asked.priority
            ),
            route["name"],
            route["version"],
        )
        facts |= result.facts()
        headers = [("Content-Type", sent.content_type)]
        if sent.coding:
            headers.append(("Content-Encoding", sent.coding))
        if sent.header_length is not None:
            headers.append((HEADER_LENGTH, str(sent.header_length)))
        return 200, headers, sent.body


def _body(environ: WSGIEnvironment, limit: int) -> bytes:
    text = environ["CONTENT_LENGTH"]
    if not text.isdigit():
        raise InvalidRequest(f"Content-Length is {text[:40]!r}; it must be a whole number")
    if int(text) > limit:
        raise RequestTooLarge(f"the body is larger than {limit} bytes, the most that is taken")
    body: bytes = environ["wsgi.input"].read(int(text))
    if len(body) != int(text):
        raise InvalidRequest("the body ends before its Content-Length")
    return body


def _refusal(error: ServingError, request_id: str) -> tuple[int, Headers, bytes]:
    status = STATUS[type(error)]
    headers = [("Content-Type", "application/problem+json")]
    if status in (429, 503):
        wait = getattr(error, "retry_after", 1.0)
        headers.append(("Retry-After", str(max(1, math.ceil(wait)))))
    return status, headers, problem(status, error.code, str(error), request_id)


def _failure(request_id: str) -> tuple[int, Headers, bytes]:
    text = "the server failed unexpectedly; the log has the reason under this request_id"
    body = problem(500, "internal_error", text, request_id)
    return 500, [("Content-Type", "application/problem+json")], body


def _log(
    environ: WSGIEnvironment, status: int, started: float, facts: dict[str, object]
) -> None:
    if not log.isEnabledFor(logging.INFO):
        return
    log.info(
        "POST %s %d", environ["PATH_INFO"], status,
        extra={
            "status": status, "ms": round((time.monotonic() - started) * 1e3, 3),
            "bytes_in": int(environ["CONTENT_LENGTH"]), **facts,
        },
    )  # fmt: skip
