"""A body in chunks, decoded as it comes."""

from __future__ import annotations

import re

from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkSize,
    InvalidHeader,
    LimitRequestHeaders,
)

_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?", re.DOTALL
)
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
_LONGEST_LINE = 8190
_MOST_TRAILERS = 100


class Chunks:
    """Feed it what comes; it gives the body's bytes and says when the body is over.

    rest has what follows the body, once done is true.
    Source: RFC 9112, section 7.1.
    """

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self._held = b""
        self._left = 0
        self._step = self._size
        self._trailers = 0

    def feed(self, data: bytes) -> list[memoryview]:
        """Decode on.

        Raises: gunicorn.http.errors.ParseException where the framing is broken.
        """
        self._held += data
        parts: list[memoryview] = []
        while not self.done and self._step(parts):
            pass
        if self.done:
            self.rest, self._held = self._held, b""
        return parts

    def _size(self, parts: list[memoryview]) -> bool:
        line = self._line()
        if line is None:
            return False
        match = _SIZE.fullmatch(line)
        if match is None:
            raise InvalidChunkSize(line[:40])
        self._left = int(match[1], 16)
        self._step = self._data if self._left else self._trailer
        return True

    def _data(self, parts: list[memoryview]) -> bool:
        part = memoryview(self._held)[: self._left]
        if part:
            parts.append(part)
            self._left -= len(part)
            self._held = self._held[len(part) :]
        if self._left:
            return False
        if len(self._held) < 2:
            if self._held and self._held != b"\r":
                raise ChunkMissingTerminator(self._held)
            return False
        if self._held[:2] != b"\r\n":
            raise ChunkMissingTerminator(self._held[:2])
        self._held = self._held[2:]
        self._step = self._size
        return True

    def _trailer(self, parts: list[memoryview]) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self.done = True
            return False
        self._trailers += 1
        if self._trailers > _MOST_TRAILERS:
            raise LimitRequestHeaders("too many trailers")
        if not _TRAILER.fullmatch(line):
            raise InvalidHeader("a trailer")
        return True

    def _line(self) -> bytes | None:
        line, end, rest = self._held.partition(b"\r\n")
        if len(line) > _LONGEST_LINE:
            raise InvalidChunkSize(b"a line that is too long")
        if not end:
            if b"\n" in line:
                raise InvalidChunkSize(b"a line that ends in a bare LF")
            return None
        if b"\n" in line:
            raise InvalidChunkSize(b"a line with a bare LF")
        self._held = rest
        return line
