"""SQLite on a real disk: one that fills up, or has damaged the file."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from app.errors import StorageFailed

log = logging.getLogger("app.state")

_DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_DISK = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
)  # fmt: skip


class Connection(sqlite3.Connection):
    """Closes itself when nobody has it any more, which Python 3.13 warns of otherwise."""

    def __del__(self) -> None:
        # One that could not be opened has nothing to close.
        with suppress(sqlite3.ProgrammingError):
            self.close()


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Hold a lock while the file is opened for the first time; a damaged one is set aside before.

    What it knew is lost, but not the server: models are found again on disk, and are loaded as
    those that are new. The damaged file is kept beside the new one.
    """
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        damage = _damage(path) if path.exists() else None
        if damage:
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            path.rename(aside)
            # A journal of the old file would be played into the new one.
            for ending in ("-wal", "-shm", "-journal"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            log.error("%s is damaged (%s): it is kept as %s, and begun anew", path, damage, aside)
        yield


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Make one transaction that has the only right to write.

    Raises: StorageFailed if the disk is full, read-only or failing.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException as error:
        # SQLite has rolled back by itself where the disk failed it.
        if db.in_transaction:
            db.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError) and _kind(error) in _DISK:
            raise StorageFailed(
                f"the server's own records cannot be written: {error}; make room in STATE_DIR"
            ) from error
        raise


def _kind(error: sqlite3.DatabaseError) -> int:
    """The codes of SQLite have their kind in the lowest byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _damage(path: Path) -> str | None:
    try:
        with closing(sqlite3.connect(path, timeout=30)) as db:
            found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if _kind(error) not in _DAMAGE:
            raise
        return str(error)
    return None if found == "ok" else found
