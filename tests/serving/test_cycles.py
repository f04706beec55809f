"""Loading and unloading for ever leaves a worker as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests

from tests.service import tiny
from tests.service.live import Server
from tests.serving.test_card import CARD, held
from tests.tools import require_tool

CYCLES = 200
WARM = 40


def standing(pid: int) -> tuple[int, int, int]:
    """Resident bytes, descriptors and threads of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    threads = len(os.listdir(f"/proc/{pid}/task"))
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd")), threads


@pytest.mark.parametrize("backend", ["tflite", "opencl"])
def test_cycles_leave_memory_descriptors_and_ledger_as_they_were(
    tmp_path: Path, backend: str
) -> None:
    if backend == "opencl":
        require_tool("pocl")
    with Server(tmp_path, workers=1, **CARD | {"BACKEND": backend}) as server:
        session = requests.Session()
        assert server.upload("m", "1", tiny.heavy(1)).status_code == 200
        body = {"model_name": "m", "input_data": [[0.0] * 1024]}
        (pid,) = server.pids()

        def cycle() -> None:
            assert session.post(server.url + "/models/m/unload").status_code == 200
            assert session.post(server.url + "/models/m/load").status_code == 200
            assert session.post(server.url + "/inference", json=body).status_code == 200

        for _ in range(WARM):
            cycle()
        before = standing(pid)
        for _ in range(CYCLES):
            cycle()
        after = standing(pid)
        print(f"{backend}: {before} -> {after}")
        # The model is 1 MB: one that stayed behind in each cycle would be 200 MB.
        assert after[0] - before[0] < 10e6
        assert after[1] <= before[1] + 2
        assert after[2] <= before[2] + 2
        if backend == "opencl":
            assert len(held(server)) == 1
        assert session.post(server.url + "/models/m/unload").status_code == 200
        if backend == "opencl":
            server.until(lambda: held(server) == [])
