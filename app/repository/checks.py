"""Golden checks that one worker asks all workers to make, and what each of them found."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from typing import Any

from app.repository.database import Database
from app.repository.names import Key

SCHEMA = """
CREATE TABLE IF NOT EXISTS checks (
    id TEXT, worker TEXT, name TEXT, version TEXT, found TEXT, at REAL, PRIMARY KEY (id, worker))
"""
KEPT_SECONDS = 3600.0


class Checks:
    """A row for each worker that is asked; found is null until it has answered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(SCHEMA)

    def ask(self, key: Key, workers: Iterable[str]) -> str:
        """Ask these workers to check a version; gives the id of the question."""
        name, now = uuid.uuid4().hex, time.monotonic()
        with self._database.write() as db:
            # Those of another boot may lie in what is the future now.
            kept = (now - KEPT_SECONDS, now + KEPT_SECONDS)
            db.execute("DELETE FROM checks WHERE at NOT BETWEEN ? AND ?", kept)
            db.executemany(
                "INSERT INTO checks VALUES (?, ?, ?, ?, NULL, ?)",
                [(name, worker, *key, now) for worker in workers],
            )
        return name

    def open(self, worker: str) -> list[tuple[str, Key]]:
        """List what a worker was asked and has not answered."""
        rows = self._database.open().execute(
            "SELECT id, name, version FROM checks WHERE worker=? AND found IS NULL", (worker,)
        )
        return [(row[0], Key(row[1], row[2])) for row in rows]

    def answer(self, check: str, worker: str, found: dict[str, Any]) -> None:
        """Write down what a worker found."""
        with self._database.write() as db:
            db.execute(
                "UPDATE checks SET found=? WHERE id=? AND worker=?",
                (json.dumps(found), check, worker),
            )

    def answers(self, check: str) -> dict[str, dict[str, Any]]:
        """Give what was found so far, by worker."""
        rows = self._database.open().execute(
            "SELECT worker, found FROM checks WHERE id=? AND found IS NOT NULL", (check,)
        )
        return {row[0]: json.loads(row[1]) for row in rows}
