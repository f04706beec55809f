"""What the kernel says of processes it killed for want of memory, and whom it should rather."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_CGROUPS = Path("/sys/fs/cgroup")
# Added to a process's share of the memory, in thousandths. Source: proc(5), oom_score_adj.
_RATHER = "500"


def kills(root: Path = Path("/")) -> int:
    """Count the processes that were killed for want of memory, in this one's memory cgroup if that
    counts them, else on the whole machine; 0 where nobody counts.

    Source: memory.events of cgroup v2, memory.oom_control of v1, oom_kill of /proc/vmstat.
    """
    for path in _counters(root):
        with contextlib.suppress(OSError):
            if found := _COUNT.search(path.read_text()):
                return int(found[1])
    return 0


def volunteer() -> None:
    """Let the kernel kill this process rather than one that serves."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_RATHER)


def _counters(root: Path) -> Iterator[Path]:
    groups = root / _CGROUPS.relative_to("/")
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, kinds, path = line.split(":", 2)
            # A container may see its own group in the place of the root.
            for within in (path.strip("/"), ""):
                if number == "0":
                    yield groups / within / "memory.events"
                elif "memory" in kinds.split(","):
                    yield groups / "memory" / within / "memory.oom_control"
    yield root / "proc/vmstat"
