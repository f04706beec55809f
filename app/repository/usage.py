"""When models were used last, over all workers, and why some are asleep."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from app.processes import boot
from app.repository.names import Key

SCHEMA = """
CREATE TABLE IF NOT EXISTS asleep (
    name TEXT, version TEXT, reason TEXT, PRIMARY KEY (name, version));
CREATE TABLE IF NOT EXISTS uses (
    name TEXT, version TEXT, boot TEXT, at REAL, PRIMARY KEY (name, version))
"""


def touch(db: sqlite3.Connection, used: Mapping[Key, float]) -> None:
    """Write down when models were used.

    Units: seconds of time.monotonic(), which all processes share until the next boot, and which
           nobody who sets the clock moves.
    """
    db.executemany(
        "INSERT INTO uses VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET boot = excluded.boot,"
        " at = CASE WHEN boot = excluded.boot THEN max(at, excluded.at) ELSE excluded.at END",
        [(*key, boot(), at) for key, at in used.items()],
    )


def forget(db: sqlite3.Connection, key: Key) -> None:
    """Forget a version that is gone."""
    db.execute("DELETE FROM uses WHERE name=? AND version=?", key)


def last_used(db: sqlite3.Connection) -> dict[Key, float]:
    """List when any worker used a model last, since the machine was booted.

    Units: seconds of time.monotonic().
    """
    rows = db.execute("SELECT name, version, at FROM uses WHERE boot = ?", (boot(),))
    return {Key(row[0], row[1]): row[2] for row in rows}


def sleep(db: sqlite3.Connection, key: Key, reason: str) -> None:
    """Note that a version is unloaded until the next request: "idle" or "evicted"."""
    db.execute("INSERT OR REPLACE INTO asleep VALUES (?, ?, ?)", (*key, reason))


def wake(db: sqlite3.Connection, key: Key) -> None:
    """Note that it no longer is."""
    db.execute("DELETE FROM asleep WHERE name=? AND version=?", key)
