"""Files that somebody changes under a server that serves them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import requests

from tests.service import tiny
from tests.service.live import Load, Server

ASKS = 12  # enough of them for every one of two workers
BEFORE, AFTER = tiny.add(1), tiny.add(2)


def answers(server: Server) -> set[float]:
    asked = [server.infer("m", [[0.0] * 4]) for _ in range(ASKS)]
    assert {answer.status_code for answer in asked} == {200}, asked[0].text
    return {next(iter(a.json()["outputs"].values()))["data"][0][0] for a in asked}


def another(server: Server, path: Path, blob: bytes) -> None:
    """Put a file into a model's place, and let a worker end and be replaced."""
    path.write_bytes(blob)
    known = server.pids()
    os.kill(known[-1], signal.SIGKILL)
    server.until(lambda: server.pids() != known and len(server.pids()) == len(known))
    server.wait_ready()


@pytest.mark.parametrize(
    "blob", [BEFORE[: len(BEFORE) // 2], b"", b"\0" * 4096], ids=["cut", "empty", "zeros"]
)
def test_load_of_what_cannot_be_served_changes_nothing(tmp_path: Path, blob: bytes) -> None:
    with Server(tmp_path, workers=2) as server:
        assert server.upload("m", "1", BEFORE).status_code == 200
        file = server.models / "m/1/model.tflite"
        file.write_bytes(blob)

        def ask() -> requests.Response:
            return server.infer("m", [[0.0] * 4])

        with Load(ask, threads=2) as load:
            refused = server.post("/models/m/load")
        assert refused.status_code == 422, refused.text
        assert "was replaced by one that cannot be served" in refused.json()["detail"]
        assert load.failed() == []
        assert server.model("m")["versions"][0]["state"] == "ready"
        file.write_bytes(AFTER)
        assert server.post("/models/m/load").status_code == 200
        assert answers(server) == {2.0}


def test_load_without_a_file_says_so_and_serves_on(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        assert server.upload("m", "1", BEFORE).status_code == 200
        (server.models / "m/1/model.tflite").unlink()
        refused = server.post("/models/m/load")
        assert refused.status_code == 404
        assert "is not there any more" in refused.json()["detail"]
        assert answers(server) == {1.0}


def test_a_copy_that_a_new_worker_meets_halfway_takes_nothing_down(tmp_path: Path) -> None:
    """Workers are replaced at any moment; one that could not load tries again by itself."""
    with Server(tmp_path, workers=2) as server:
        assert server.upload("m", "1", BEFORE).status_code == 200
        file = server.models / "m/1/model.tflite"
        another(server, file, AFTER[: len(AFTER) // 2])
        assert "was replaced by one that cannot be served" in server.text()
        states = server.model("m")["versions"][0]["workers"]
        assert sorted(worker["state"] for worker in states) == ["failed", "ready"]
        # The copy is undone, and the worker that had nothing to load finds it.
        file.write_bytes(BEFORE)
        server.until(lambda: server.model("m")["versions"][0]["state"] == "ready")
        assert answers(server) == {1.0}
        # A whole one is taken by the next worker, for all.
        another(server, file, AFTER)
        server.until(lambda: answers(server) == {2.0})


def test_a_copy_that_model_yaml_does_not_name_takes_nothing_down(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        assert server.upload("m", "1", BEFORE).status_code == 200
        sha256 = server.model("m")["versions"][0]["sha256"]
        (server.models / "m/model.yaml").write_text(f"versions: {{1: {{sha256: {sha256}}}}}")
        assert server.post("/models/m/load").status_code == 200
        (server.models / "m/1/model.tflite").write_bytes(AFTER)
        refused = server.post("/models/m/load")
        assert refused.status_code == 422
        assert f"model.yaml says {sha256}" in refused.json()["detail"]
        assert answers(server) == {1.0}
