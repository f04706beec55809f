"""What the sandbox said of a file's bytes, kept for every worker and every restart."""

from __future__ import annotations

import json
import time
from typing import Any

from app.repository.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (fingerprint TEXT PRIMARY KEY, verdict TEXT, at REAL)
"""
# More files than one server has; what was forgotten is examined anew.
KEPT = 10_000


class Verdicts:
    """Verdicts by the fingerprint of the bytes and of what judged them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(SCHEMA)

    def find(self, fingerprint: str) -> Any:
        """Find what the sandbox said about these bytes, or None."""
        row = self._database.open().execute(
            "SELECT verdict FROM verdicts WHERE fingerprint=?", (fingerprint,)
        ).fetchone()  # fmt: skip
        return json.loads(row[0]) if row else None

    def keep(self, fingerprint: str, verdict: Any) -> Any:
        """Keep a verdict; the first one stays, so that all workers decide alike."""
        with self._database.write() as db:
            db.execute(
                "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)",
                (fingerprint, json.dumps(verdict), time.time()),
            )
            db.execute(
                "DELETE FROM verdicts WHERE rowid <= (SELECT max(rowid) FROM verdicts) - ?", (KEPT,)
            )
        return self.find(fingerprint)

    def forget(self, fingerprint: str) -> None:
        """Let the sandbox look at these bytes again."""
        with self._database.write() as db:
            db.execute("DELETE FROM verdicts WHERE fingerprint=?", (fingerprint,))
