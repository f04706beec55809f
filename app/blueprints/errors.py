"""Every failure as application/problem+json; the one place where exceptions become statuses."""

from __future__ import annotations

import logging
import math
import sqlite3
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, current_app, g, request
from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.routing import WebsocketMismatch

from app import errors
from app.errors import ServingError, StorageFailed

log = logging.getLogger("app.errors")

STATUS: dict[type[ServingError], int] = {
    errors.ServingError: 500,
    errors.SettingsError: 500,
    errors.InvalidRequest: 400,
    errors.InvalidInput: 422,
    errors.UnsupportedMedia: 415,
    errors.ForeignOrigin: 403,
    errors.RequestTooLarge: 413,
    errors.ModelError: 500,
    errors.ModelNotFound: 404,
    errors.ModelNotReady: 503,
    errors.InvalidModel: 422,
    errors.UnsupportedOp: 422,
    errors.ModelConflict: 409,
    errors.ModelLoadFailed: 503,
    errors.ModelFileChanged: 503,
    errors.ModelMisdescribed: 422,
    errors.ModelSourceError: 503,
    errors.StorageFailed: 507,
    errors.Overloaded: 503,
    errors.QuotaExceeded: 429,
    errors.DeadlineExceeded: 504,
    errors.DeviceError: 503,
    errors.DeviceNotFound: 503,
    errors.DeviceHung: 503,
    errors.KernelBuildError: 503,
    errors.DeviceMemoryError: 507,
}
RETRY_SECONDS = 1.0
# A detail may repeat what came in, however long that is.
_LONGEST_DETAIL = 4000
UNEXPECTED = "the server failed unexpectedly; the log has the reason under this request_id"
PROBLEM = "application/problem+json"
PREFIX = "urn:rx580-inference:problem:"


def problem(
    status: int, code: str, detail: str, request_id: str, more: dict[str, Any] | None = None
) -> bytes:
    """Write the one body that serves every client."""
    if len(detail) > _LONGEST_DETAIL:
        detail = f"{detail[:_LONGEST_DETAIL]} …"
    title = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Error"
    return orjson.dumps(
        {
            "type": PREFIX + code,
            "title": title,
            "status": status,
            "detail": detail,
            "error": detail,
            "request_id": request_id,
            **(more or {}),
        }
    )


def init_app(app: Flask) -> None:
    """Answer every exception with a problem."""
    app.register_error_handler(ServingError, _serving_error)
    app.register_error_handler(HTTPException, _http_error)
    for kind in (NoMoreData, ParseException, ClientDisconnected):
        app.register_error_handler(kind, _unreadable)
    app.register_error_handler(sqlite3.OperationalError, _no_records)
    app.register_error_handler(Exception, _unexpected)


def answer(
    status: int, code: str, detail: str, more: dict[str, Any] | None = None
) -> Response:
    """Make the response of a problem."""
    body = problem(status, code, detail, g.get("request_id", ""), more)
    g.problem = code
    return Response(body, status, content_type=PROBLEM)


def retry_after(error: ServingError) -> str | None:
    """Give the Retry-After field of an error's answer; None if to come back does not help."""
    if STATUS[type(error)] not in (429, 503):
        return None
    return str(max(1, math.ceil(getattr(error, "retry_after", RETRY_SECONDS))))


def _serving_error(error: ServingError) -> Response:
    status = STATUS[type(error)]
    if status >= 500:
        log.warning("%s", error, extra={"code": error.code, "request_id": g.get("request_id")})
    response = answer(status, error.code, str(error))
    if wait := retry_after(error):
        response.headers["Retry-After"] = wait
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    known = _websocket if isinstance(error, WebsocketMismatch) else _HTTP_DETAILS.get(status)
    detail = known(error) if known else (error.description or "")
    response = answer(status, f"http_{status}", detail)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _unreadable(error: Exception) -> Response:
    said = "" if isinstance(error, ClientDisconnected) else f": {error}"
    return answer(
        400, errors.InvalidRequest.code,
        f"the body ends early or is not framed as its headers say{said}; send it whole",
    )  # fmt: skip


def _no_records(error: Exception) -> Response:
    """The state file was removed, or its disk fails; a worker that loses it is replaced at once."""
    return _serving_error(StorageFailed(f"the server's own records cannot be read: {error}"))


def _unexpected(error: Exception) -> Response:
    too_much = errors.exhausted(error)
    if too_much is not None:
        return _serving_error(too_much)
    log.exception("unexpected error", extra={"request_id": g.get("request_id")})
    return answer(500, "internal_error", UNEXPECTED)


# What other servers of the protocol offer: a word in its path, and what there is instead.
_NOT_OFFERED = {
    "sharedmemory": "shared memory is not offered; send tensors as binary data",
    "/trace/setting": "traces are not offered; GET /metrics has the times of queue and compute",
    "/logging": "what is logged is set at the start, by LOG_LEVEL and LOG_FORMAT",
    "/generate": "text is not generated here; send tensors to /infer",
}


def _not_found(error: HTTPException) -> str:
    nothing = f"there is nothing at {request.path[:200]}"
    adapter, bare = current_app.create_url_adapter(request), request.path.rstrip("/")
    if adapter is not None and bare != request.path and adapter.test(bare, request.method):
        return f"{nothing}; leave out the '/' at its end"
    if request.path.startswith("/v2/"):
        known = next((says for word, says in _NOT_OFFERED.items() if word in request.path), None)
        return f"{nothing}: {known}" if known else (
            f"{nothing}; GET /v2 lists the protocol's extensions that are spoken here"
        )
    if request.path.startswith("/v1/"):
        return f"{nothing}: TensorFlow Serving's protocol is not spoken; POST /models/NAME/infer"
    return f"{nothing}; GET /models lists the models, GET /openapi.json all there is"


def _websocket(error: HTTPException) -> str:
    return "this server speaks no WebSocket; send the request without Upgrade"


def _not_allowed(error: HTTPException) -> str:
    allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    return f"{request.method[:20]} is not allowed at {request.path[:200]}; allowed: {allowed}"


def _too_large(error: HTTPException) -> str:
    limit = request.max_content_length
    if request.mimetype.startswith("multipart/") and (request.content_length or 0) <= (limit or 0):
        return (
            f"the form has more than {request.max_form_parts} parts, or text of more than "
            f"{request.max_form_memory_size} bytes; send images and little else"
        )
    return f"the body is larger than {limit} bytes, the most that is taken"


_HTTP_DETAILS = {404: _not_found, 405: _not_allowed, 413: _too_large}
