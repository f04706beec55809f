"""The event loop of a worker: it waits for every connection, and hands on whole requests only.

A slow client costs a file descriptor and what it has sent, never a thread; a refused request costs
the reading of its head.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence

from app.errors import exhausted
from app.front.connection import Connection, State
from app.front.intake import Intake
from app.front.peers import Peer
from app.front.unread import forsaken
from app.trouble import Trouble

log = logging.getLogger("app.front")

READ = select.EPOLLIN
# A client that has begun a request, or reads an answer, has so long for its next byte.
STALL_SECONDS = 60.0
# How long the rest of a request may come after the connection's last answer.
LINGER_SECONDS = 2.0
# How long a new connection may wait with its first request, however short the keep-alive is.
FIRST_SECONDS = 5.0
SWEEP_SECONDS = 0.25
GATHER_SECONDS = 0.002
# So long a new connection is left to a worker that has fewer.
YIELD_SECONDS = 0.005
# In one turn: one alone would keep those who only look at health waiting behind a burst.
ACCEPTS = 32
_EVENTS = 256
_BODIES = (State.BODY, State.DISCARD)


class Loop:
    """Owns the connections of one worker."""

    def __init__(self, intake: Intake, keepalive: float, most: int, peer: Peer) -> None:
        self._intake = intake
        self._peer = peer
        self._keepalive = keepalive
        self._most = most
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._posted: deque[Connection | None] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._accepting = False
        self._swept = 0.0
        self._cramped = False
        self._trouble = Trouble(log, "no connection can be accepted")
        # When accepting goes on, if it was left to others. Units: time.monotonic() seconds.
        self._yields_until = 0.0
        # When to go on with what is waiting, however quiet it is. Units: seconds.
        self._pause: float | None = None
        self._steps: dict[State, Callable[[Connection], None]] = {
            State.HEAD: intake.on_head,
            State.BODY: intake.on_body,
            State.DISCARD: intake.on_discard,
            State.BUSY: lambda connection: connection.mute(self._epoll.unregister),
            State.FLUSH: self._on_flush,
            State.LINGER: self._on_linger,
        }
        self._patience: dict[State, float] = {
            State.BODY: STALL_SECONDS,
            State.DISCARD: STALL_SECONDS,
            State.FLUSH: STALL_SECONDS,
            State.LINGER: LINGER_SECONDS,
        }

    # --- listening ---

    def listen(self, listeners: Sequence[socket.socket]) -> None:
        """Begin to accept."""
        for listener in listeners:
            listener.setblocking(False)
            self._listeners[listener.fileno()] = listener
        self._accept_if(True)

    def deafen(self) -> None:
        """Accept no more from the loop; the listeners stay open."""
        self._accept_if(False)
        self._listeners.clear()
        self._yields_until = 0.0
        self._peer.leave()
        self._keepalive = min(self._keepalive, LINGER_SECONDS)

    def _accept_if(self, wanted: bool) -> None:
        if wanted == self._accepting:
            return
        self._accepting = wanted
        for fd in self._listeners:
            if wanted:
                self._epoll.register(fd, select.EPOLLIN)
            else:
                self._epoll.unregister(fd)

    def _accept_or_yield(self, listener: socket.socket) -> None:
        now = self._intake.turn_began
        for _ in range(ACCEPTS):
            if self._peer.yields(len(self._connections), now):
                self._yields_until = now + YIELD_SECONDS
                self._accept_if(False)
                return
            if not self.accept(listener):
                return

    def accept(self, listener: socket.socket) -> bool:
        """Accept one connection; tells whether there still was one: other workers listen too."""
        try:
            client, peer = listener.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            if exhausted(error) is None:
                raise
            # Until the next sweep, which lets idle connections go.
            self._trouble.met(error)
            self._accept_if(False)
            self._cramped = True
            return False
        self._trouble.over()
        client.setblocking(False)
        if client.family in (socket.AF_INET, socket.AF_INET6):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(client, peer, listener.getsockname(), self.post)
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, READ)
        return True

    # --- turning ---

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._connections)

    def post(self, connection: Connection | None) -> None:
        """Hand a connection back to the loop, from any thread; None only wakes it."""
        self._posted.append(connection)
        os.eventfd_write(self._bell, 1)

    def turn(self, timeout: float) -> None:
        """Wait for something to happen, and handle it."""
        if self._intake.turned_away and self._pause != 0.0:
            # With more refusals to come, a few at a time cost the threads that compute less. Where
            # the loop computes itself they gather meanwhile.
            time.sleep(GATHER_SECONDS)
        self._intake.turned_away = 0
        if self._yields_until:
            timeout = min(timeout, YIELD_SECONDS)
        if self._pause is not None:
            timeout = min(timeout, self._pause)
        events = self._epoll.poll(timeout, _EVENTS)
        self._intake.turn_began = time.monotonic()
        for fd, _ in events:
            connection = self._connections.get(fd)
            if connection is not None:
                self._step(connection, self._steps[connection.state])
            elif fd in self._listeners:
                self._accept_or_yield(self._listeners[fd])
            elif fd == self._bell:
                os.eventfd_read(self._bell)
        while self._posted:
            posted = self._posted.popleft()
            if posted is not None:
                self._step(posted, self._resume)
        self._pause = self._intake.line.work()
        while refused := self._intake.refused():
            for connection in refused:
                self._step(connection, self._intake.send_refusal)
        now = time.monotonic()
        if self._listeners:
            self._peer.note(len(self._connections), now)
        if self._yields_until and now >= self._yields_until:
            self._yields_until = 0.0
            self._accept_if(bool(self._listeners))
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            self._sweep(now)

    def _step(self, connection: Connection, step: Callable[[Connection], None]) -> None:
        try:
            step(connection)
            state = connection.state
            if state is State.FLUSH:
                self._watch(connection, select.EPOLLOUT)
            elif state is State.LINGER and connection.left == 0:
                connection.left = 1
                connection.sock.shutdown(socket.SHUT_WR)
                self._watch(connection, READ)
        except OSError:
            self.drop(connection)
        except Exception:
            # One connection's trouble is no reason to let the others down.
            log.exception("unexpected error with a connection")
            self.drop(connection)

    def _watch(self, connection: Connection, events: int) -> None:
        if connection.watched:
            self._epoll.modify(connection.fd, events)
        else:
            self._epoll.register(connection.fd, events)
            connection.watched = True

    def _resume(self, connection: Connection) -> None:
        """Take back a connection whose answer has been made."""
        if connection.out:
            connection.state = State.FLUSH
        elif connection.close:
            connection.linger()
        else:
            connection.state = State.HEAD
            self._watch(connection, READ)
            if connection.data:
                self._intake.digest(connection)

    def _on_flush(self, connection: Connection) -> None:
        before = connection.unread
        if connection.flush():
            self._resume(connection)
        elif connection.unread < before:
            connection.since = time.monotonic()

    def _on_linger(self, connection: Connection) -> None:
        if not self._intake.discard(connection):
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """Close a connection."""
        if self._connections.pop(connection.fd, None) is None:
            return
        if connection.watched:
            self._epoll.unregister(connection.fd)
        self._intake.forget(connection)
        connection.sock.close()

    # --- time ---

    def _sweep(self, now: float) -> None:
        idle: list[Connection] = []
        for connection in list(self._connections.values()):
            state, waited = connection.state, now - connection.since
            if state is State.BUSY:
                continue
            if state is State.HEAD and not connection.data:
                idle.append(connection)
            limit = self._patience.get(state)
            if limit is None:
                limit = self._head_patience(connection)
            if waited >= limit:
                self._step(connection, self._expire)
            elif state in _BODIES and now - connection.started >= SWEEP_SECONDS:
                self._step(connection, self._intake.on_slow)
        for connection in forsaken(self._connections.values(), self._intake.room):
            self.drop(connection)
        room = len(self._connections) < self._most and not self._cramped
        self._cramped = False
        if not room and idle:
            # Those that wait for nothing make room for those that wait to be let in.
            for connection in sorted(idle, key=lambda one: one.since)[: len(idle) // 10 + 1]:
                self.drop(connection)
        self._accept_if(bool(self._listeners) and (room or bool(idle)))

    def _head_patience(self, connection: Connection) -> float:
        if connection.data:
            return STALL_SECONDS
        return self._keepalive if connection.count else max(self._keepalive, FIRST_SECONDS)

    def _expire(self, connection: Connection) -> None:
        if connection.state is State.BODY:
            self._intake.on_stalled(connection)
            return
        if connection.state is State.HEAD and not connection.data:
            # A request may have come at the last moment.
            count = connection.count
            self._intake.on_head(connection)
            if connection.count > count or connection.data:
                return
        self.drop(connection)

    def close(self) -> None:
        """Drop every connection."""
        for connection in list(self._connections.values()):
            self.drop(connection)
        # The bell stays: a thread that is late would ring at whatever has its number by then.
        self._epoll.close()
