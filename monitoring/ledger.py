"""What the masters count about their workers, in one small file that all processes can read."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EXIT_REASONS = ("max_requests", "requested", "timeout", "killed", "crashed", "boot_failed")


class WorkerLedger:
    """Starts and exits of workers, exact across masters (an upgrade has two)."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "workers.json"
        self._lock_path = directory / "workers.lock"

    def read(self) -> dict[str, Any]:
        """Give {"starts": n, "desired": n, "exits": {reason: n}}."""
        try:
            stored: dict[str, Any] = dict(json.loads(self._path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            # A damaged one is begun anew: an error here, in a hook, would end the master.
            stored = {}
        exits = dict.fromkeys(EXIT_REASONS, 0) | stored.get("exits", {})
        return {"starts": 0, "desired": 0, **stored, "exits": exits}

    def started(self, desired: int) -> None:
        """Count a start and note how many workers there should be."""
        with self._updating() as record:
            record["starts"] += 1
            record["desired"] = desired

    def exited(self, reason: str) -> None:
        """Count an exit under one of EXIT_REASONS."""
        with self._updating() as record:
            record["exits"][reason] += 1

    def clear(self) -> None:
        """Forget everything."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _updating(self) -> Iterator[dict[str, Any]]:
        with self.locked():
            record = self.read()
            yield record
            beside = self._path.with_suffix(".new")
            beside.write_text(json.dumps(record))
            beside.replace(self._path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other masters out meanwhile."""
        # Somebody may have removed the folder since the start.
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
