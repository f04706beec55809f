"""What the loop does with the bytes of a connection: heads, bodies, refusals."""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.http.errors import NoMoreData, ParseException

from app.errors import InvalidRequest, Overloaded, RequestTooLarge
from app.front.body import BLOCK, Broken, Buffer, Gathered, Memory, Spool
from app.front.connection import Connection, State
from app.front.crew import Crew
from app.front.head import END, Head, check_unfinished, full, quick
from app.front.reply import CONTINUE, Reply, Stamped
from app.front.service import Service

# One recv brings a head and a small body; what belongs to a large body is not copied twice.
_FIRST = 4096
# In each of its turns the loop itself answers small requests for so long; the others, and all that
# there are too many of, go through the queues, which have their bounds.
_AT_ONCE_SECONDS = 0.003
# Heads that are remembered, with what they were read as.
_KNOWN = 512
Page = Callable[[Connection, Head, Any, bool], None]
Malformed = Callable[[Connection, Exception], None]


class Intake:
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
        self._cfg = cfg
        self._service = service
        self._crew = crew
        self._page = page
        self._malformed = malformed
        self._spool = spool
        self._largest = largest
        self._began = began
        self._scratch = memoryview(bytearray(4 * BLOCK))
        # gunicorn's settings are costly to look up.
        self._plain = cfg.proxy_protocol == "off"
        self._known: dict[bytes, tuple[Head, Any]] = {}
        self._room = room
        # When the loop last came back from waiting. Units: time.monotonic() seconds.
        self.turn_began = 0.0
        # Requests that were refused by their heads in this turn of the loop.
        self.turned_away = 0
        # Bytes of bodies that have begun to come, for the short way.
        self._held = 0

    # --- heads ---

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
        """Look whether a head is complete; begin its request if it is."""
        data = connection.data
        end = data.find(END, 2)
        try:
            if end < 0:
                connection.since = time.monotonic()
                check_unfinished(self._cfg, data, connection.peer, connection.count + 1)
                return
            size = end + len(END)
            raw = data[:size]
            head, route = self._read_head(connection, raw)
        except (ParseException, NoMoreData) as error:
            self._malformed(connection, error)
            connection.linger()
            return
        connection.data = data[size:]
        connection.route = route
        self._begin(connection, head)

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
            self._reject(connection, RequestTooLarge(
                f"the body is larger than {self._service.limit} bytes, the most that is taken"
            ))  # fmt: skip
        else:
            self._begin_short(connection, head)

    def _begin_short(self, connection: Connection, head: Head) -> None:
        admitted = self._service.admit(connection.route, head, _caller(connection), False)
        if isinstance(admitted, Reply | Stamped):
            self._turn_away(connection, head, admitted)
            return
        connection.ticket = admitted
        rest = connection.data
        length = head.length
        if length is not None and len(rest) >= length:
            connection.data = rest[length:]
            self._ready(connection, head, rest[:length])
        elif length is None:
            self._await(connection, Gathered(None, self._spool, self._service.limit))
        else:
            header = head.fields.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH", "")
            offset = int(header) if header.isdigit() and len(header) < 10 else 0
            self._await(connection, Memory(length, offset))

    def _begin_page(self, connection: Connection, head: Head) -> None:
        if head.length is not None and head.length > self._largest:
            # The app refuses it by its length; what comes is not read.
            connection.close = True
            self._run_page(connection, head, Spool(0, self._spool, 0).take())
            return
        self._await(connection, Spool(head.length, self._spool, self._largest))

    # --- bodies ---

    def _await(self, connection: Connection, body: Memory | Spool) -> None:
        connection.body = body
        connection.state = State.BODY
        if connection.head is not None and connection.head.expects and not connection.data:
            connection.send(CONTINUE)
        rest, connection.data = connection.data, b""
        try:
            while rest and not body.done:
                room = body.room()
                count = min(len(room), len(rest))
                room[:count] = rest[:count]
                rest = body.got(count) + rest[count:]
        except ParseException as error:
            self._broken(connection, error)
            return
        connection.data = rest
        self.on_body(connection)

    def on_body(self, connection: Connection) -> None:
        """Read on in a body.

        Raises: OSError if the client is gone.
        """
        body = connection.body
        assert body is not None
        turns = 4
        try:
            while not body.done:
                count = connection.sock.recv_into(body.room())
                if not count:
                    raise NoMoreData(b"")
                connection.since = time.monotonic()
                connection.data = body.got(count)
                if isinstance(body, Memory):
                    self._held += count
                    if self._held > self._room and not body.done:
                        self._burst(connection)
                        return
                elif body.over:
                    break
                # A long upload must not keep the others waiting.
                turns -= 1
                if not turns and not body.done:
                    return
        except BlockingIOError:
            return
        except (ParseException, NoMoreData) as error:
            self._broken(connection, error)
            return
        self._complete(connection, body)

    def _complete(self, connection: Connection, body: Memory | Spool) -> None:
        head = connection.head
        assert head is not None
        self._release(connection)
        if isinstance(body, Spool) and not isinstance(body, Gathered):
            connection.close = connection.close or not body.done
            self._run_page(connection, head, body.take())
        elif isinstance(body, Gathered) and body.size > self._service.limit:
            body.close()
            self._reject(connection, RequestTooLarge(
                f"the body is larger than {self._service.limit} bytes, the most that is taken"
            ))  # fmt: skip
        else:
            whole = body.whole() if isinstance(body, Gathered) else body.take()
            self._ready(connection, head, whole)

    def _ready(self, connection: Connection, head: Head, body: Buffer) -> None:
        """Hand a whole request to a thread, if its model still has room for it."""
        connection.route = self._service.named(connection.route, body)
        if connection.ticket is None:
            caller = _caller(connection)
            admitted = self._service.admit(connection.route, head, caller, True)
            if isinstance(admitted, Reply | Stamped):
                self._answer(connection, admitted)
                return
            connection.ticket = admitted
        connection.state = State.BUSY
        at_once = (
            time.monotonic() < self.turn_began + _AT_ONCE_SECONDS
            and self._service.brief(connection.route, head, body)
        )
        if at_once:
            self._compute(connection, head, body, at_once)
        else:
            self._crew.do(functools.partial(self._compute, connection, head, body, at_once))

    def _compute(
        self, connection: Connection, head: Head, body: Buffer, at_once: bool
    ) -> None:
        """Answer a request; the thread that has computed writes the answer itself."""
        close = connection.close
        try:
            reply = self._service.answer(
                connection.route, head, body, _caller(connection), connection.sock,
                connection.started, at_once,
            )  # fmt: skip
            del body
            ticket, connection.ticket = connection.ticket, None
            self._service.leave(ticket)
            reply.send(connection.send, close)
        except OSError:
            close = True
            connection.out = []
        finally:
            connection.finish(close)

    def _run_page(self, connection: Connection, head: Head, body: Any) -> None:
        connection.state = State.BUSY
        self._page(connection, head, body, connection.close)

    # --- refusals ---

    def _broken(self, connection: Connection, error: Exception) -> None:
        """Answer a request whose body ends early or is not framed as it says."""
        body, head = connection.body, connection.head
        assert body is not None
        assert head is not None
        connection.close = True
        self._release(connection)
        if connection.route is None:
            # Whether the body matters, and what to answer, is for the app to say.
            beginning = body.take()
            assert not isinstance(beginning, bytes | memoryview)
            self._run_page(connection, head, Broken(beginning, error))
            return
        body.close()
        said = f": {error}" if isinstance(error, ParseException) else ""
        self._reject(connection, InvalidRequest(
            f"the body ends early or is not framed as its headers say{said}; send it whole"
        ))  # fmt: skip

    def _burst(self, connection: Connection) -> None:
        """Stop reading a body that would take more memory than there is for them all."""
        self._reject(connection, Overloaded(
            f"this worker holds {self._held} bytes of requests that are still being sent, its "
            "limit; come back later", reason="queue_bytes",
        ))  # fmt: skip

    def _reject(self, connection: Connection, error: Exception) -> None:
        assert connection.head is not None
        connection.close = True
        reply = self._service.refuse(
            connection.route, connection.head, error, connection.started
        )
        self._answer(connection, reply)

    def _turn_away(self, connection: Connection, head: Head, reply: Reply | Stamped) -> None:
        """Refuse a request by its head, and let its body fall as it comes."""
        if head.length is None or head.expects:
            # Nobody knows how much will come, or whether.
            connection.close = True
            self._answer(connection, reply)
            return
        self.turned_away += 1
        rest = connection.data
        connection.data = rest[head.length :]
        connection.left = max(0, head.length - len(rest))
        connection.reply = reply
        connection.state = State.DISCARD
        self.on_discard(connection)

    def on_discard(self, connection: Connection) -> None:
        """Throw away what has come of a refused body; answer when it is over.

        Raises: OSError if the client is gone.
        """
        if connection.left and not self.discard(connection):
            raise ConnectionResetError
        if not connection.left:
            reply, connection.reply = connection.reply, None
            if reply is None:
                self._settle(connection)
            else:
                self._answer(connection, reply)

    def discard(self, connection: Connection) -> bool:
        """Throw bytes away, uncopied; tells whether more may come."""
        try:
            while connection.left:
                lingering = connection.state is State.LINGER
                most = len(self._scratch)
                size = most if lingering else min(connection.left, most)
                # The kernel drops the bytes where they are. Source: tcp(7), MSG_TRUNC.
                count = connection.sock.recv_into(self._scratch, size, socket.MSG_TRUNC)
                if not count:
                    return False
                if not lingering:
                    connection.left -= count
                    connection.since = time.monotonic()
        except BlockingIOError:
            pass
        return True

    def on_slow(self, connection: Connection) -> None:
        """A body takes its time: it keeps no place in a queue, and a refusal need not wait."""
        if connection.reply is not None:
            reply, connection.reply = connection.reply, None
            reply.send(connection.send, connection.close)
        elif connection.ticket is not None:
            ticket, connection.ticket = connection.ticket, None
            self._service.leave(ticket)

    def on_stalled(self, connection: Connection) -> None:
        """A client has stopped sending in the middle of a body."""
        self._broken(connection, NoMoreData(b""))

    def _answer(self, connection: Connection, reply: Reply | Stamped) -> None:
        self.forget(connection)
        reply.send(connection.send, connection.close)
        self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        if connection.close:
            connection.linger()
            return
        connection.state = State.FLUSH if connection.out else State.HEAD
        if connection.state is State.HEAD and connection.data:
            self.digest(connection)

    def forget(self, connection: Connection) -> None:
        """Let go of what a connection holds of its request."""
        if connection.ticket is not None and connection.state is not State.BUSY:
            ticket, connection.ticket = connection.ticket, None
            self._service.leave(ticket)
        if connection.body is not None:
            connection.body.close()
            self._release(connection)

    def _release(self, connection: Connection) -> None:
        body, connection.body = connection.body, None
        if isinstance(body, Memory):
            self._held -= body.size


def _caller(connection: Connection) -> str:
    head, peer = connection.head, connection.peer
    named = head.fields.get("HTTP_X_CALLER") if head else None
    return named or (peer[0] if isinstance(peer, tuple) else str(peer or ""))
