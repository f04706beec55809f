"""One SQLite file that all workers share, and that survives kill -9."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.repository.sqlite import Connection, sound, transaction


class Database:
    """The file; safe for threads, made anew in each process. It must lie on a local disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        self._file: tuple[int, int] | None = None

    def create(self, schema: str) -> None:
        """Make the tables that are not there yet; a semicolon and a new line end a statement.

        A damaged file is set aside.
        """
        # Two connections that make a new file WAL at once lock each other out.
        with sound(self._path), self.write(durable=True) as db:
            for statement in schema.split(";\n"):
                db.execute(statement)
            self._file = self._found()

    def lost(self) -> bool:
        """Tell whether the file has been removed, or another put in its place: what is open here
        is then nobody else's; cheap."""
        return self._found() != self._file

    def _found(self) -> tuple[int, int] | None:
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return facts.st_dev, facts.st_ino

    def open(self) -> sqlite3.Connection:
        """Give this thread's connection."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None or self._local.pid != os.getpid():
            # A thread that has ended leaves its connection to whichever thread collects it.
            db = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False,
                factory=Connection,
            )  # fmt: skip
            db.execute("PRAGMA journal_mode=WAL")
            self._local.db, self._local.pid = db, os.getpid()
        return db

    @contextmanager
    def write(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Make one transaction; a durable one survives a power cut too.

        Raises: StorageFailed if the disk is full, read-only or failing.
        """
        db = self.open()
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        with transaction(db):
            yield db

    def changed(self) -> int:
        """Give a number that differs after any other connection has written; cheap."""
        return int(self.open().execute("PRAGMA data_version").fetchone()[0])
