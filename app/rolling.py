"""A reload (HUP) that replaces one half of the workers after the other: somebody always serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

# A worker that has not begun for so long holds up a reload no more.
LONGEST_SECONDS = 180.0


def roll(
    server: Any, has_begun: Callable[[int], bool], tried: Callable[[Callable[[], None]], None]
) -> None:
    """Teach gunicorn's master to reload by halves; has_begun tells it of a worker by its age.

    tried carries out a step that may fail for want of room.

    Left alone it tells all old workers to stop when the new ones have hardly been forked: until
    those have loaded their models nobody takes a request, and another reload meanwhile stops them,
    too. No more than a half, since old and new ones together hold models of the same card.
    """
    reload: Callable[[], None] = server.reload
    manage: Callable[[], None] = server.manage_workers
    # Workers that are no younger are to be replaced.
    outdated = 0
    began = 0.0

    def reload_only() -> None:
        nonlocal outdated
        outdated = server.worker_age
        # What it does about workers is done by and by below. It has no hook before that: on_reload
        # comes earlier, and stops nothing. With any to see, gunicorn 27 would wait for old ones.
        hidden = {"WORKERS": {}, "spawn_worker": _nothing, "manage_workers": _nothing}
        shown = {name: vars(server)[name] for name in hidden if name in vars(server)}
        vars(server).update(hidden)
        try:
            reload()
        finally:
            for name in hidden:
                del vars(server)[name]
            vars(server).update(shown)

    def missing() -> int:
        """Count the workers to start now, behind each of which the master stops the oldest."""
        ages = sorted(int(worker.age) for worker in server.WORKERS.values())
        staying = ages[max(0, len(ages) - server.num_workers) :]
        waits = time.monotonic() < began + LONGEST_SECONDS
        if waits and not all(map(has_begun, staying)):
            return 0
        old = sum(age <= outdated for age in staying)
        return min(old, max(1, int(server.num_workers) // 2))

    def manage_by_halves() -> None:
        nonlocal began
        if count := missing():
            began = time.monotonic()
            # Where none can be started, none is stopped.
            for _ in range(count):
                tried(server.spawn_worker)
        manage()

    server.reload = reload_only
    server.manage_workers = manage_by_halves


def _nothing() -> None:
    return
