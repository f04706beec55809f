"""The kernel's count of processes that it killed for want of memory, wherever it keeps it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.repository.oom import kills
from tests.service.live import ROOT

EVENTS = "low 0\nhigh 3\nmax 9\noom 4\noom_kill {}\noom_group_kill 5\n"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 0),
        ({"proc/vmstat": "nr_free_pages 9\noom_kill 3\n"}, 3),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.events": EVENTS.format(2),
          "proc/vmstat": "oom_kill 3\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": EVENTS.format(1)}, 1),
        ({"proc/self/cgroup": "3:cpuset:/\n2:cpu,memory:/docker/x\n0::/\n",
          "sys/fs/cgroup/memory/docker/x/memory.oom_control": "under_oom 0\noom_kill 6\n"}, 6),
        ({"proc/self/cgroup": "4:memory:/docker/x\n",
          "sys/fs/cgroup/memory/memory.oom_control": "under_oom 0\noom_kill 4\n"}, 4),
    ],
    ids=["nobody counts", "the machine", "v2", "v2 in a container", "v1", "v1 in a container"],
)  # fmt: skip
def test_the_nearest_count_is_read(tmp_path: Path, files: dict[str, str], count: int) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert kills(tmp_path) == count


def test_a_check_gives_way_to_those_that_serve() -> None:
    code = (
        "from app.repository import oom; oom.volunteer();"
        "print(open('/proc/self/oom_score_adj').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert int(done.stdout) == 500
