"""A worker without memory or descriptors says so, and goes on."""

from __future__ import annotations

import errno
import functools
import json
import logging
import os
import queue
import resource
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.batching.budget import Budget
from app.batching.job import Call
from app.batching.lane import Lane, Observer
from app.batching.policy import Policy
from app.errors import Overloaded, StorageFailed, exhausted
from app.front.crew import Crew
from app.trouble import Trouble
from tests.service import tiny
from tests.service.live import ROOT, Server

LARGE = json.dumps({"model_name": "m", "input_data": [[1, 2, 3, 4]] * 300_000}).encode()


def _worker(server: Server) -> int:
    return server.model("m")["versions"][0]["workers"][0]["pid"]  # type: ignore[no-any-return]


def test_without_memory_large_requests_are_refused_and_small_ones_answered(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        assert server.infer("m", [[0] * 4]).status_code == 200
        pid = _worker(server)
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + 16_000_000, resource.RLIM_INFINITY))
        for path, body in (("/v2/models/m/infer", bytes(60_000_000)), ("/inference", LARGE)):
            answer = server.post(path, data=body)
            assert answer.status_code == 503, answer.text
            assert "no memory left" in answer.json()["detail"]
            assert answer.headers["Retry-After"]
        assert server.infer("m", [[0] * 4]).status_code == 200
        assert _worker(server) == pid
        assert "unexpected error" not in server.text()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "no memory"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError(errno.ENOENT, "No such file"), None),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "unavailable"),
        (RuntimeError("can't start new thread"), "one more thread"),
        (ValueError(), None),
    ],
)
def test_only_what_has_run_out_is_an_overload(error: Exception, says: str | None) -> None:
    found = exhausted(error)
    assert (found is None) if says is None else (says in str(found))


def test_without_descriptors_the_log_says_so_once_and_once_that_it_is_over(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1, HEARTBEAT_S="0.02") as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        pid = _worker(server)
        bound = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, bound[1]))
        began = "the state store cannot be followed"
        server.until(lambda: began in server.text() or _touched(server))
        time.sleep(2.5)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, bound)
        server.until(lambda: f"{began}: this works again" in server.text())
        assert server.infer("m", [[0] * 4]).status_code == 200
        lines = [line for line in server.text().splitlines() if began in line]
        assert len(lines) == 2, lines
        assert "Traceback" not in server.text()


def test_without_room_for_a_process_those_serve_that_there_are(tmp_path: Path) -> None:
    settings = {
        "FAULTS": str(tmp_path), "PYTHONPATH": f"{ROOT}/tests/serving/faulty:{ROOT}",
        "LOG_FORMAT": "json",
    }  # fmt: skip
    with Server(tmp_path, workers=2, **settings) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        before = server.pids()
        (tmp_path / "fork").touch()
        os.kill(before[0], signal.SIGKILL)
        server.until(lambda: "no worker can be started" in server.text())
        server.signal(signal.SIGHUP)
        server.until(lambda: "Handling signal: hup" in server.text())
        refused = server.upload("new", "1", tiny.add(2))
        assert refused.status_code == 503, refused.text
        assert refused.headers["Retry-After"]
        for _ in range(4):
            assert server.infer("m", [[0] * 4]).status_code == 200
        assert [pid for pid in server.pids() if pid in before] == before[1:]
        (tmp_path / "fork").unlink()
        # What the reload should have begun is made up for.
        server.until(lambda: len(server.pids()) == 2 and not set(before) & set(server.pids()))
        server.wait_ready()
        assert server.upload("new", "1", tiny.add(2)).status_code == 200
        assert server.text().count("no worker can be started; trying") == 1
        assert "Traceback" not in server.text()


def _touched(server: Server) -> bool:
    """Make the worker look: what has changed it finds by a connection that it has already."""
    with sqlite3.connect(server.folder / "state" / "state.sqlite3") as db:
        db.execute("UPDATE counter SET generation = generation")
    return False


def test_trouble_is_said_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(logging.getLogger("test"), "the disk")
    with caplog.at_level("WARNING"):
        for _ in range(3):
            trouble.met(StorageFailed("it is full"))
        trouble.over()
        trouble.over()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert all(record.exc_info is None for record in caplog.records)
    trouble.met(KeyError("nobody thought of it"))
    assert caplog.records[-1].exc_info


def test_a_crew_without_a_thread_more_does_its_work_with_those_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew = Crew("test", most=8, keep=1)
    _no_threads(monkeypatch)
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(20):
        crew.do(functools.partial(done.put, number))
    assert sorted(done.get(timeout=10) for _ in range(20)) == list(range(20))
    crew.stop()


def test_a_lane_without_a_thread_refuses_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, go = threading.Event(), threading.Event()

    def run(inputs: Any) -> dict[str, Any]:
        busy.set()
        assert go.wait(10)
        return dict(inputs)

    lane = Lane(run, Policy(), Budget(10, 10**6), Observer())
    call = Call({"x": np.zeros((1, 4), np.float32)})
    first = threading.Thread(target=lane.submit, args=(call,))
    first.start()
    assert busy.wait(10)
    with monkeypatch.context() as patched:
        _no_threads(patched)
        with pytest.raises(Overloaded, match="thread"):
            lane.submit(call)
    go.set()
    first.join(10)
    assert lane.submit(call).outputs["x"].shape == (1, 4)
    assert lane.close(5)


def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
