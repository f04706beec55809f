"""One server for one STATE_DIR: two would count each other's workers as their own."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from app.errors import SettingsError
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Claim:
    """The lock that a master holds as long as it lives: kill -9 frees it."""

    fd: int

    def drop(self) -> None:
        """Let go in a worker, which must not hold what a master that was killed has held."""
        os.close(self.fd)


def claim(settings: Settings, upgrades: bool) -> Claim:
    """Take STATE_DIR for this master; one that upgrades another (USR2) shares it meanwhile.

    Raises: SettingsError that says who has it.
    """
    path = settings.state_dir / "server.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not upgrades:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Shared, so that a master that is to take this one's place can have it, too.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        holder = _holder(path)
        os.close(fd)
        if not isinstance(error, BlockingIOError):
            raise SettingsError(
                f"STATE_DIR={str(settings.state_dir)!r}: files cannot be locked there "
                f"({error.strerror}); name a folder on a local disk"
            ) from error
        raise SettingsError(
            f"STATE_DIR={str(settings.state_dir)!r} belongs to a server that runs{holder}; stop "
            "that one first, or give this one a STATE_DIR of its own"
        ) from error
    note = {"pid": os.getpid(), "host": settings.host, "port": settings.port}
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(note).encode(), 0)
    return Claim(fd)


def _holder(path: Path) -> str:
    try:
        note = json.loads(path.read_text())
        return f" as process {note['pid']} on {note['host']}:{note['port']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
