"""An answer as bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Reply:
    """Status, header fields and body; its length and the connection's fate are added."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def head(self, close: bool) -> bytes:
        """Write the head."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.fields)
        fate = "close" if close else "keep-alive"
        return (
            f"{LINES[self.status]}Date: {_date.now()}\r\nConnection: {fate}\r\n"
            f"{fields}Content-Length: {len(self.body)}\r\n\r\n"
        ).encode("latin-1")


    def send(self, send: Callable[..., None], close: bool) -> None:
        """Send it."""
        send(self.head(close), self.body)


class Template:
    """An answer that is sent many times, each with another text in the places of a mark."""

    def __init__(self, reply: Reply, mark: str) -> None:
        self.status = reply.status
        self.length = len(reply.body)
        self._pieces = [
            [piece.encode("latin-1") for piece in text.split(mark)]
            for text in (
                (reply.head(close) + reply.body).decode("latin-1") for close in (False, True)
            )
        ]

    def send(self, text: str, send: Callable[..., None], close: bool) -> None:
        """Send it with this text."""
        send(text.encode("latin-1").join(self._pieces[close]))


@dataclass(slots=True)
class Stamped:
    """A template with its text."""

    template: Template
    text: str

    def send(self, send: Callable[..., None], close: bool) -> None:
        """Send it."""
        self.template.send(self.text, send, close)


class _Date:
    """The Date field, made once a second."""

    def __init__(self) -> None:
        self._known = (0, "")

    def now(self) -> str:
        second = int(time.time())
        at, text = self._known
        if at != second:
            text = formatdate(second, usegmt=True)
            self._known = (second, text)
        return text


_date = _Date()
