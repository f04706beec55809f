"""Where a request's body goes while it comes: into one buffer, or beyond some size into a file."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from app.errors import StorageFailed
from app.front.chunks import Chunks

Buffer = bytes | memoryview
# Tensors behind a JSON header start on a boundary that vector loads like.
ALIGNMENT = 64
# A body that Flask reads stays in memory up to here.
SPOOL_BYTES = 1 << 20
BLOCK = 1 << 18


class Memory:
    """A body of known length, received where it stays.

    header is how many of its bytes precede the first tensor, which is aligned.
    """

    def __init__(self, length: int, header: int = 0) -> None:
        room: Any = np.empty(length + ALIGNMENT, np.uint8)
        start = -(room.__array_interface__["data"][0] + header) % ALIGNMENT
        self._view = memoryview(room)[start : start + length]
        self.length = length
        self.size = 0
        self.done = not length

    def room(self) -> memoryview:
        """Give the place for what comes next."""
        return self._view[self.size : self.size + 4 * BLOCK]

    def got(self, count: int) -> bytes:
        """Note that so many bytes were put there; gives what is no part of the body."""
        self.size += count
        self.done = self.size == self.length
        return b""

    def take(self) -> memoryview:
        """Give the body."""
        return self._view

    def close(self) -> None:
        """Let go of it."""
        self._view = memoryview(b"")


class Spool:
    """A body for Flask: a stream, in memory while it is small, then in a file that has no name.

    limit is how much is kept; of a longer body in chunks the reader sees enough to refuse it.
    """

    def __init__(self, length: int | None, folder: Path, limit: int) -> None:
        self._file: IO[bytes] = (
            io.BytesIO() if length == 0
            else tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=str(folder))  # noqa: SIM115
        )  # fmt: skip
        self._room = memoryview(bytearray(BLOCK if length is None else min(BLOCK, length)))
        self._chunks = Chunks() if length is None else None
        self._left = length or 0
        self._limit = limit
        self.size = 0
        self.done = length == 0
        self.over = False

    def room(self) -> memoryview:
        """Give the place for what comes next."""
        return self._room if self._chunks else self._room[: self._left]

    def got(self, count: int) -> bytes:
        """Take in so many bytes from there; gives what is no part of the body.

        Raises: gunicorn.http.errors.ParseException if its chunks are broken; StorageFailed.
        """
        if self._chunks is None:
            self._keep(self._room[:count])
            self._left -= count
            self.done = not self._left
            return b""
        for part in self._chunks.feed(bytes(self._room[:count])):
            self._keep(part)
        self.done = self._chunks.done
        return self._chunks.rest

    def _keep(self, part: memoryview) -> None:
        if self.size > self._limit:
            self.over = True
            return
        with self._storing():
            self._file.write(part)
        self.size += len(part)

    def take(self) -> IO[bytes]:
        """Give the body, to be read from its start.

        Raises: StorageFailed, once; what it gives after that is empty.
        """
        with self._storing():
            self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            self._file = io.BytesIO()
            raise StorageFailed(
                f"the body cannot be kept while it comes: {error}; make room in STATE_DIR"
            ) from error


class Gathered(Spool):
    """A body in chunks for the short way, which wants it in one piece; never beyond its limit."""

    def whole(self) -> bytes:
        """Give the body."""
        with self.take() as stream:
            return stream.read()


class Broken(io.RawIOBase):
    """A body's beginning; whoever reads on gets the error that ended it."""

    def __init__(self, beginning: IO[bytes], error: Exception) -> None:
        self._beginning = beginning
        self._error = error

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        """Read on.

        Raises: the error behind the last byte.
        """
        data = self._beginning.read(len(into))
        if not data:
            raise self._error
        into[: len(data)] = data
        return len(data)
