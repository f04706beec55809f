"""The ledger of the card's memory: what each worker holds there, in one file for all of them.

A worker asks before it loads, says what it measured afterwards, and is forgotten when it dies.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.errors import DeviceMemoryError
from app.processes import started
from app.repository.sqlite import Connection, sound, transaction

# Files whose size on the card is remembered.
KEPT = 10_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS held (
    pid INTEGER, started INTEGER, device TEXT, name TEXT, version TEXT, bytes INTEGER, used REAL,
    PRIMARY KEY (pid, device, name, version));
CREATE TABLE IF NOT EXISTS measured (
    device TEXT, sha256 TEXT, bytes INTEGER, PRIMARY KEY (device, sha256))
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What one worker holds of one model on one device.

    Units: size in bytes; used on time.monotonic's clock, which all processes share.
    """

    pid: int
    device: str
    name: str
    version: str
    size: int
    used: float


class Ledger:
    """The book of one card; safe for threads and processes, opened after fork.

    Units: capacity in bytes, what all workers together may hold.
    """

    def __init__(self, path: Path, device: str, capacity: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._device = device
        self.capacity = capacity
        self._pid = os.getpid()
        self._started = started(self._pid)
        self._lock = threading.Lock()
        with sound(path):
            self._db = sqlite3.connect(
                path, timeout=30, isolation_level=None, check_same_thread=False, factory=Connection
            )
            # The book describes living processes: a power cut ends them, and so all its entries.
            self._db.execute("PRAGMA synchronous=OFF")
            for statement in _SCHEMA.split(";\n"):
                self._db.execute(statement)

    def reserve(self, name: str, version: str, size: int) -> None:
        """Enter what a load will need, before it begins.

        Units:  size in bytes.
        Raises: DeviceMemoryError with what is needed and what is free.
        """
        with self._change() as db:
            free = self.capacity - self._sum(db, but=(name, version))
            if size > free:
                raise DeviceMemoryError(size, max(0, free))
            self._enter(db, name, version, size)

    def settle(self, name: str, version: str, size: int) -> None:
        """Correct an entry to what was measured; it is true whether or not it fits."""
        with self._change() as db:
            self._enter(db, name, version, size)

    def learn(self, sha256: str, size: int) -> None:
        """Remember what a model was measured to hold, for the next load of the same file."""
        with self._change() as db:
            db.execute(
                "INSERT OR REPLACE INTO measured VALUES (?, ?, ?)", (self._device, sha256, size)
            )
            db.execute(
                "DELETE FROM measured WHERE rowid <= (SELECT max(rowid) FROM measured) - ?", (KEPT,)
            )

    def measured(self, sha256: str) -> int | None:
        """Give what a file was measured to hold on this device, in bytes."""
        with self._change() as db:
            row = db.execute(
                "SELECT bytes FROM measured WHERE device = ? AND sha256 = ?",
                (self._device, sha256),
            ).fetchone()
        return int(row[0]) if row else None

    def release(self, name: str, version: str) -> None:
        """Forget what this worker held of a model."""
        with self._change() as db:
            db.execute(
                "DELETE FROM held WHERE pid = ? AND device = ? AND name = ? AND version = ?",
                (self._pid, self._device, name, version),
            )

    def touch(self, used: Mapping[tuple[str, str], float]) -> None:
        """Say when models were used last, for many at once since it costs a transaction."""
        with self._change() as db:
            db.executemany(
                "UPDATE held SET used = max(used, ?) WHERE pid = ? AND device = ? AND name = ? "
                "AND version = ?",
                [(at, self._pid, self._device, *model) for model, at in used.items()],
            )

    def held(self) -> list[Held]:
        """List what living workers hold on this device."""
        with self._change() as db:
            rows = db.execute(
                "SELECT pid, device, name, version, bytes, used FROM held WHERE device = ? "
                "ORDER BY name, version, pid",
                (self._device,),
            )
            return [Held(*row) for row in rows]

    def free(self) -> int:
        """Bytes that may still be reserved."""
        return max(0, self.capacity - sum(entry.size for entry in self.held()))

    def victims(
        self, needed: int, idle: float, keep: int = 0, spare: tuple[str, str] = ("", "")
    ) -> list[tuple[str, str]]:
        """Choose the models to evict so that needed bytes come free: the longest unused first.

        Units:  needed in bytes; idle in seconds, the least time a model must be unused; keep in
                models that stay at any rate; spare is never chosen.
        Returns nothing if evicting all of those would not be enough.
        """
        models: dict[tuple[str, str], tuple[float, int]] = {}
        total = 0
        for entry in self.held():
            model = entry.name, entry.version
            used, size = models.get(model, (0.0, 0))
            models[model] = max(used, entry.used), size + entry.size
            total += entry.size
        oldest = time.monotonic() - idle
        candidates = sorted(
            (used, model, size) for model, (used, size) in models.items()
            if used <= oldest and model != spare
        )  # fmt: skip
        missing = needed - (self.capacity - total)
        chosen = []
        for _, model, size in candidates[: max(0, len(models) - keep)]:
            if missing <= 0:
                break
            chosen.append(model)
            missing -= size
        return chosen if missing <= 0 else []

    def close(self) -> None:
        """Take everything of this worker out of the book."""
        with self._change() as db:
            db.execute(
                "DELETE FROM held WHERE pid = ? AND device = ?", (self._pid, self._device)
            )
        self._db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._db):
            self._heal()
            yield self._db

    def _heal(self) -> None:
        """Strike out the workers that are gone; a pid that came back has another start time."""
        for pid, since in self._db.execute("SELECT DISTINCT pid, started FROM held").fetchall():
            if started(pid) != since:
                self._db.execute("DELETE FROM held WHERE pid = ? AND started = ?", (pid, since))

    def _sum(self, db: sqlite3.Connection, but: tuple[str, str]) -> int:
        """Add up what is held, without what this worker's entry for one model would replace."""
        (total,) = db.execute(
            "SELECT coalesce(sum(bytes), 0) FROM held WHERE device = ? "
            "AND NOT (pid = ? AND name = ? AND version = ?)",
            (self._device, self._pid, *but),
        ).fetchone()
        return int(total)

    def _enter(self, db: sqlite3.Connection, name: str, version: str, size: int) -> None:
        db.execute(
            "INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET bytes = excluded.bytes",
            (self._pid, self._started, self._device, name, version, size, time.monotonic()),
        )
