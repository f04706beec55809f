"""A model whose runs crash workers is known by name, and left alone when it does so again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from app.repository.crashes import Crashes
from app.repository.names import Key
from tests.service import tiny
from tests.service.live import ROOT, Load, Server

SEGFAULT, ABORT, STARVE = [[13, 0, 0, 0]], [[14, 0, 0, 0]], [[15, 0, 0, 0]]


def test_a_model_that_crashes_workers_again_and_again_is_set_aside(tmp_path: Path) -> None:
    faults = {"FAULTS": str(tmp_path), "PYTHONPATH": f"{ROOT}/tests/serving/faulty:{ROOT}"}
    with Server(tmp_path, **faults) as server:
        for name in ("sound", "deadly"):
            assert server.upload(name, "1", tiny.add(1)).status_code == 200
        before = server.pids()
        # The other model is busy all the time, in every worker.
        with Load(lambda: server.infer("sound", [[0] * 4]), threads=3) as load:
            for data in (SEGFAULT, ABORT, SEGFAULT):
                with pytest.raises(requests.ConnectionError):
                    server.infer("deadly", data)
            server.until(lambda: len(server.pids()) == 3 and not set(before) & set(server.pids()))
            server.wait_ready()
        assert {answer.status_code for answer in load.answers} == {200}
        server.until(lambda: server.model("deadly")["versions"][0]["state"] == "failed")
        (version,) = server.model("deadly")["versions"]
        assert {worker["state"] for worker in version["workers"]} == {"failed"}
        assert "3 workers crashed while they ran it" in version["error"]
        assert server.model("sound")["versions"][0]["state"] == "ready"
        pids = server.pids()
        assert {server.infer("deadly", SEGFAULT).status_code for _ in range(8)} == {503}
        assert server.pids() == pids
        for what in ("Segmentation fault", "Aborted"):
            assert f"a worker crashed while it ran deadly/1: {what}" in server.text()
        # It stays so for new workers, until somebody asks for it.
        os.kill(pids[0], signal.SIGKILL)
        server.until(lambda: len(set(server.pids()) - set(pids)) == 1)
        server.wait_ready()
        assert server.model("deadly")["versions"][0]["state"] == "failed"
        assert server.post("/models/deadly/load").status_code == 200
        assert server.infer("deadly", [[0] * 4]).status_code == 200
        server.stop()
    assert list((tmp_path / "state" / "crashes").iterdir()) == []


def test_a_model_that_takes_all_memory_is_set_aside_but_none_for_a_kill_by_hand(
    tmp_path: Path,
) -> None:
    faults = {"FAULTS": str(tmp_path), "PYTHONPATH": f"{ROOT}/tests/serving/faulty:{ROOT}"}
    with Server(tmp_path, workers=2, **faults) as server:
        for name in ("sound", "hungry"):
            assert server.upload(name, "1", tiny.add(1)).status_code == 200
        # Whatever runs and ends meanwhile is not to blame, nor is what somebody kills by hand.
        with Load(lambda: server.infer("sound", [[0] * 4]), threads=2) as load:
            for count in (2, 1):
                before = server.pids()
                for pid in before[:count]:
                    os.kill(pid, signal.SIGKILL)
                server.until(lambda b=before, n=count: len(set(server.pids()) - set(b)) == n)
                server.wait_ready()
            for _ in range(3):
                with pytest.raises(requests.ConnectionError):
                    server.infer("hungry", STARVE)
            server.until(lambda: server.model("hungry")["versions"][0]["state"] == "failed")
            server.wait_ready()
        assert {answer.status_code for answer in load.answers} == {200}
        (version,) = server.model("hungry")["versions"]
        assert "killed for want of memory" in version["error"]
        assert server.model("sound")["versions"][0]["state"] == "ready"
        assert server.text().count("killed by the kernel for want of memory") == 3


def test_a_driver_that_crashes_workers_is_left_to_itself(
    tmp_path: Path, faulty: dict[str, str]
) -> None:
    with Server(tmp_path, workers=1, DEVICE_RESTARTS="2", VERIFY_PERIOD_S="0", **faulty) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        assert server.model("m")["versions"][0]["backend"] == "opencl"
        (tmp_path / "faults" / "abort").touch()
        for _ in range(2):
            with pytest.raises(requests.ConnectionError):
                server.infer("m", [[0] * 4])
            (tmp_path / "faults" / "abort").unlink()
            server.wait_ready()
            (tmp_path / "faults" / "abort").touch()
        (version,) = server.model("m")["versions"]
        assert (version["state"], version["backend"]) == ("ready", "tflite")
        assert "the device failed 2 times" in version["reason"]
        assert server.infer("m", [[0] * 4]).status_code == 200
        assert "a worker crashed in the card's driver while it ran m/1" in server.text()


@pytest.mark.parametrize(
    ("end", "guilty", "running"),
    [
        ("run('b', lambda: ctypes.string_at(0))", "b", ["b"]),
        ("ctypes.string_at(0)", None, ["a", "c"]),
        ("crash_elsewhere()", None, ["a", "c"]),
        ("os.kill(os.getpid(), 9)", None, None),
    ],
    ids=["a thread of its own", "no model", "a thread that is not Python's", "killed"],
)
def test_whoever_runs_in_the_thread_that_crashed_is_to_blame(
    tmp_path: Path, end: str, guilty: str | None, running: list[str] | None
) -> None:
    code = f"""
import ctypes, os, sys, threading, time
from pathlib import Path
from app.repository.crashes import Crashes, Recorder
from app.repository.names import Key
recorder = Recorder(Crashes(Path(sys.argv[1])))
recorder.begin("w")
def run(name, what):
    recorder.watched(Key(name, "1"), "tflite", lambda inputs: what())({{}})
def crash_elsewhere():
    libc = ctypes.CDLL(None)
    number = ctypes.c_ulong()
    libc.pthread_create(ctypes.byref(number), None, libc.abort, None)
    time.sleep(9)
for name in ("a", "c"):
    threading.Thread(target=run, args=(name, lambda: time.sleep(9)), daemon=True).start()
threading.Thread(target=run, args=("d", lambda: None)).start()
time.sleep(0.1)
{end}
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode < 0
    crash = Crashes(tmp_path).of("w")
    found = None if crash is None else [key.name for key in crash.running]
    assert found == running
    assert crash is None or crash.guilty == (Key(guilty, "1") if guilty else None)


def test_what_runs_is_noted_as_soon_as_there_is_room_and_the_log_says_so_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "crashes").touch()  # where a folder is wanted
    code = """
import logging, os, sys
from pathlib import Path
from app.repository.crashes import Crashes, Recorder
from app.repository.names import Key
logging.basicConfig(format="%(message)s")
folder = Path(sys.argv[1])
recorder = Recorder(Crashes(folder))
run = recorder.watched(Key("m", "1"), "tflite", lambda inputs: os.abort())
for _ in range(3):
    recorder.begin("w")
    recorder.look()
folder.unlink()
recorder.look()
run({})
"""
    folder = tmp_path / "crashes"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert [line.partition(": ")[0] for line in done.stderr.splitlines() if "noted" in line] == [
        "what this worker runs cannot be noted for its crash; trying until it works again",
        "what this worker runs cannot be noted for its crash",
    ]
    crash = Crashes(folder).of("w")
    assert crash is not None
    assert crash.guilty == Key("m", "1")


@pytest.mark.parametrize(
    ("looks", "count", "guilty", "running"),
    [
        ("look()", 7, None, None),
        ("look()", 8, "a", ["a", "b"]),
        ("", 8, None, ["a", "b"]),
        ("stop('a'); look()", 8, "b", ["b"]),
        ("look(); stop('a')", 8, "b", ["b"]),
        ("look(); stop('a'); stop('b')", 8, None, []),
    ],
    ids=["by hand", "who ran longest", "nobody knows who", "alone", "one has ended", "none runs"],
)
def test_who_ran_for_longest_is_to_blame_for_want_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: str, count: int, guilty: str | None,
    running: list[str] | None,
) -> None:  # fmt: skip
    code = f"""
import os, sys, threading, time
from pathlib import Path
from app.repository import oom
from app.repository.crashes import Crashes, Recorder
from app.repository.names import Key
oom.kills = lambda: 7
recorder = Recorder(Crashes(Path(sys.argv[1])))
recorder.begin("w")
events = {{name: threading.Event() for name in "ab"}}
def start(name):
    started = threading.Event()
    def work(inputs):
        started.set()
        events[name].wait()
        return {{}}
    run = recorder.watched(Key(name, "1"), "tflite", work)
    threads[name] = threading.Thread(target=run, args=({{}},), daemon=True)
    threads[name].start()
    started.wait()
threads = {{}}
def stop(name):
    events[name].set()
    threads[name].join()
look = recorder.look
start("a")
if {looks!r} == "look()":
    look()
start("b")
if {looks!r} != "look()":
    {looks or 'pass'}
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False, timeout=60)
    monkeypatch.setattr("app.repository.oom.kills", lambda: count)
    crash = Crashes(tmp_path).of("w")
    assert (None if crash is None else [key.name for key in crash.running]) == running
    assert (crash and crash.guilty) == (Key(guilty, "1") if guilty else None)
