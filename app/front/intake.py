"""What becomes of a request is decided here, from its head."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.http.errors import NoMoreData, ParseException

from app.errors import RequestTooLarge, exhausted
from app.front.bodies import Bodies
from app.front.body import Buffer, Gathered, Memory, Spool
from app.front.connection import Connection, State
from app.front.crew import Crew
from app.front.head import END, Head, check_size, check_unfinished, full, json_length, quick
from app.front.line import Line
from app.front.reply import Reply, Stamped
from app.front.service import Service

log = logging.getLogger("app.front")

# One recv brings a head and a small body; what belongs to a large body is not copied twice.
_FIRST = 4096
# A head with no end yet is looked at whenever something comes; beyond so many bytes only when as
# many more have come, or who sends it byte by byte would have it read as often.
_SMALL = 256
# Heads that are remembered, with what they were read as.
_KNOWN = 512
Page = Callable[[Connection, Head, Any, bool], None]
Malformed = Callable[[Connection, Exception], None]


class Intake(Bodies):
    """Reads requests and decides, from the head, what becomes of them."""

    def __init__(
        self, cfg: Any, service: Service, crew: Crew, page: Page, malformed: Malformed,
        spool: Path, largest: int, room: int, began: Callable[[], bool],
    ) -> None:  # fmt: skip
        """Wire it.

        page runs the WSGI app; malformed answers what is no request; began is told of every
        request and says whether its connection may stay open.
        Units: largest in bytes of a body that the app may take; room in bytes of bodies that
               are held at once.
        """
        super().__init__(service, room)
        self._cfg = cfg
        self._crew = crew
        self._page = page
        self._malformed = malformed
        self._spool = spool
        self._largest = largest
        self._began = began
        # gunicorn's settings are costly to look up.
        self._plain = cfg.proxy_protocol in ("off", False)
        self._known: dict[bytes, tuple[Head, Any]] = {}
        self.line = Line(service, crew, self._compute)
        self._digesting = False
        # When the loop last came back from waiting. Units: time.monotonic() seconds.
        self.turn_began = 0.0

    def on_head(self, connection: Connection) -> None:
        """Read on in a head.

        Raises: OSError if the client is gone.
        """
        try:
            data = connection.sock.recv(_FIRST)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError
        connection.data = connection.data + data if connection.data else data
        self.digest(connection)

    def digest(self, connection: Connection) -> None:
        """Begin the request whose head is complete, and those behind it while each is answered.

        An answer that is given at once comes back to here: only the outermost call goes on.
        """
        if self._digesting:
            return
        self._digesting = True
        try:
            while self._next(connection) and connection.state is State.HEAD and connection.data:
                continue
        finally:
            self._digesting = False

    def _next(self, connection: Connection) -> bool:
        """Begin a request; tells whether there was a whole head."""
        data = connection.data
        end = data.find(END, 2)
        size = len(data) if end < 0 else end + len(END)
        try:
            check_size(size)
            if end < 0:
                connection.since = time.monotonic()
                if size < _SMALL or size - connection.looked >= _SMALL:
                    connection.looked = size
                    check_unfinished(self._cfg, data, connection.peer, connection.count + 1)
                return False
            raw = data[:size]
            head, route = self._read_head(connection, raw)
        except (ParseException, NoMoreData) as error:
            self._malformed(connection, error)
            connection.linger()
            return False
        connection.data = data[size:]
        connection.looked = 0
        connection.route = route
        self._begin(connection, head)
        return True

    def _read_head(self, connection: Connection, raw: bytes) -> tuple[Head, Any]:
        known = self._known.get(raw)
        if known is not None:
            return known
        head = quick(raw) if self._plain else None
        route = self._service.match(head) if head else None
        if head is None or route is None:
            head = full(self._cfg, raw, connection.peer, connection.count + 1)
            route = self._service.match(head)
        elif "HTTP_X_REQUEST_ID" not in head.fields:
            # A client's requests mostly have the same head, byte for byte.
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[raw] = head, route
        return head, route

    def _begin(self, connection: Connection, head: Head) -> None:
        connection.count += 1
        connection.head = head
        connection.close = head.close or not self._began()
        connection.started = connection.since = time.monotonic()
        if connection.route is None:
            self._begin_page(connection, head)
        elif head.length is not None and head.length > self._service.limit:
            self.reject(connection, RequestTooLarge(
                f"the body is larger than {self._service.limit} bytes, the most that is taken"
            ))  # fmt: skip
        else:
            self._begin_short(connection, head)

    def _begin_short(self, connection: Connection, head: Head) -> None:
        admitted = self._service.admit(connection.route, head, _caller(connection), False)
        if isinstance(admitted, Reply | Stamped):
            self.turn_away(connection, head, admitted)
            return
        connection.ticket = admitted
        rest = connection.data
        length = head.length
        if length is not None and len(rest) >= length:
            connection.data = rest[length:]
            self.ready(connection, head, rest[:length])
        elif length is None:
            self.receive(connection, Gathered(None, self._spool, self._service.limit))
        else:
            try:
                memory = Memory(length, json_length(head) or 0)
            except MemoryError as error:
                self.reject(connection, exhausted(error) or error)
                return
            self.receive(connection, memory)

    def _begin_page(self, connection: Connection, head: Head) -> None:
        if head.length is not None and head.length > self._largest:
            # The app refuses it by its length; what comes is not read.
            connection.close = True
            self.run_page(connection, head, Spool(0, self._spool, 0).take())
            return
        self.receive(connection, Spool(head.length, self._spool, self._largest))

    def ready(self, connection: Connection, head: Head, body: Buffer) -> None:
        """Answer a whole request, now or by a thread, if its model still has room for it."""
        connection.route = self._service.named(connection.route, body)
        if connection.ticket is None:
            caller = _caller(connection)
            admitted = self._service.admit(connection.route, head, caller, True)
            if isinstance(admitted, Reply | Stamped):
                self.reply(connection, admitted)
                return
            connection.ticket = admitted
        connection.state = State.BUSY
        if self._service.brief(connection.route, head, body):
            self.line.join(connection, head, body)
        else:
            self._crew.do(functools.partial(self._compute, connection, head, body, None))

    def _compute(
        self, connection: Connection, head: Head, body: Buffer, waited: float | None
    ) -> None:
        """Answer a request; the thread that has computed writes the answer itself."""
        close = connection.close
        try:
            reply = self._service.answer(
                connection.route, head, body, _caller(connection), connection.sock,
                connection.started, waited,
            )  # fmt: skip
            del body
            ticket, connection.ticket = connection.ticket, None
            self._service.leave(ticket)
            reply.send(connection.send, close)
        except OSError:
            close = True
            connection.out = []
        except Exception:
            # Nobody above has a use for it: neither a thread of the crew nor the loop.
            log.exception("unexpected error behind a request")
            close = True
        finally:
            connection.finish(close)

    def run_page(self, connection: Connection, head: Head, body: Any) -> None:
        connection.state = State.BUSY
        self._page(connection, head, body, connection.close)


def _caller(connection: Connection) -> str:
    head, peer = connection.head, connection.peer
    named = head.fields.get("HTTP_X_CALLER") if head else None
    return named or (peer[0] if isinstance(peer, tuple) else str(peer or ""))
