"""Requests for the WSGI app: whole before a thread begins with them, written without blocking."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from gunicorn.http import wsgi

from app.front.connection import Connection, Outlet, hung_up
from app.front.crew import Crew
from app.front.head import Head

log = logging.getLogger("app.front")

Malformed = Callable[[Connection, Exception], None]
Full = Callable[[Connection], None]
# So many requests may wait for a thread; more would only be answered when nobody waits any more.
MOST_WAITING = 64
# Whoever has waited longer may have hung up. A client that has only ended its own side looks the
# same, so that the others are not asked.
PATIENCE_SECONDS = 1.0


class Pages:
    """Runs the WSGI app; what watches the server never waits behind what uses it."""

    def __init__(
        self, cfg: Any, app: Any, malformed: Malformed, full: Full, crew: Crew, probes: Crew,
        watched: frozenset[str],
    ) -> None:  # fmt: skip
        """Wire it; watched has the paths that the probes' own threads answer, full refuses."""
        self._cfg = cfg
        self._app = app
        self._malformed = malformed
        self._full = full
        self._crew = crew
        self._probes = probes
        self._watched = watched

    def __call__(self, connection: Connection, head: Head, body: Any, close: bool) -> None:
        """Answer in a thread, or refuse at once where too many wait for one."""
        crew = self._probes if head.path in self._watched else self._crew
        if crew.waiting >= MOST_WAITING:
            self._refuse(connection, body)
        else:
            now = time.monotonic()
            crew.do(functools.partial(self._serve, connection, head, body, close, now))

    def _refuse(self, connection: Connection, body: Any) -> None:
        try:
            self._full(connection)
        except OSError:
            connection.out = []
        finally:
            body.close()
            connection.finish(True)

    def _serve(
        self, connection: Connection, head: Head, body: Any, close: bool, queued: float
    ) -> None:
        try:
            if time.monotonic() - queued > PATIENCE_SECONDS and hung_up(connection.sock):
                raise ConnectionResetError
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
        except (ConnectionError, TimeoutError):
            raise  # the client has left
        except Exception:
            if not response.headers_sent:
                raise
            log.exception("an answer broke off")
            return True
        finally:
            if hasattr(parts, "close"):
                parts.close()
        return bool(response.should_close())
