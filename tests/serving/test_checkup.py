"""POST /models/<m>/verify asks every worker, whichever of them is reached."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import requests

from tests.service import tiny
from tests.service.live import Server


def verified(server: Server, path: str = "/models/m/verify") -> dict[str, Any]:
    answer = requests.post(server.url + path, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_one_request_finds_the_fault_in_every_worker(
    tmp_path: Path, faulty: dict[str, str]
) -> None:
    # Nothing but the request finds the fault.
    with Server(tmp_path, workers=3, VERIFY_PERIOD_S="0", **faulty) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        right = verified(server)
        assert right["ok"]
        assert {worker["pid"] for worker in right["workers"]} == set(server.pids())
        assert {worker["backend"] for worker in right["workers"]} == {"opencl"}
        assert all(worker["ratio"] <= 1 for worker in right["workers"])
        (tmp_path / "faults" / "lie").touch()
        wrong = verified(server, "/models/m/versions/1/verify")
        assert not wrong["ok"]
        assert {worker["ok"] for worker in wrong["workers"]} == {False}
        after = verified(server)
        assert after["ok"]
        assert {worker["backend"] for worker in after["workers"]} == {"tflite"}


def test_a_worker_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2, ACTION_TIMEOUT_S="1") as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        stopped = server.pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            found = verified(server)
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert not found["ok"]
        (late,) = [worker for worker in found["workers"] if worker["pid"] == stopped]
        assert late["ok"] is None
        assert "in time" in late["detail"]
        assert [worker["ok"] for worker in found["workers"] if worker is not late] == [True]
        assert requests.post(server.url + "/models/none/verify", timeout=60).status_code == 404
