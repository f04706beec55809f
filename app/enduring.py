"""What gunicorn's master goes through without ending, or ending its workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from app.trouble import Trouble, passes

log = logging.getLogger("app.enduring")

# The master comes by every second: one that has not for so long stood still with all the others.
STILL_SECONDS = 10.0
# So long workers have then to show that they live.
SPARED_SECONDS = 10.0


def endure(server: Any) -> Callable[[Callable[[], None]], None]:
    """Teach gunicorn's master to go on where it cannot fork just now; it tries every second.

    Left alone it ends, and takes the workers along that there are.
    Returns what carries out a step that may meet such a failure.
    """
    _spare(server)
    spawn: Callable[[], None] = server.spawn_workers
    trouble = Trouble(log, "no worker can be started")

    def tried(step: Callable[[], None]) -> None:
        try:
            step()
            trouble.over()
        except OSError as error:
            if not passes(error):
                raise
            trouble.met(error)

    server.spawn_workers = lambda: tried(spawn)
    return tried


def _spare(server: Any) -> None:
    """Let a pause of the whole machine, or container, count against no worker.

    Left alone the master aborts all of them behind one that was longer than their timeout.
    """
    murder: Callable[[], None] = server.murder_workers
    seen, spared_until = time.monotonic(), 0.0

    def patiently() -> None:
        nonlocal seen, spared_until
        now = time.monotonic()
        if now - seen > STILL_SECONDS:
            log.warning("stood still for %.0f s; the workers are given time", now - seen)
            spared_until = now + SPARED_SECONDS
        seen = now
        if now >= spared_until:
            murder()

    server.murder_workers = patiently
