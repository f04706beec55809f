"""Worker slots: small numbers that name the metric files, each held by one live process.

prometheus_client names its files by pid and never removes a dead process's counters, so each
restart makes scrapes slower for ever. A slot's files are handed on to the next holder instead,
who goes on counting where the last one stopped.

A slot is held by a lock on `slot_<n>.lock` (an open-file-description lock: it passes to the child
by fork, ends with its last holder even at kill -9, and is seen by every process that shares the
directory, so that two masters during an upgrade never hand out the same slot).
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitoring import dbfile

GAUGE_MODES = ("livesum", "livemax", "liveall")
"""The only gauge modes allowed: in others a slot's next holder would inherit the last value."""

PREFIXES = ("counter", "histogram", *(f"gauge_{mode}" for mode in GAUGE_MODES))

# struct flock: type, whence, start, length, pid (0 for open-file-description locks).
_FLOCK = struct.Struct("hhqqi4x")


@dataclass(frozen=True)
class Slot:
    """A slot that this process, or the master that forked it, holds."""

    directory: Path
    number: int
    fd: int

    def files(self) -> dict[str, Path]:
        """Give the metric files of this slot by prefix."""
        return {p: self.directory / f"{p}_{self.number}.db" for p in PREFIXES}

    def mend(self) -> int:
        """Bring the files into order for a new holder and count those that were broken."""
        self.drop_gauges()
        return sum(dbfile.mend(path) for path in self.files().values())

    def is_sound(self) -> bool:
        """Say whether every file is there to be written, with its first pages on the disk."""
        return all(
            path.exists() and path.stat().st_size >= dbfile.CAPACITY
            for path in self.files().values()
        )

    def drop_gauges(self) -> None:
        """Remove what only a live holder may say."""
        for prefix, path in self.files().items():
            if prefix.startswith("gauge_"):
                path.unlink(missing_ok=True)

    def write(self, **record: object) -> None:
        """Keep a note about the holder in the lock file."""
        text = json.dumps(record).encode()
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, text, 0)

    def read(self) -> dict[str, Any]:
        """Give the note about the holder."""
        return _parse_note(os.pread(self.fd, 4096, 0))

    def release(self) -> None:
        """Hand the slot on, whoever else still has the descriptor."""
        _lock(self.fd, fcntl.F_UNLCK)
        os.close(self.fd)


@dataclass(frozen=True)
class Holder:
    """A slot as others see it; pid is None until the holder has said who it is."""

    number: int
    live: bool
    pid: int | None


def acquire(directory: Path) -> Slot:
    """Take the lowest slot that no live process holds."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        fd = os.open(_lock_path(directory, number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _try_lock(fd):
            slot = Slot(directory, number, fd)
            slot.write()
            return slot
        os.close(fd)
    raise AssertionError("itertools.count ends nowhere")


def holders(directory: Path) -> Iterator[Holder]:
    """Give every slot that was ever held here, lowest first."""
    for number in itertools.count():
        try:
            fd = os.open(_lock_path(directory, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            pid = _parse_note(os.pread(fd, 4096, 0)).get("pid")
            yield Holder(number, _is_locked(fd), pid)
        finally:
            os.close(fd)


def _lock_path(directory: Path, number: int) -> Path:
    return directory / f"slot_{number}.lock"


def _parse_note(text: bytes) -> dict[str, Any]:
    # A reader may meet the moment between truncation and writing.
    try:
        note = json.loads(text or b"{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _lock(fd: int, kind: int, command: int = fcntl.F_OFD_SETLK) -> bytes:
    result = fcntl.fcntl(fd, command, _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))
    assert isinstance(result, bytes)
    return result


def _try_lock(fd: int) -> bool:
    try:
        _lock(fd, fcntl.F_WRLCK)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _is_locked(fd: int) -> bool:
    kind: int = _FLOCK.unpack(_lock(fd, fcntl.F_WRLCK, fcntl.F_OFD_GETLK))[0]
    return kind != fcntl.F_UNLCK
