"""One connection: whose turn it is, what has come, and what has still to go."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from app.front.body import Memory, Spool
from app.front.head import Head
from app.front.reply import Reply, Stamped


class State(IntEnum):
    """What a connection waits for."""

    HEAD = 0  # a request, or the rest of a head
    BODY = 1  # the rest of a body
    DISCARD = 2  # the rest of a body that nobody wants
    BUSY = 3  # a thread's answer
    FLUSH = 4  # the client, to read on
    LINGER = 5  # the client's end of the connection


class Connection:
    """Belongs to the loop, except while it is BUSY: then to the thread that answers.

    Units: since in time.monotonic() seconds, of the last progress; looked in bytes, of a head that
           has no end yet, when it was last looked at.
    """

    __slots__ = (
        "_lock", "_post", "body", "close", "count", "data", "fd", "head", "left", "looked",
        "out", "peer", "reply", "route", "server", "since", "sock", "started", "state", "ticket",
        "watched",
    )  # fmt: skip

    def __init__(
        self, sock: socket.socket, peer: Any, server: Any, post: Callable[[Connection], None]
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.server = server
        self.state = State.HEAD
        self.since = self.started = time.monotonic()
        self.watched = True
        self.data = b""
        self.count = 0
        self.looked = 0
        self.head: Head | None = None
        self.route: Any = None
        self.ticket: Any = None
        self.body: Memory | Spool | None = None
        self.left = 0
        self.reply: Reply | Stamped | None = None
        self.out: list[memoryview] = []
        self.close = False
        self._lock = threading.Lock()
        self._post = post

    def send(self, *parts: bytes | memoryview) -> None:
        """Send what the client takes now; the rest is kept in out.

        Raises: OSError if the client is gone.
        """
        if self.out:
            self.out += [memoryview(part) for part in parts]
            return
        try:
            sent = self.sock.sendmsg(parts) if len(parts) > 1 else self.sock.send(parts[0])
        except BlockingIOError:
            sent = 0
        if sent == sum(map(len, parts)):
            return
        for part in parts:
            if sent < len(part):
                self.out.append(memoryview(part)[sent:])
            sent = max(0, sent - len(part))

    @property
    def unread(self) -> int:
        """Bytes that are kept in out."""
        return sum(map(len, self.out))

    def flush(self) -> bool:
        """Send on; tells whether everything has gone.

        Raises: OSError if the client is gone.
        """
        kept, self.out = self.out, []
        self.send(*kept[:64])
        self.out += kept[64:]
        return not self.out

    def finish(self, close: bool) -> None:
        """End the turn of the thread that has answered; called by it, once."""
        self.close = self.close or close
        self.since = time.monotonic()
        with self._lock:
            if self.watched and not (self.close or self.out or self.data):
                self.state = State.HEAD
                return
        self._post(self)

    def linger(self) -> None:
        """Close, once the answer has gone and the client has seen it.

        The client may still be sending; closing at once would destroy the answer on its way.
        """
        self.state = State.FLUSH if self.out else State.LINGER
        self.close = True
        self.left = 0
        self.since = time.monotonic()

    def mute(self, unwatch: Callable[[int], None]) -> None:
        """Hear no more of a connection whose answer is still being made."""
        with self._lock:
            if self.state is State.BUSY:
                unwatch(self.fd)
                self.watched = False


class Outlet:
    """What gunicorn's Response writes to: a socket that never blocks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def sendall(self, data: bytes) -> None:
        """Send, or keep for later."""
        self._connection.send(data)


def hung_up(client: socket.socket) -> bool:
    """Tell whether a client has gone, or has at least ended its own side."""
    try:
        return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
