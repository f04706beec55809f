"""Tells whether a process that wrote something down still lives, though pids come back."""

from __future__ import annotations

import functools
from pathlib import Path


def started(pid: int) -> int | None:
    """Give the start time of a process, or None when there is none or it is a zombie.

    Units: clock ticks since boot.
    Source: proc(5), fields 3 and 22 of /proc/pid/stat.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


@functools.cache
def boot() -> str:
    """Name the time since the machine was booted, in which time.monotonic() goes on.

    Source: random(4), /proc/sys/kernel/random/boot_id.
    """
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
