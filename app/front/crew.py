"""Threads that are there when there is something to do."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping

from app.errors import Overloaded
from app.trouble import Trouble, began

log = logging.getLogger("app.front")

# How long a thread beyond the first few waits for more to do.
IDLE_SECONDS = 10.0


class Crew:
    """Runs what it is given, each in a thread that does nothing else meanwhile.

    most bounds the threads; keep of them stay when there is nothing to do. One is there from the
    start: where the system has no room for more, all waits for that.
    """

    def __init__(self, name: str, most: int, keep: int) -> None:
        self._name = name
        self._most = most
        self._keep = keep
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 1
        self._idle = 0
        self._trouble = Trouble(log, f"a thread to {name} cannot be started")
        if not began(self._serve, name):
            raise Overloaded("the system has no room for the threads of a worker")

    @property
    def waiting(self) -> int:
        """Tasks that no thread has begun with; may be out of date when it is read."""
        return self._tasks.qsize()

    def do(self, task: Callable[[], None]) -> None:
        """Run a task as soon as there is a thread."""
        with self._lock:
            start = self._tasks.qsize() >= self._idle and self._threads < self._most
            self._threads += start
            self._tasks.put(task)
        if start and not began(self._serve, self._name):
            with self._lock:
                self._threads -= 1
                self._trouble.met(Overloaded("the system has no room for one more"))
        elif start:
            self._trouble.over()

    def stop(self) -> None:
        """End the threads as they become idle."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                log.exception("unexpected error in a request's thread")
            # A thread that waits for the next would keep its body.
            del task

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            self._idle += 1
            spare = self._threads > self._keep
        while True:
            late = False
            try:
                task = self._tasks.get(timeout=IDLE_SECONDS if spare else None)
            except queue.Empty:
                task, late = None, True
            with self._lock:
                # A task that came between the time-out and here is still to be done.
                if late and self._tasks.qsize():
                    continue
                self._idle -= 1
                self._threads -= task is None
                return task


def hired(sizes: Mapping[str, tuple[int, int]]) -> list[Crew]:
    """Make crews by name, of the most threads and those that stay; all or none.

    Raises: Overloaded.
    """
    crews: list[Crew] = []
    try:
        for name, (most, keep) in sizes.items():
            crews.append(Crew(name, most, keep))
    except Overloaded:
        for crew in crews:
            crew.stop()
        raise
    return crews
