"""Keeps the exporter's process alive from gunicorn's master, without a thread there."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two starts: doubled while the exporter dies young."""


class Keeper:
    """One child process that is started again when it ends."""

    def __init__(self, command: Sequence[str], folder: Path, log: Any) -> None:
        self._command = command
        self._folder = folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._earliest = 0.0
        self._pause = SHORTEST

    def look(self) -> None:
        """Start the process if it does not run; not more often than its deaths allow."""
        now = time.monotonic()
        if (self._process is not None and self._process.poll() is None) or now < self._earliest:
            return
        if self._started:
            self._log.warning("metrics: the exporter has ended; starting it again")
            young = now - self._started < LONGEST
            self._pause = min(2 * self._pause, LONGEST) if young else SHORTEST
        self._started, self._earliest = now, now + self._pause
        # close_fds keeps the listening socket out of it: gunicorn makes that one inheritable.
        # A session of its own has its own share of the CPU where the kernel groups by session.
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, stdin=subprocess.DEVNULL, close_fds=True,
            start_new_session=True,
        )  # fmt: skip

    def stop(self) -> None:
        """End the process; it is not waited for."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
