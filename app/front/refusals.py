"""Requests that are refused: their bodies fall where they are, their answers go out at once."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod

from app.front.body import BLOCK, Memory
from app.front.connection import Connection, State
from app.front.head import Head
from app.front.reply import Reply, Stamped
from app.front.service import Service

# Reads in a row of what is thrown away: who sends without end must not keep the others waiting.
_TURNS = 4


class Refusals(ABC):
    """Answers that the loop itself gives."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._scratch = memoryview(bytearray(4 * BLOCK))
        # Requests that were refused by their heads in this turn of the loop.
        self.turned_away = 0
        # Who is refused in this turn with a stamped answer, to be counted and sent together.
        self._refused: list[Connection] = []
        # Bytes of bodies that have begun to come, for the short way.
        self._held = 0

    @abstractmethod
    def digest(self, connection: Connection) -> None:
        """Look whether a head is complete; begin its request if it is."""

    def turn_away(self, connection: Connection, head: Head, reply: Reply | Stamped) -> None:
        """Refuse a request by its head, and let its body fall as it comes."""
        if head.length is None or head.expects:
            # Nobody knows how much will come, or whether.
            connection.close = True
            self.reply(connection, reply)
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
                self.settle(connection)
            else:
                self.reply(connection, reply)

    def discard(self, connection: Connection) -> bool:
        """Throw bytes away, uncopied; tells whether more may come."""
        lingering = connection.state is State.LINGER
        try:
            for _ in range(_TURNS):
                if not connection.left:
                    break
                most = len(self._scratch)
                size = most if lingering else min(connection.left, most)
                # The kernel drops the bytes where they are. Source: tcp(7), MSG_TRUNC.
                count = connection.sock.recv_into(self._scratch, size, socket.MSG_TRUNC)
                if not count:
                    return False
                if not lingering:
                    connection.left -= count
                    connection.since = time.monotonic()
                if count < size:
                    # To ask for more now would only be told that there is none.
                    break
        except BlockingIOError:
            pass
        return True

    def on_slow(self, connection: Connection) -> None:
        """A body takes its time: it keeps no place in a queue, and a refusal need not wait."""
        if connection.reply is not None:
            reply, connection.reply = connection.reply, None
            self._service.settle()
            reply.send(connection.send, connection.close)
        elif connection.ticket is not None:
            ticket, connection.ticket = connection.ticket, None
            self._service.leave(ticket)

    def reject(self, connection: Connection, error: Exception) -> None:
        """Answer a request for the short way with an error, and close behind it."""
        assert connection.head is not None
        connection.close = True
        reply = self._service.refuse(
            connection.route, connection.head, error, connection.started
        )
        self.reply(connection, reply)

    def reply(self, connection: Connection, reply: Reply | Stamped) -> None:
        """Answer from the loop itself; a stamped answer goes out at the end of its turn."""
        self.forget(connection)
        if isinstance(reply, Stamped):
            connection.reply = reply
            self._refused.append(connection)
            return
        reply.send(connection.send, connection.close)
        self.settle(connection)

    def refused(self) -> list[Connection]:
        """Give those whose refusals may be sent now, since they have been counted."""
        refused, self._refused = self._refused, []
        if refused:
            self._service.settle()
        return refused

    def send_refusal(self, connection: Connection) -> None:
        """Send a refusal that has been counted.

        Raises: OSError if the client is gone.
        """
        reply, connection.reply = connection.reply, None
        assert reply is not None
        reply.send(connection.send, connection.close)
        self.settle(connection)

    def settle(self, connection: Connection) -> None:
        """Go on behind an answer: close, wait for the client to read, or for its next request."""
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
            self.release(connection)

    def release(self, connection: Connection) -> None:
        """Take a body, and its bytes, off the connection."""
        body, connection.body = connection.body, None
        if isinstance(body, Memory):
            self._held -= body.size
