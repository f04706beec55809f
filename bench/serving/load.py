"""A load generator that costs little: prebuilt requests over raw sockets, one epoll loop.

Closed loop: so many connections, each sends its next request when it has its answer.
Open loop: requests are sent at a rate, whether or not answers come; latency counts from the time
when a request was due, so that a stalled server cannot hide its stall.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

RECEIVE = 1 << 18


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """Write an HTTP request once, to be sent many times."""
    given = {"Host": "bench", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@dataclass
class Result:
    """What a run saw: each answer's status and latency; seconds it took; failed connections."""

    seconds: float = 0.0
    answers: list[tuple[int, float]] = field(default_factory=list)
    broken: int = 0
    unsent: int = 0
    sent: int = 0

    def latencies(self, status: int = 200) -> list[float]:
        return sorted(latency for code, latency in self.answers if code == status)

    def rate(self, status: int = 200) -> float:
        """Answers of this status a second."""
        return len(self.latencies(status)) / self.seconds if self.seconds else 0.0

    def quantile(self, share: float, status: int = 200) -> float:
        """Latency in milliseconds that this share stayed below."""
        sorted_ = self.latencies(status)
        return sorted_[min(len(sorted_) - 1, int(share * len(sorted_)))] * 1e3 if sorted_ else 0.0

    def statuses(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for code, _ in self.answers:
            counts[code] = counts.get(code, 0) + 1
        return counts


class _Connection:
    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.busy = False
        self.due = 0.0
        self._out = memoryview(b"")
        self._in = bytearray()
        self._needed: int | None = None
        self._status = 0
        self._close = False

    def send(self, request: bytes, due: float) -> bool:
        """Begin a request; tells whether all of it went out."""
        self.busy, self.due = True, due
        self._out = memoryview(request)
        self._in.clear()
        self._needed = None
        return self.flush()

    def flush(self) -> bool:
        try:
            while self._out:
                self._out = self._out[self.socket.send(self._out) :]
        except BlockingIOError:
            return False
        return True

    def receive(self) -> int | None:
        """Read on; gives the status when the answer is complete."""
        try:
            data = self.socket.recv(RECEIVE)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionResetError
        self._in += data
        if self._needed is None:
            end = self._in.find(b"\r\n\r\n")
            if end < 0:
                return None
            self._needed = end + 4 + self._head(bytes(self._in[:end]))
        if len(self._in) < self._needed:
            return None
        self.busy = False
        return self._status

    def _head(self, head: bytes) -> int:
        lines = head.lower().split(b"\r\n")
        self._status = int(lines[0].split()[1])
        fields = dict(line.split(b":", 1) for line in lines[1:])
        self._close = fields.get(b"connection", b"").strip() == b"close"
        if b"content-length" not in fields:
            raise ValueError("the answer has no Content-Length")
        return int(fields[b"content-length"])

    @property
    def spent(self) -> bool:
        """The server closes it behind this answer."""
        return self._close


class _Loop:
    def __init__(self, address: tuple[str, int], requests: Sequence[bytes]) -> None:
        self.address = address
        self.requests = requests
        self.result = Result()
        self.selector = selectors.DefaultSelector()
        self.sent = 0
        self.idle: list[_Connection] = []
        self.open = 0

    def connect(self) -> _Connection:
        connection = _Connection(self.address)
        self.open += 1
        self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def drop(self, connection: _Connection) -> None:
        self.open -= 1
        self.selector.unregister(connection.socket)
        connection.socket.close()

    def send(self, connection: _Connection, due: float) -> None:
        request = self.requests[self.sent % len(self.requests)]
        self.sent += 1
        try:
            if not connection.send(request, due):
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self.selector.modify(connection.socket, both, connection)
        except (ConnectionError, BrokenPipeError):
            self.result.broken += 1
            self.drop(connection)

    def step(self, timeout: float, keep: bool) -> list[_Connection]:
        """Handle what is ready; gives the connections that have their answer."""
        done = []
        for key, events in self.selector.select(timeout):
            connection: _Connection = key.data
            try:
                if events & selectors.EVENT_WRITE and connection.flush():
                    self.selector.modify(connection.socket, selectors.EVENT_READ, connection)
                status = connection.receive() if events & selectors.EVENT_READ else None
            except (ConnectionError, BrokenPipeError):
                self.result.broken += connection.busy
                if connection in self.idle:
                    self.idle.remove(connection)
                self.drop(connection)
                continue
            if status is None:
                continue
            now = time.perf_counter()
            if keep:
                self.result.answers.append((status, now - connection.due))
            if connection.spent:
                self.drop(connection)
                connection = self.connect()
            done.append(connection)
        return done

    def close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.data.socket.close()
        self.selector.close()


def closed(
    address: tuple[str, int], requests: Sequence[bytes], concurrency: int, seconds: float,
    warm: float = 0.3,
) -> Result:  # fmt: skip
    """Run the closed loop."""
    loop = _Loop(address, requests)
    for _ in range(concurrency):
        loop.send(loop.connect(), time.perf_counter())
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + warm + seconds:
        while loop.open < concurrency:
            loop.send(loop.connect(), time.perf_counter())
        for connection in loop.step(0.2, now > began + warm):
            loop.send(connection, time.perf_counter())
    loop.result.seconds = time.perf_counter() - began - warm
    loop.result.sent = loop.sent - loop.open
    loop.close()
    return loop.result


def opened(
    address: tuple[str, int], requests: Sequence[bytes], rate: float, seconds: float,
    most: int = 512, drain: float = 3.0,
) -> Result:  # fmt: skip
    """Run the open loop; most bounds the connections, what is due beyond them counts as unsent."""
    loop = _Loop(address, requests)
    began = time.perf_counter()
    due = began
    while (now := time.perf_counter()) < began + seconds:
        while due <= now:
            if loop.idle or loop.open < most:
                loop.send(loop.idle.pop() if loop.idle else loop.connect(), due)
            else:
                loop.result.unsent += 1
            due += 1 / rate
        loop.idle += loop.step(max(0.0, min(due - time.perf_counter(), 0.05)), True)
    loop.result.seconds = time.perf_counter() - began
    end = time.perf_counter() + drain
    while len(loop.idle) < loop.open and time.perf_counter() < end:
        loop.idle += loop.step(0.05, True)
    loop.close()
    return loop.result
