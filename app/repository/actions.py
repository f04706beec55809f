"""What callers asked for, so that they can ask how far it has come."""

from __future__ import annotations

from app.repository.database import Database
from app.repository.names import Key
from app.repository.records import Action

SCHEMA = """
CREATE TABLE IF NOT EXISTS actions (
    id TEXT PRIMARY KEY, kind TEXT, name TEXT, version TEXT, sha256 TEXT, generation INTEGER,
    at REAL)
"""
KEPT = 1000


class Actions:
    """The newest actions by their ids."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(SCHEMA)

    def begin(self, action: Action) -> None:
        """Keep an action, so that its caller can ask for it later."""
        with self._database.write(durable=True) as db:
            db.execute(
                "INSERT INTO actions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (action.id, action.kind, *action.key, action.sha256, action.generation, action.at),
            )
            db.execute(
                "DELETE FROM actions WHERE rowid <= (SELECT max(rowid) FROM actions) - ?", (KEPT,)
            )

    def find(self, action: str) -> Action | None:
        """Find an action by its id."""
        row = self._database.open().execute(
            "SELECT * FROM actions WHERE id=?", (action,)
        ).fetchone()  # fmt: skip
        return Action(row[0], row[1], Key(row[2], row[3]), *row[4:]) if row else None
