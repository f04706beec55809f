"""Gunicorn's threaded worker, with problems instead of HTML for what it refuses itself."""

from __future__ import annotations

import logging
import logging.config
import socket
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn import glogging, util
from gunicorn.workers.gthread import ThreadWorker

from app.draining import accept_waiting


def write_problem(client: socket.socket, status: int, reason: str, detail: str) -> None:
    """Answer a request that never became one: a bad request line, headers too large."""
    # Imported here, because this module is imported in the master, before the fork.
    from app.blueprints.errors import problem
    from monitoring.http import count_refused

    text = detail or (HTTPStatus(status).description or reason)
    request_id = uuid.uuid4().hex
    body = problem(status, f"http_{status}", text, request_id)
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nX-Request-Id: {request_id}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    count_refused(status)
    util.write_nonblock(client, head.encode("latin-1") + body)


def logger_class(config: dict[str, Any]) -> type[Any]:
    """Make gunicorn log as the app does; requests are logged by the app, with more to say."""

    class Logger(glogging.Logger):  # type: ignore[misc]  # gunicorn publishes no types
        def setup(self, cfg: Any) -> None:
            self.cfg = cfg
            logging.config.dictConfig(config)

        def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
            return

    return Logger


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn publishes no types
    """A threaded worker that knows this server's app."""

    def init_process(self) -> None:
        """Start; handle_error finds the writer through the module."""
        util.write_error = write_problem
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the app, then the models, before the first connection is accepted."""
        super().load_wsgi()
        self.runtime: Any = self.wsgi.extensions["runtime"]
        self.runtime.start(alive=lambda: self.alive, notify=self.notify)

    def set_accept_enabled(self, enabled: bool) -> None:
        """When stopping, take first what the kernel has accepted for us."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                accept_waiting(listener, self.accept)
                listener.close()

    def run(self) -> None:
        """Serve until told to stop, then let go."""
        try:
            super().run()
        finally:
            self.runtime.stop()
