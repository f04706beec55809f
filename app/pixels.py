"""How much of pictures is decoded at one time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Overloaded


class PixelBudget:
    """Bounds the pixels that all threads of a worker decode at one time.

    A file of some kilobytes may be a picture of 64 million pixels, which takes half a gigabyte
    and a second. Whoever comes first is first let in, so that small pictures keep no large one out.
    Units: most in pixels; one picture alone may be larger.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._first = threading.Lock()
        self._room = threading.Condition()

    @contextmanager
    def hold(self, pixels: int, deadline: float) -> Iterator[None]:
        """Wait until so many more may be decoded, and count them meanwhile.

        Units:  deadline in time.monotonic() seconds.
        Raises: Overloaded if there was no room in time.
        """
        self._take(pixels, deadline)
        try:
            yield
        finally:
            with self._room:
                self._held -= pixels
                self._room.notify_all()

    def _take(self, pixels: int, deadline: float) -> None:
        full = Overloaded("other pictures are being decoded; come back later", reason="queue_bytes")
        if not self._first.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise full
        try:
            with self._room:
                if not self._room.wait_for(lambda: self._fits(pixels), deadline - time.monotonic()):
                    raise full
                self._held += pixels
        finally:
            self._first.release()

    def _fits(self, pixels: int) -> bool:
        return not self._held or self._held + pixels <= self._most
