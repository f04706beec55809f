"""Requests for the WSGI app: whole before a thread begins with them, written without blocking."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from gunicorn.http import wsgi

from app.front.connection import Connection, Outlet
from app.front.crew import Crew
from app.front.head import Head

log = logging.getLogger("app.front")

Malformed = Callable[[Connection, Exception], None]


class Pages:
    """Runs the WSGI app; what watches the server never waits behind what uses it."""

    def __init__(
        self, cfg: Any, app: Any, malformed: Malformed, crew: Crew, probes: Crew,
        watched: frozenset[str],
    ) -> None:  # fmt: skip
        """Wire it; watched has the paths that the probes' own threads answer."""
        self._cfg = cfg
        self._app = app
        self._malformed = malformed
        self._crew = crew
        self._probes = probes
        self._watched = watched

    def __call__(self, connection: Connection, head: Head, body: Any, close: bool) -> None:
        """Answer in a thread."""
        crew = self._probes if head.path in self._watched else self._crew
        crew.do(functools.partial(self._serve, connection, head, body, close))

    def _serve(self, connection: Connection, head: Head, body: Any, close: bool) -> None:
        try:
            close = self._run(connection, head, body, close)
        except OSError:
            close = True
            connection.out = []
        except Exception as error:
            close = True
            self._malformed(connection, error)
        finally:
            body.close()
            connection.finish(close)

    def _run(self, connection: Connection, head: Head, body: Any, close: bool) -> bool:
        message = head.message
        outlet = Outlet(connection)
        response, environ = wsgi.create(
            message, outlet, connection.peer, connection.server, self._cfg
        )
        environ.update({
            "wsgi.multithread": True, "wsgi.input": body, "gunicorn.socket": connection.sock,
        })  # fmt: skip
        if close:
            response.force_close()
        parts = self._app(environ, response.start_response)
        try:
            for part in parts:
                response.write(part)
            response.close()
        except Exception:
            if not response.headers_sent:
                raise
            log.exception("an answer broke off")
            return True
        finally:
            if hasattr(parts, "close"):
                parts.close()
        return bool(response.should_close())
