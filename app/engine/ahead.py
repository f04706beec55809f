"""Work that can wait, in a thread beside the requests: one thing after the other.

The process waits for that thread when it ends, since a driver's compiler that is at work then
aborts it. So what takes long asks `ending` now and then.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger("app.engine")


def ending() -> bool:
    """Tell whether the process is about to end and only waits for its threads."""
    return not threading.main_thread().is_alive()


class Ahead:
    """Does what it is asked to, in order; its thread is there only while there is something."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._working = False

    def ask(self, work: Callable[[], None]) -> None:
        """Have something done soon. What it raises is logged."""
        with self._changed:
            self._waiting.append(work)
            if not self._working:
                self._working = True
                threading.Thread(target=self._serve, name="ahead").start()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is left to do; tells whether that came true in so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, seconds)

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self._waiting or ending():
                    self._working = False
                    self._changed.notify_all()
                    return
                work = self._waiting.popleft()
            try:
                work()
            except Exception:
                log.exception("unexpected error in the background")
