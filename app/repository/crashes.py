"""What a worker was doing when a signal ended it: it writes that down before and while it dies.

Two files for each worker. In one, each of its threads has a place for the model that it runs, in
memory that the kernel keeps for the file whatever becomes of the process. Into the other Python's
fault handler writes which thread it was, and where. A worker that was killed leaves no report: that
is somebody's wish and no model's fault, unless the kernel has counted that it killed for want of
memory since the worker looked last.
"""

from __future__ import annotations

import contextlib
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
from app.repository import oom
from app.repository.names import Key
from app.tensors import Array
from app.trouble import Trouble

log = logging.getLogger("app.crashes")

Run = Callable[[Mapping[str, Array]], dict[str, Array]]
# A thread's number, then name, version and backend, which are shorter together, then a mark: 1 on
# what ran when this worker looked last. The first place is no thread's: it has what the kernel had
# killed by then. Units: bytes.
_IDENT, _PLACE = 8, 160
_PLACES = 2048
STARVED = "killed by the kernel for want of memory"
_REPORT, _RUNNING = ".report", ".running"
_WHAT = re.compile(r"Fatal Python error: (.*)")
_WHO = re.compile(r"Current thread 0x([0-9a-f]+).*?(?=\n\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Crash:
    """A worker's end: what it was and where, and which models were running.

    guilty: the model that ran in the thread that crashed, or ran alone; for want of memory, that
        ran for longer than a look ago alone.
    device: it was in none of their threads, while one of them was on the card: in its driver.
    """

    what: str
    where: str
    running: tuple[Key, ...]
    guilty: Key | None
    device: bool


class Crashes:
    """The reports of all workers, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listeners: list[Callable[[Crash], None]] = []

    def listen(self, listener: Callable[[Crash], None]) -> None:
        """Be told of the crashed workers that this one buries."""
        self._listeners.append(listener)

    def tell(self, crash: Crash) -> None:
        """Tell of one."""
        for listener in self._listeners:
            listener(crash)

    def of(self, worker: str) -> Crash | None:
        """Read what a dead worker left; None if it did not crash."""
        try:
            text = self._path(worker, _REPORT).read_text(errors="replace")
            table = self._path(worker, _RUNNING).read_bytes()
        except OSError:
            return None
        what, who = _WHAT.search(text), _WHO.search(text)
        if what is None:
            return _starved(table)
        thread, where = (int(who[1], 16), who[0]) if who else (0, "")
        return _judged(what[1], where, thread, table)

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


def _starved(table: bytes) -> Crash | None:
    """Tell whether a worker without a report was killed for want of memory, and of which model.

    Whoever takes all memory needs time for it, while others run and end.
    """
    if oom.kills() <= int.from_bytes(table[_IDENT : 2 * _IDENT], "little"):
        return None
    marked, running = set(), set()
    for at in range(_PLACE, len(table), _PLACE):
        place = _read(table[at + _IDENT : at + _PLACE - 1])
        if any(table[at : at + _IDENT]) and place is not None:
            running.add(place[0])
            if table[at + _PLACE - 1]:
                marked.add(place[0])
    suspects = marked or running
    guilty = next(iter(suspects)) if len(suspects) == 1 else None
    return Crash(STARVED, "", tuple(sorted(running)), guilty, False)


def _judged(what: str, where: str, thread: int, table: bytes) -> Crash:
    places: dict[int, tuple[Key, str] | None] = {}
    for at in range(_PLACE, len(table), _PLACE):
        ident = int.from_bytes(table[at : at + _IDENT], "little")
        if ident:
            places[ident] = _read(table[at + _IDENT : at + _PLACE - 1])
    running = {place for place in places.values() if place is not None}
    keys = tuple(sorted({key for key, _ in running}))
    if thread in places:
        here = places[thread]
        return Crash(what, where, keys if here is None else (here[0],), here and here[0], False)
    device = any(backend == "opencl" for _, backend in running)
    return Crash(what, where, keys, keys[0] if len(keys) == 1 and not device else None, device)


def _read(text: bytes) -> tuple[Key, str] | None:
    """Read what a thread runs; None where it runs nothing."""
    if not text[0]:
        return None
    name, version, backend = text.rstrip(b"\0").decode("ascii").split("/")
    return Key(name, version), backend


class Recorder:
    """Writes down what this worker runs; does nothing before begin."""

    def __init__(self, crashes: Crashes) -> None:
        self._crashes = crashes
        self._table: mmap.mmap | None = None
        self._report: IO[bytes] | None = None
        self._worker = ""
        self._trouble = Trouble(log, "what this worker runs cannot be noted for its crash")
        self._free = list(range((_PLACES - 1) * _PLACE, 0, -_PLACE))
        self._local = threading.local()

    def begin(self, worker: str) -> None:
        """Begin for the worker of this name, once; where the disk is full as soon as it is not."""
        self._worker = worker
        if self._report is None:
            self._open()

    def _open(self) -> None:
        try:
            self._report, self._table = self._crashes.create(self._worker)
        except OSError as error:
            # Half of it would take the room that others need.
            with contextlib.suppress(OSError):
                self._crashes.forget(self._worker)
            self._trouble.met(error)
            return
        self._trouble.over()
        self._arm()
        self._here()
        self.look()

    def look(self) -> None:
        """Note what the kernel has killed until now, and mark what runs; to be done every second.

        A run begins without a mark.
        """
        if self._report is None and self._worker:
            self._open()
        table = self._table
        if table is None:
            return
        table[_IDENT : 2 * _IDENT] = oom.kills().to_bytes(_IDENT, "little")
        for number, busy in enumerate(table[_IDENT::_PLACE]):
            if number and busy:
                table[number * _PLACE + _PLACE - 1] = 1

    def _arm(self) -> None:
        """Take the signals, from gunicorn too: a worker that hangs and is aborted says where.

        Only a report of all threads says which of them it was.
        """
        if self._report is not None:
            faulthandler.disable()
            faulthandler.enable(self._report, all_threads=True)

    def end(self) -> None:
        """Leave nothing: this worker ends well."""
        worker, self._worker = self._worker, ""
        last, self._report = self._report, None
        if last is not None:
            faulthandler.disable()
            last.close()
            self._crashes.forget(worker)

    def watched(self, key: Key, backend: str, run: Run) -> Run:
        """Give a run that is written down while it lasts."""
        self._arm()  # the compiler of a driver has perhaps taken SIGABRT for itself
        text = f"{key}/{backend}".encode("ascii").ljust(_PLACE - _IDENT, b"\0")

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
