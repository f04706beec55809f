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


def endure(server: Any) -> None:
    """Teach gunicorn's master to go on where it cannot fork just now; it tries every second.

    Left alone it ends, and takes the workers along that there are. Those that a reload (HUP) is to
    replace serve until it can.
    """
    _spare(server)
    spawn: Callable[[], None] = server.spawn_workers
    reload: Callable[[], None] = server.reload
    manage: Callable[[], None] = server.manage_workers
    trouble = Trouble(log, "no worker can be started")
    # Workers that are no younger are to be replaced.
    outdated = 0

    def tried(step: Callable[[], None]) -> None:
        try:
            step()
            trouble.over()
        except OSError as error:
            if not passes(error):
                raise
            trouble.met(error)

    def replace() -> None:
        fresh = sum(worker.age > outdated for worker in server.WORKERS.values())
        for _ in range(server.num_workers - fresh):
            server.spawn_worker()

    def reload_patiently() -> None:
        nonlocal outdated
        outdated = server.worker_age
        tried(reload)

    def manage_patiently() -> None:
        if any(worker.age <= outdated for worker in server.WORKERS.values()):
            tried(replace)
        manage()

    server.spawn_workers = lambda: tried(spawn)
    server.reload = reload_patiently
    server.manage_workers = manage_patiently


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
