"""One server for one STATE_DIR: two would count each other's workers as their own.

`python -m app.claim` prints the process id of the master that has it, for signals.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import SettingsError
from app.settings import Settings

FILE = "server.lock"


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
    path = settings.state_dir / FILE
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


def master(settings: Settings) -> int:
    """Give the process id of the master that runs on STATE_DIR.

    Raises: SettingsError if there is none.
    """
    path = settings.state_dir / FILE
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if note := _note(path):
            return int(note["pid"])
    except OSError:
        pass
    raise SettingsError(f"no server runs on STATE_DIR={str(settings.state_dir)!r}")


def _holder(path: Path) -> str:
    note = _note(path)
    return f" as process {note['pid']} on {note['host']}:{note['port']}" if note else ""


def _note(path: Path) -> dict[str, Any]:
    """Read what the master wrote; empty if that is not there or damaged."""
    try:
        note = json.loads(path.read_text())
        return {"pid": int(note["pid"]), "host": note["host"], "port": note["port"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


if __name__ == "__main__":
    try:
        print(master(Settings.from_env(os.environ)))
    except SettingsError as error:
        sys.exit(str(error))
