"""Dead workers: forgotten, and the models that they died of counted."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Sequence

from app.processes import started
from app.repository.crashes import Crash, Crashes
from app.repository.database import Database
from app.repository.names import Key
from app.repository.records import Wish

log = logging.getLogger("app.deaths")

SCHEMA = """
CREATE TABLE IF NOT EXISTS crashes (name TEXT, version TEXT, at REAL)
"""
# So many workers that a model was the end of are no accident. Crashes count for so long.
ALLOWED = 3
WINDOW_SECONDS = 600.0


def bury(database: Database, crashes: Crashes) -> int:
    """Forget workers whose processes are gone and what only they kept; count the dead."""
    rows = database.open().execute("SELECT worker, pid, started FROM workers").fetchall()
    crashes.sweep({row[0] for row in rows})
    dead = [row[0] for row in rows if started(row[1]) != row[2]]
    if not dead:
        return 0
    ends = {worker: crashes.of(worker) for worker in dead}
    mine: list[str] = []
    with database.write() as db:
        _count_loads(db, dead)
        for worker in dead:
            # Others may do the same at this moment.
            if forget(db, worker):
                mine.append(worker)
                _count_crash(db, ends[worker])
    for worker in mine:
        crashes.forget(worker)
        crash = ends[worker]
        if crash is not None:
            _say(worker, crash)
            crashes.tell(crash)
    return len(dead)


def forget(db: sqlite3.Connection, worker: str) -> bool:
    """Forget a worker; tells whether it was known."""
    db.execute("DELETE FROM reports WHERE worker=?", (worker,))
    return db.execute("DELETE FROM workers WHERE worker=?", (worker,)).rowcount > 0


def forgive(db: sqlite3.Connection, key: Key) -> None:
    """Give a model new chances."""
    db.execute("DELETE FROM crashes WHERE name=? AND version=?", key)


def _count_loads(db: sqlite3.Connection, dead: Sequence[str]) -> None:
    marks = ",".join("?" * len(dead))
    # One for all that died together: a server killed as a whole is no model's fault.
    db.execute(
        "UPDATE models SET deaths = deaths + 1 WHERE (name, version, generation) IN"
        " (SELECT name, version, generation FROM reports"
        f" WHERE state='loading' AND worker IN ({marks}))",
        dead,
    )


def _count_crash(db: sqlite3.Connection, crash: Crash | None) -> None:
    key = crash and crash.guilty
    if not key:
        return
    now = time.monotonic()
    db.execute(
        "DELETE FROM crashes WHERE name=? AND version=? AND at NOT BETWEEN ? AND ?",
        (*key, now - WINDOW_SECONDS, now),
    )
    db.execute("INSERT INTO crashes VALUES (?, ?, ?)", (*key, now))
    (count,) = db.execute(
        "SELECT count(*) FROM crashes WHERE name=? AND version=?", key
    ).fetchone()
    if count == ALLOWED:
        # News for all workers: they let go of it.
        db.execute("UPDATE counter SET generation = generation + 1")
        db.execute(
            "UPDATE models SET generation = (SELECT generation FROM counter)"
            " WHERE name=? AND version=? AND wanted", key,
        )  # fmt: skip


def _say(worker: str, crash: Crash) -> None:
    running = ", ".join(map(str, crash.running)) or "no model"
    where = " in the card's driver" if crash.device else ""
    log.error(
        "a worker crashed%s while it ran %s: %s", where, running, crash.what,
        extra={"worker": worker, "where": crash.where},
    )  # fmt: skip


def set_aside(wish: Wish) -> str:
    """Say why a model is left alone, if it is: it was the end of too many workers."""
    again = f"POST /models/{wish.key.name}/load tries again"
    if wish.crashes >= ALLOWED:
        return (
            f"{wish.crashes} workers crashed while they ran it, or were killed for want of memory; "
            f"{again}, with another backend if model.yaml names one"
        )
    if wish.deaths >= ALLOWED:
        return f"{wish.deaths} workers died while they loaded it; {again}"
    return ""
