"""Who runs below a master, read from /proc while processes come and go."""

from __future__ import annotations

from pathlib import Path


def children(master: int) -> dict[int, bytes]:
    """Give the command line of each child; one that ended meanwhile is left out."""
    found = {}
    for path in Path(f"/proc/{master}/task").glob("*/children"):
        try:
            listed = path.read_text().split()
        except OSError:  # a thread that ended
            continue
        for pid in listed:
            try:
                found[int(pid)] = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
    return found


def exporter(master: int) -> int | None:
    """Give the process that answers scrapes, None while there is none."""
    return next((pid for pid, line in children(master).items() if _exports(line)), None)


def workers(master: int) -> list[int]:
    """List every child but the exporter."""
    return sorted(pid for pid, line in children(master).items() if not _exports(line))


def _exports(line: bytes) -> bool:
    return b"monitoring.exporter" in line
