"""What one worker thinks of its device, and what several workers remember of it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from fcntl import LOCK_EX, flock
from pathlib import Path

from app.processes import boot

# The kinds of faults, as the metrics name them.
HUNG, LOST, WRONG = "hung", "lost", "wrong_results"


class DeviceTrust:
    """Whether this worker still believes its device; once lost, trust never comes back.

    Listeners are told the kind of the fault and its detail, once, from the thread that found it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[str, str], None]] = []
        self.kind = ""
        self.detail = ""

    @property
    def suspect(self) -> bool:
        """The device hung, was lost, or computed something wrong."""
        return bool(self.kind)

    def listen(self, listener: Callable[[str, str], None]) -> None:
        """Be told about the first fault."""
        self._listeners.append(listener)

    def lose(self, kind: str, detail: str) -> None:
        """Stop believing the device."""
        with self._lock:
            if self.kind:
                return
            self.kind, self.detail = kind, detail
        for listener in self._listeners:
            listener(kind, detail)


class RestartMemory:
    """How often workers restarted because of the device, kept in one file for all of them.

    Units: window in seconds.
    """

    def __init__(self, path: Path, limit: int, window: float) -> None:
        self._path = path
        self._limit = limit
        self._window = window

    def note(self, kind: str) -> int:
        """Write one restart down; gives how many there are within the window."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            flock(lock, LOCK_EX)
            entries = [*self._entries(), (boot(), time.monotonic(), kind)]
            # Replaced, not rewritten: a worker killed in between leaves the old file whole.
            fresh = self._path.with_suffix(".new")
            fresh.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
            os.replace(fresh, self._path)
        return len(entries)

    def recent(self) -> list[tuple[float, str]]:
        """Give the restarts within the window: when (time.monotonic() seconds) and why."""
        return [(at, kind) for _, at, kind in self._entries()]

    def _entries(self) -> list[tuple[str, float, str]]:
        """Read what happened since the boot, a card's new chance: the clock may have been set."""
        try:
            lines = self._path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        oldest = time.monotonic() - self._window
        entries = [entry for line in lines if (entry := _entry(line)) is not None]
        return [entry for entry in entries if entry[0] == boot() and entry[1] >= oldest]

    def exhausted(self) -> bool:
        """Tell whether the device had its chances, so that the CPU has to do."""
        return len(self.recent()) >= self._limit

    def reason(self) -> str:
        """Say why the device is not used."""
        kinds = ", ".join(sorted({kind for _, kind in self.recent()}))
        return (
            f"the device failed {len(self.recent())} times within {self._window / 60:g} minutes "
            f"({kinds}); it is tried again when the first of these is older than that"
        )


def _entry(line: str) -> tuple[str, float, str] | None:
    """Read a line; None for one that a bad disk, or another version of this, has left."""
    try:
        since, at, kind = json.loads(line)
        return str(since), float(at), str(kind)
    except (ValueError, TypeError):
        return None
