"""Answers that nobody reads: what the kernel does not take is kept here, within bounds."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from app.front.connection import Connection, State

log = logging.getLogger("app.front")


def forsaken(connections: Iterable[Connection], room: int) -> list[Connection]:
    """Choose whom to drop so that the unread answers of the others fit.

    Those go first who have read nothing for the longest time.
    Units: room in bytes.
    """
    waiting = [connection for connection in connections if connection.state is State.FLUSH]
    unread = sum(connection.unread for connection in waiting)
    chosen: list[Connection] = []
    for connection in sorted(waiting, key=lambda one: one.since) if unread > room else ():
        if unread <= room:
            break
        unread -= connection.unread
        chosen.append(connection)
    if chosen:
        log.warning(
            "dropped %d connections that do not read their answers: together these are more "
            "than the %d bytes that are kept (QUEUE_MB)", len(chosen), room,
        )  # fmt: skip
    return chosen
