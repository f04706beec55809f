"""A disk that damages a file or fills up costs what it must, never the server."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from app.enduring import endure
from app.errors import StorageFailed
from app.repository.crashes import Crashes
from app.repository.database import Database
from app.repository.names import Key
from app.repository.state import State
from app.repository.vram import Ledger
from monitoring.hooks import MetricsConfig, MetricsHooks
from tests.service import tiny
from tests.service.live import Server

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "another file": lambda data: b"no database " * 1000,
    "no header": lambda data: bytes(100) + data[100:],
    "half of it": lambda data: data[: len(data) // 2],
    "noise in the middle": lambda data: data[:4096] + b"\xa5" * 8192 + data[12288:],
}


def fill(path: Path) -> None:
    """Make a state file of many pages, all of them in the file itself."""
    state = State(Database(path), Crashes(path.parent))
    for number in range(60):
        state.put(Key(f"model-{number}", "1"), "ab" * 32)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_set_aside_and_begun_anew(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "state.sqlite3"
    fill(path)
    bad = damage(path.read_bytes())
    path.write_bytes(bad)
    state = State(Database(path), Crashes(path.parent))
    assert state.wishes() == []
    state.put(Key("m", "1"), "cd" * 32)
    again = State(Database(path), Crashes(path.parent))
    assert [wish.key for wish in again.wishes()] == [Key("m", "1")]
    kept = list(tmp_path.glob("state.sqlite3.damaged-*"))
    assert [file.read_bytes() for file in kept] == [bad]


def test_a_sound_state_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    fill(path)
    assert len(State(Database(path), Crashes(path.parent)).wishes()) == 60
    assert not list(tmp_path.glob("*.damaged-*"))


def test_a_damaged_ledger_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "vram.sqlite3"
    path.write_bytes(b"no database " * 1000)
    ledger = Ledger(path, "card", 1000)
    ledger.reserve("m", "1", 600)
    assert [held.size for held in ledger.held()] == [600]


def test_a_full_disk_is_said_and_changes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.sqlite3")
    state = State(database, Crashes(tmp_path))
    db = database.open()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageFailed, match="STATE_DIR"):
        state.put(Key("m", "1"), "ab" * 10_000)
    kept = len(state.wishes())
    db.execute("PRAGMA max_page_count=1000000")
    state.put(Key("m", "1"), "cd" * 32)
    assert len(state.wishes()) == kept + 1 == 1


def test_an_upload_that_finds_no_room_is_told_so(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        bodies = tmp_path / "state" / "bodies"
        bodies.rmdir()
        chunks = [b"x" * 100_000] * 30
        for body in (b"".join(chunks), iter(chunks)):
            answer = requests.put(server.url + "/models/m/versions/2", data=body, timeout=30)
            assert answer.status_code == 507
            assert "STATE_DIR" in answer.json()["detail"]
        # The short way gathers what comes in chunks as well.
        answer = requests.post(server.url + "/inference", data=iter(chunks), timeout=30)
        assert answer.status_code == 507
        bodies.mkdir()
        assert server.upload("m", "2", tiny.add(2)).status_code == 200


def test_a_server_starts_over_a_damaged_state_and_finds_its_models(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        server.stop()
        file = tmp_path / "state" / "state.sqlite3"
        file.write_bytes(b"no database " * 1000)
        server.start()
        assert server.get("/models/m").json()["versions"][0]["state"] == "ready"
        assert str(file) in server.text()


def test_a_state_that_is_removed_is_begun_anew_by_every_worker(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2, LOG_FORMAT="json") as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        for path in (tmp_path / "state").glob("state.sqlite3*"):
            path.unlink()
        server.until(lambda: server.text().count("removed or replaced") == 2)
        server.wait_ready()
        assert server.infer("m", [[0] * 4]).status_code == 200
        assert server.upload("n", "1", tiny.add(1)).status_code == 200
        assert len(server.model("n")["versions"][0]["workers"]) == 2
        assert "Traceback" not in server.text()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB for the state; only root may mount one."""
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield state
    subprocess.run(["umount", "-l", str(state)], check=True)


def test_a_worker_that_dies_while_the_disk_is_full_takes_nobody_along(
    tmp_path: Path, small: Path
) -> None:
    """The next one waits for room, the other serves, and neither fills the log."""
    with Server(tmp_path, workers=2, LOG_FORMAT="json") as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        with contextlib.suppress(OSError), (small / "fill").open("wb", buffering=0) as fill:
            while True:
                fill.write(bytes(4096))
        assert server.post("/models/m/unload").status_code == 507
        assert server.upload("m", "1", tiny.add(2)).status_code == 507
        assert server.delete("/models/m/versions/1").status_code == 507
        assert (server.models / "m/1/model.tflite").read_bytes() == tiny.add(1)
        os.kill(server.pids()[0], signal.SIGKILL)
        server.until(lambda: "a worker cannot begin" in server.text())
        assert server.infer("m", [[0] * 4]).status_code == 200
        assert server.get("/health/ready").status_code == 503
        (small / "fill").unlink()
        server.wait_ready()
        assert "a worker cannot begin: this works again" in server.text()
        assert server.upload("n", "1", tiny.add(2)).status_code == 200
        assert server.text().count("a worker cannot begin") == 2
        assert "Traceback" not in server.text()


def test_a_master_that_cannot_fork_goes_on_and_tries_again() -> None:
    tries: list[int] = []

    def spawn() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    master = _master(spawn_workers=spawn)
    endure(master)
    for _ in range(3):
        master.spawn_workers()
    assert len(tries) == 3


def _master(**own: Callable[[], None]) -> SimpleNamespace:
    """Make what gunicorn's master has of what endure changes."""
    names = ("spawn_workers", "reload", "manage_workers", "murder_workers")
    return SimpleNamespace(**{name: own.get(name, lambda: None) for name in names})


def test_no_worker_is_aborted_for_a_pause_of_the_whole_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, looked = [100.0], []
    monkeypatch.setattr("app.enduring.time", SimpleNamespace(monotonic=lambda: now[0]))
    master = _master(murder_workers=lambda: looked.append(now[0]))
    endure(master)
    for seconds in (1, 1, 300, 1, 8, 2, 1):
        now[0] += seconds
        master.murder_workers()
    assert looked == [101, 102, 413, 414]


def test_the_slot_of_a_worker_that_was_never_forked_is_taken_back(tmp_path: Path) -> None:
    hooks = MetricsHooks(MetricsConfig(directory=tmp_path, port=0))
    server = SimpleNamespace(WORKERS={}, num_workers=1, master_pid=0, log=None)
    hooks.on_starting(server)
    for _ in range(3):
        worker = SimpleNamespace(aborted=False, pid="[booting]")
        hooks.pre_fork(server, worker)
        assert worker.metrics_slot.number == 0
    worker.pid = 1  # this one was
    after = SimpleNamespace(aborted=False, pid="[booting]")
    hooks.pre_fork(server, after)
    assert after.metrics_slot.number == 1
