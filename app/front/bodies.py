"""Bodies as they come, until they are whole or broken."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

from gunicorn.http.errors import NoMoreData, ParseException

from app.errors import (
    InvalidRequest,
    Overloaded,
    RequestTooLarge,
    ServingError,
    StorageFailed,
)
from app.front.body import Broken, Buffer, Gathered, Memory, Spool
from app.front.connection import Connection, State
from app.front.head import Head
from app.front.refusals import Refusals
from app.front.reply import CONTINUE
from app.front.service import Service

# Reads from one connection in a row: a long upload must not keep the others waiting.
_TURNS = 4


class Bodies(Refusals):
    """Receives bodies.

    Units: room in bytes of bodies that are held at once, and of answers that nobody has read yet.
    """

    def __init__(self, service: Service, room: int) -> None:
        super().__init__(service)
        self.room = room

    @abstractmethod
    def ready(self, connection: Connection, head: Head, body: Buffer) -> None:
        """Hand a whole request for the short way to a thread."""

    @abstractmethod
    def run_page(self, connection: Connection, head: Head, body: Any) -> None:
        """Hand a whole request for the app to a thread."""

    def receive(self, connection: Connection, body: Memory | Spool) -> None:
        """Begin to receive a body, some of which may have come with the head.

        Raises: OSError if the client is gone.
        """
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
        except (ParseException, StorageFailed) as error:
            self.broken(connection, error)
            return
        connection.data = rest
        if isinstance(body, Memory):
            self._held += body.size
        self.on_body(connection)

    def on_body(self, connection: Connection) -> None:
        """Read on in a body.

        Raises: OSError if the client is gone.
        """
        body = connection.body
        assert body is not None
        turns = _TURNS
        try:
            while not body.done:
                count = connection.sock.recv_into(body.room())
                if not count:
                    raise NoMoreData(b"")
                connection.since = time.monotonic()
                connection.data = body.got(count)
                if isinstance(body, Memory):
                    self._held += count
                    if self._held > self.room and not body.done:
                        self._burst(connection)
                        return
                elif body.over:
                    break
                turns -= 1
                if not turns and not body.done:
                    return
        except BlockingIOError:
            return
        except (ParseException, NoMoreData, StorageFailed) as error:
            self.broken(connection, error)
            return
        self._complete(connection, body)

    def _complete(self, connection: Connection, body: Memory | Spool) -> None:
        head = connection.head
        assert head is not None
        if isinstance(body, Gathered) and body.size > self._service.limit:
            self.reject(connection, RequestTooLarge(
                f"the body is larger than {self._service.limit} bytes, the most that is taken"
            ))  # fmt: skip
            return
        try:
            whole: Any = body.whole() if isinstance(body, Gathered) else body.take()
        except StorageFailed as error:
            self.broken(connection, error)
            return
        self.release(connection)
        if isinstance(body, Spool) and not isinstance(body, Gathered):
            connection.close = connection.close or not body.done
            self.run_page(connection, head, whole)
        else:
            self.ready(connection, head, whole)

    def _burst(self, connection: Connection) -> None:
        """Stop reading a body that would take more memory than there is for them all."""
        self.reject(connection, Overloaded(
            f"this worker holds {self._held} bytes of requests that are still being sent, its "
            "limit; come back later", reason="queue_bytes",
        ))  # fmt: skip

    def broken(self, connection: Connection, error: Exception) -> None:
        """Answer a request whose body ends early, is not framed as it says, or finds no room."""
        body, head = connection.body, connection.head
        assert body is not None
        assert head is not None
        connection.close = True
        self.release(connection)
        if connection.route is None:
            # Whether the body matters, and what to answer, is for the app to say.
            assert isinstance(body, Spool)
            try:
                beginning = body.take()
            except StorageFailed as full:
                beginning, error = body.take(), full
            self.run_page(connection, head, Broken(beginning, error))
            return
        body.close()
        if isinstance(error, ServingError):
            self.reject(connection, error)
            return
        said = f": {error}" if isinstance(error, ParseException) else ""
        self.reject(connection, InvalidRequest(
            f"the body ends early or is not framed as its headers say{said}; send it whole"
        ))  # fmt: skip

    def on_stalled(self, connection: Connection) -> None:
        """A client has stopped sending in the middle of a body."""
        self.broken(connection, NoMoreData(b""))
