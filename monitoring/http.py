"""HTTP metrics of the Flask app, and GET /metrics.

prometheus-flask-exporter serves the endpoint. Its default metrics are not used: they take the raw
method and, by default, the raw path as labels, so that a client can make as many series as it
likes; they miss in-flight and bytes; and they count in after_request, which a failing handler of
another kind can skip or repeat. A WSGI layer sees every response once, before its first byte
leaves: what a client has received was counted.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from prometheus_client import Counter
from prometheus_flask_exporter import PrometheusMetrics

from monitoring import catalogue
from monitoring.exposition import Exposition
from monitoring.metric import slot_directory

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

UNMATCHED = "unmatched"
"""The handler label of requests that fit no route."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"

HANDLER = "monitoring.handler"
"""Where a request's route template is kept in its WSGI environment."""
# A burst of failures right after the start must be an increase, so these exist from the start.
_STATUSES = ("200", "500", "503")


def init_app(app: Flask, *, version: str, sysfs: Path = Path("/sys")) -> None:
    """Count and time the app's requests and give it GET /metrics.

    Call it when every route is registered, and before other layers are put around app.wsgi_app.
    """
    catalogue.BUILD_INFO.labels(version, platform.python_version()).set(1)
    # First, so that no other before_request can answer before the route is known.
    app.before_request_funcs.setdefault(None, []).insert(0, _note_handler)
    endpoint = PrometheusMetrics(app=None, export_defaults=False, registry=catalogue.REGISTRY)
    exposition = Exposition(slot_directory(), sysfs)
    endpoint.generate_metrics = lambda accept, names: exposition.page(accept, names or ())
    endpoint.register_endpoint("/metrics", app)
    _create_at_zero(app)
    app.wsgi_app = _Meter(app.wsgi_app)  # type: ignore[method-assign]


def count_refused(status: int) -> None:
    """Count an answer to what never became a request: a bad request line, headers too large."""
    catalogue.HTTP_REQUESTS.labels(OTHER_METHOD, UNMATCHED, str(status)).inc()


class Exchanges:
    """Counts the POSTs of one route that are answered without the WSGI app.

    handler is the route's template.
    """

    def __init__(self, handler: str) -> None:
        self._handler = handler
        self._answers: dict[int, Counter] = {}
        self._seconds = catalogue.HTTP_SECONDS.labels("POST", handler)
        self._received = catalogue.HTTP_REQUEST_BYTES.labels(handler)
        self._sent = catalogue.HTTP_RESPONSE_BYTES.labels(handler)

    def count(
        self, status: int, seconds: float, received: int, sent: int, times: int = 1
    ) -> None:
        """Count an answer, or so many that took equally long, before its first byte leaves.

        Units: seconds of each; received and sent in bytes of all bodies.
        """
        answers = self._answers.get(status)
        if answers is None:
            answers = catalogue.HTTP_REQUESTS.labels("POST", self._handler, str(status))
            self._answers[status] = answers
        answers.inc(times)
        self._seconds.observe_each(seconds, times)
        self._received.inc(received)
        self._sent.inc(sent)


@contextmanager
def in_flight() -> Iterator[None]:
    """Count a request as in flight meanwhile."""
    catalogue.HTTP_IN_FLIGHT.inc()
    try:
        yield
    finally:
        catalogue.HTTP_IN_FLIGHT.dec()


def _note_handler() -> None:
    if request.url_rule is not None:
        request.environ[HANDLER] = request.url_rule.rule


def _create_at_zero(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) & METHODS - {"HEAD", "OPTIONS"}:
            catalogue.HTTP_SECONDS.labels(method, rule.rule)
            for status in _STATUSES:
                catalogue.HTTP_REQUESTS.labels(method, rule.rule, status)


class _Meter:
    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        catalogue.HTTP_IN_FLIGHT.inc()
        answer = _Answer(environ, started, start_response)
        try:
            body = self._app(environ, answer.start)
        except BaseException:
            answer.count("500")
            catalogue.HTTP_IN_FLIGHT.dec()
            raise
        return _Body(body, answer)


class _Answer:
    """One request on its way out; counted once, whatever happens."""

    def __init__(
        self, environ: WSGIEnvironment, started: float, start_response: StartResponse
    ) -> None:
        self._environ = environ
        self._started = started
        self._start_response = start_response
        self._counted = False
        self.length: int | None = None

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        length = next((value for name, value in headers if name.lower() == "content-length"), "")
        self.length = int(length) if length.isdigit() else None
        if self._environ["REQUEST_METHOD"] == "HEAD":
            self.length = 0
        self.count(status[:3])
        return self._start_response(status, headers, exc_info)

    def count(self, status: str) -> None:
        if self._counted:
            return
        self._counted = True
        method = self._environ["REQUEST_METHOD"]
        method = method if method in METHODS else OTHER_METHOD
        handler = self.handler
        catalogue.HTTP_REQUESTS.labels(method, handler, status).inc()
        catalogue.HTTP_SECONDS.labels(method, handler).observe(time.perf_counter() - self._started)
        declared = self._environ.get("CONTENT_LENGTH", "")
        if declared.isdigit():
            catalogue.HTTP_REQUEST_BYTES.labels(handler).inc(int(declared))
        if self.length:
            catalogue.HTTP_RESPONSE_BYTES.labels(handler).inc(self.length)

    @property
    def handler(self) -> str:
        handler: str = self._environ.get(HANDLER, UNMATCHED)
        return handler


class _Body:
    """A response body that is in flight until the server closes it."""

    def __init__(self, body: Iterable[bytes], answer: _Answer) -> None:
        self._body = body
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body) if self._answer.length is not None else self._measured()

    def _measured(self) -> Iterator[bytes]:
        sent = catalogue.HTTP_RESPONSE_BYTES.labels(self._answer.handler)
        for chunk in self._body:
            sent.inc(len(chunk))
            yield chunk

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            catalogue.HTTP_IN_FLIGHT.dec()
