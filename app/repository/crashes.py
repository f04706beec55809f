"""What a worker was doing when a signal ended it: it writes that down before and while it dies.

Two files for each worker. In one, each of its threads has a place for the model that it runs, in
memory that the kernel keeps for the file whatever becomes of the process. Into the other Python's
fault handler writes which thread it was, and where. A worker that was killed leaves no report: that
is somebody's wish, or the kernel's choice of a victim, and no model's fault.
"""

from __future__ import annotations

import faulthandler
import logging
import mmap
import os
import re
import threading
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from app.processes import started
from app.repository.names import Key
from app.tensors import Array
from app.trouble import report

log = logging.getLogger("app.crashes")

Run = Callable[[Mapping[str, Array]], dict[str, Array]]
# A thread's number, then name and version, which are shorter than this together. Units: bytes.
_IDENT, _PLACE = 8, 160
_PLACES = 2048
_REPORT, _RUNNING = ".report", ".running"
_WHAT = re.compile(r"Fatal Python error: (.*)")
_WHO = re.compile(r"Current thread 0x([0-9a-f]+).*?(?=\n\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Crash:
    """A worker's end: what it was, the models that may have caused it, and where it was."""

    what: str
    suspects: tuple[Key, ...]
    where: str


class Crashes:
    """The reports of all workers, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, worker: str) -> Crash | None:
        """Read what a dead worker left; None if it did not crash."""
        try:
            text = self._path(worker, _REPORT).read_text(errors="replace")
            table = self._path(worker, _RUNNING).read_bytes()
        except OSError:
            return None
        what, who = _WHAT.search(text), _WHO.search(text)
        if what is None:
            return None
        thread, where = (int(who[1], 16), who[0]) if who else (0, "")
        return Crash(what[1], _suspects(table, thread), where)

    def forget(self, worker: str) -> None:
        """Remove what a worker left."""
        for kind in (_REPORT, _RUNNING):
            self._path(worker, kind).unlink(missing_ok=True)

    def sweep(self, known: Container[str]) -> None:
        """Remove what dead workers left that nobody will bury."""
        for path in self._folder.glob(f"*{_REPORT}"):
            pid = path.stem.partition("-")[0]
            if path.stem not in known and pid.isdecimal() and started(int(pid)) is None:
                self.forget(path.stem)

    def create(self, worker: str) -> tuple[IO[bytes], mmap.mmap]:
        """Make the files of a worker.

        Raises: OSError if there is no room for them.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._path(worker, _RUNNING).open("w+b") as file:
            # Memory of a file with holes could not be written on a full disk: SIGBUS.
            os.posix_fallocate(file.fileno(), 0, _PLACES * _PLACE)
            table = mmap.mmap(file.fileno(), _PLACES * _PLACE)
        return self._path(worker, _REPORT).open("wb"), table

    def _path(self, worker: str, kind: str) -> Path:
        return self._folder / f"{worker}{kind}"


def _suspects(table: bytes, thread: int) -> tuple[Key, ...]:
    """Name what the thread ran; where it is none of Python's, all that was running."""
    running: dict[int, bytes] = {}
    for at in range(0, len(table), _PLACE):
        ident = int.from_bytes(table[at : at + _IDENT], "little")
        if ident:
            running[ident] = table[at + _IDENT : at + _PLACE].rstrip(b"\0")
    blamed = [running[thread]] if thread in running else running.values()
    texts = {text.decode("ascii", "replace") for text in blamed if text[:1] not in (b"", b"\0")}
    return tuple(Key(*text.split("/", 1)) for text in sorted(texts) if "/" in text)


class Recorder:
    """Writes down what this worker runs; does nothing before begin."""

    def __init__(self, crashes: Crashes) -> None:
        self._crashes = crashes
        self._table: mmap.mmap | None = None
        self._report: IO[bytes] | None = None
        self._worker = ""
        self._free = list(range((_PLACES - 1) * _PLACE, -1, -_PLACE))
        self._local = threading.local()

    def begin(self, worker: str) -> None:
        """Begin for the worker of this name, once; on a full disk without."""
        if self._report is not None:
            return
        try:
            self._report, self._table = self._crashes.create(worker)
        except OSError as error:
            report(log, error, "if this worker crashes, nobody will know of which model")
            return
        self._worker = worker
        # Behind gunicorn's own handlers: a hung worker that the master aborts says where it was.
        # Only a report of all threads says which of them it was.
        faulthandler.enable(self._report, all_threads=True)
        self._here()

    def end(self) -> None:
        """Leave nothing: this worker ends well."""
        if self._report is not None:
            faulthandler.disable()
            self._report.close()
            self._crashes.forget(self._worker)

    def watched(self, key: Key, run: Run) -> Run:
        """Give a run that is written down while it lasts."""
        text = str(key).encode("ascii").ljust(_PLACE - _IDENT, b"\0")

        def watched(inputs: Mapping[str, Array]) -> dict[str, Array]:
            table, at = self._table, self._here()
            if table is None or at is None:
                return run(inputs)
            table[at : at + len(text)] = text
            try:
                return run(inputs)
            finally:
                table[at] = 0

        return watched

    def _here(self) -> int | None:
        """Say where this thread writes; None where more threads run than have a place."""
        place: _Place | None = getattr(self._local, "place", None)
        if place is None:
            if self._table is None or not self._free:
                return None
            place = self._local.place = _Place(self._free, self._table)
        return place.at + _IDENT


class _Place:
    """A thread's place, which is free again when the thread has ended."""

    def __init__(self, free: list[int], table: Any) -> None:
        self._free, self._table = free, table
        self.at = free.pop()
        table[self.at : self.at + _IDENT] = threading.get_ident().to_bytes(_IDENT, "little")

    def __del__(self) -> None:
        self._table[self.at : self.at + _IDENT] = bytes(_IDENT)
        self._free.append(self.at)
