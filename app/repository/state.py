"""The desired state and what each worker made of it.

A change of one model gets the next generation number. A worker that has brought itself to a
generation reports so; the worker that serves the caller waits for the reports of all.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from app.processes import started
from app.repository import deaths, usage
from app.repository.crashes import Crashes
from app.repository.database import Database
from app.repository.names import Key
from app.repository.records import Report, Wish, Worker

SCHEMA = """
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER);
INSERT OR IGNORE INTO counter VALUES (1, 0);
CREATE TABLE IF NOT EXISTS models (
    name TEXT, version TEXT, sha256 TEXT, backend TEXT, wanted INTEGER, deleted INTEGER,
    generation INTEGER, deaths INTEGER DEFAULT 0, PRIMARY KEY (name, version));
CREATE TABLE IF NOT EXISTS workers (
    worker TEXT PRIMARY KEY, pid INTEGER, started INTEGER, since REAL, phase TEXT);
CREATE TABLE IF NOT EXISTS reports (
    worker TEXT, name TEXT, version TEXT, generation INTEGER, state TEXT, error TEXT, facts TEXT,
    PRIMARY KEY (worker, name, version));
CREATE TABLE IF NOT EXISTS descriptions (
    name TEXT PRIMARY KEY, digest TEXT, text TEXT, error TEXT);
"""

POLL_SECONDS = 0.005
LONGEST_WAIT_SECONDS = 0.25


class State:
    """The shared store of wishes, workers and their reports."""

    def __init__(self, database: Database, crashes: Crashes) -> None:
        self._database = database
        self._crashes = crashes
        database.create(f"{SCHEMA}{usage.SCHEMA};{deaths.SCHEMA}")

    def changed(self) -> int:
        """Give a number that differs after any other connection has written; cheap."""
        return self._database.changed()

    def lost(self) -> bool:
        """Tell whether this state is no longer the one that the other workers have."""
        return self._database.lost()

    def wait_for_change(self, seen: int, end: float) -> None:
        """Wait until changed() differs from what was seen, for a moment at most: what to look for
        may also be the death of a worker, which writes nothing.

        Units: end in time.monotonic() seconds.
        """
        end = min(end, time.monotonic() + LONGEST_WAIT_SECONDS)
        while self.changed() == seen and time.monotonic() < end:
            time.sleep(POLL_SECONDS)

    # --- wishes ---

    def wishes(self) -> list[Wish]:
        """List what should be true, deleted versions included until every worker has let go."""
        return [_wish(row) for row in self._database.open().execute(f"{_WISH} ORDER BY generation")]

    def wish(self, key: Key) -> Wish | None:
        """Find what should be true of one version."""
        row = self._database.open().execute(f"{_WISH} WHERE name=? AND version=?", key).fetchone()
        return _wish(row) if row else None

    def put(
        self, key: Key, sha256: str, *, backend: str | None = None, wanted: bool = True
    ) -> Wish:
        """Wish for this content; the same content on the same backend is no change."""
        with self._database.write(durable=True) as db:
            old = self.wish(key)
            backend = backend or (old.backend if old else "default")
            new = (sha256, backend, wanted, False)
            if old and new == (old.sha256, old.backend, old.wanted, old.deleted):
                return old
            return self._store(db, key, new)

    def adopt(self, key: Key, sha256: str, wanted: bool) -> None:
        """Take note of a file that was found on disk, unless it is known already."""
        with self._database.write(durable=True) as db:
            old = self.wish(key)
            if old is None or old.deleted:
                self._store(db, key, (sha256, "default", wanted, False))
            elif old.sha256 != sha256:
                self._store(db, key, (sha256, old.backend, old.wanted, False))
                if old.asleep:
                    usage.sleep(db, key, old.asleep)

    def want(self, key: Key, wanted: bool, again: bool = False) -> Wish | None:
        """Wish for a known version to be loaded or not; again makes every worker try afresh."""
        with self._database.write(durable=True) as db:
            old = self.wish(key)
            if old is None or old.deleted:
                return None
            # Somebody's own unload is no sleep: it stays.
            if old.wanted == wanted and not again and not old.asleep:
                return old
            return self._store(db, key, (old.sha256, old.backend, wanted, False))

    def delete(self, key: Key) -> Wish | None:
        """Wish for a version to be gone."""
        with self._database.write(durable=True) as db:
            old = self.wish(key)
            if old is None or old.deleted:
                return None
            return self._store(db, key, (old.sha256, old.backend, False, True))

    def sleep(self, key: Key, reason: str, unused_since: float = float("inf")) -> None:
        """Wish for a version to be unloaded until the next request for it.

        unused_since (time.monotonic() seconds) spares a version that was used or woken later.
        """
        with self._database.write(durable=True) as db:
            old = self.wish(key)
            if old is None or old.deleted or not old.wanted:
                return
            if usage.last_used(db).get(key, 0.0) > unused_since:
                return
            self._store(db, key, (old.sha256, old.backend, False, False))
            usage.sleep(db, key, reason)

    def touch(self, used: Mapping[Key, float]) -> None:
        """Write down when this worker used its models last (time.monotonic() seconds)."""
        with self._database.write() as db:
            usage.touch(db, used)

    def last_used(self) -> dict[Key, float]:
        """List when any worker used a model last (time.monotonic() seconds)."""
        return usage.last_used(self._database.open())

    # --- descriptions ---

    def describe(self, name: str, digest: str, text: str) -> bool:
        """Describe a model; where that is a change, all its wanted versions are wished anew."""
        with self._database.write(durable=True) as db:
            row = db.execute("SELECT digest, error FROM descriptions WHERE name=?", (name,))
            if (row.fetchone() or ("", "")) == (digest, ""):
                return False
            db.execute(
                "INSERT OR REPLACE INTO descriptions VALUES (?, ?, ?, '')", (name, digest, text)
            )
            for wish in self.wishes():
                if wish.key.name == name and wish.wanted:
                    self._store(db, wish.key, (wish.sha256, wish.backend, True, False))
            return True

    def _store(
        self, db: sqlite3.Connection, key: Key, new: tuple[str, str, bool, bool]
    ) -> Wish:
        db.execute("UPDATE counter SET generation = generation + 1")
        db.execute(
            "INSERT OR REPLACE INTO models VALUES"
            " (?, ?, ?, ?, ?, ?, (SELECT generation FROM counter), 0)",
            (*key, *new),
        )
        usage.wake(db, key)
        deaths.forgive(db, key)
        if new[2]:
            # To be wanted counts as a use: a worker that kept the model must not rest it again.
            usage.touch(db, {key: time.monotonic()})
        stored = self.wish(key)
        assert stored is not None
        return stored

    def generation(self) -> int:
        """Give the newest generation of all wishes."""
        found = self._database.open().execute("SELECT coalesce(max(generation), 0) FROM models")
        row = found.fetchone()
        return int(row[0])

    # --- workers ---

    def register(self, worker: str) -> None:
        """Enter this process as a starting worker, and forget those that died."""
        pid = os.getpid()
        self.bury()
        with self._database.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, 'starting')",
                (worker, pid, started(pid), time.monotonic()),
            )

    def serve(self, worker: str, generation: int) -> bool:
        """Enter the phase serving, unless there is a newer generation than the one given."""
        with self._database.write() as db:
            if self.generation() > generation:
                return False
            db.execute("UPDATE workers SET phase='serving' WHERE worker=?", (worker,))
            return True

    def drain(self, worker: str) -> None:
        """Enter the phase draining: nobody waits for this worker any more."""
        with self._database.write() as db:
            db.execute("UPDATE workers SET phase='draining' WHERE worker=?", (worker,))

    def leave(self, worker: str) -> None:
        """Forget this worker."""
        with self._database.write() as db:
            deaths.forget(db, worker)

    def workers(self) -> list[Worker]:
        """List the workers whose processes live."""
        rows = self._database.open().execute(
            "SELECT worker, pid, since, phase, started FROM workers ORDER BY since, worker"
        )
        return [Worker(*row[:4]) for row in rows.fetchall() if started(row[1]) == row[4]]

    def bury(self) -> int:
        """Forget workers whose processes are gone and what only they kept; count the dead."""
        return deaths.bury(self._database, self._crashes)

    def purge(self) -> None:
        """Drop deleted versions that every living worker has let go of."""
        gone = [wish for wish in self.wishes() if wish.deleted]
        if not gone:
            return
        living = {worker.worker for worker in self.workers()}
        for wish in gone:
            done = {r.worker for r in self.reports(wish.key) if r.generation >= wish.generation}
            if living <= done:
                with self._database.write() as db:
                    dropped = db.execute(
                        "DELETE FROM models WHERE name=? AND version=? AND generation=?",
                        (*wish.key, wish.generation),
                    )
                    if dropped.rowcount:
                        usage.forget(db, wish.key)
                    db.execute(
                        "DELETE FROM descriptions WHERE name=?"
                        " AND name NOT IN (SELECT name FROM models)",
                        (wish.key.name,),
                    )

    # --- reports ---

    def report(self, report: Report) -> None:
        """Write down what a worker made of a wish."""
        with self._database.write() as db:
            db.execute(
                "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET generation=excluded.generation,"
                " state=excluded.state, error=excluded.error, facts=excluded.facts"
                " WHERE excluded.generation >= reports.generation",
                (report.worker, *report.key, report.generation, report.state, report.error,
                 json.dumps(report.facts)),
            )  # fmt: skip
            if report.state == "ready":
                db.execute(
                    "UPDATE models SET deaths = 0 WHERE deaths > 0 AND name=? AND version=?",
                    report.key,
                )

    def reports(self, key: Key | None = None) -> list[Report]:
        """List what the workers reported, of one version or of all."""
        where, values = ("WHERE name=? AND version=?", tuple(key)) if key else ("", ())
        rows = self._database.open().execute(
            "SELECT worker, name, version, generation, state, error, facts FROM reports"
            f" {where} ORDER BY worker", values,
        )  # fmt: skip
        return [Report(r[0], Key(r[1], r[2]), r[3], r[4], r[5], json.loads(r[6])) for r in rows]


_WISH = (
    "SELECT name, version, sha256, backend, wanted, deleted, generation, deaths,"
    " coalesce(digest, ''), (SELECT count(*) FROM crashes"
    " WHERE crashes.name = models.name AND crashes.version = models.version),"
    " coalesce((SELECT reason FROM asleep"
    " WHERE asleep.name = models.name AND asleep.version = models.version), '')"
    " FROM models LEFT JOIN descriptions USING (name)"
)


def _wish(row: tuple[Any, ...]) -> Wish:
    return Wish(Key(row[0], row[1]), row[2], row[3], bool(row[4]), bool(row[5]), *row[6:])

