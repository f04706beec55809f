"""The wall clock may be set by hours, forwards or backwards: nothing but dates goes by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.repository import usage
from app.repository.checks import Checks
from app.repository.crashes import Crashes
from app.repository.database import Database
from app.repository.names import Key
from app.repository.state import State
from app.trust import device
from app.trust.device import RestartMemory
from tests.service import tiny
from tests.service.live import ROOT, Server

HOURS = 6 * 3600
KEY = Key("m", "1")


def test_a_server_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    settings = {
        "IDLE_UNLOAD_S": "5", "CLOCK": str(clock),
        "PYTHONPATH": f"{ROOT}/tests/service/clock:{ROOT}",
    }  # fmt: skip
    with Server(tmp_path, workers=2, **settings) as server:
        used = time.monotonic()
        assert server.upload("m", "1", tiny.add(1)).status_code == 200

        def state() -> str:
            return str(server.model("m")["versions"][0]["state"])

        for hours in (HOURS, -HOURS, 0):
            clock.write_text(str(hours))
            before, used = used, time.monotonic()
            assert server.infer("m", [[0] * 4]).status_code == 200
            health = server.get("/health").json()
            assert health["status"] == "ok"
            assert 0 <= health["uptime_seconds"] < 600
            time.sleep(1.5)
            # Long enough for the housekeeping of both; a stall of the machine says nothing, nor
            # does one right before this use, which not every worker knows at once.
            if state() != "ready":
                assert time.monotonic() - before > 5
        server.until(lambda: state() == "unloaded")
        clock.write_text(str(-HOURS))
        assert server.infer("m", [[0] * 4]).status_code == 200
        assert "Traceback" not in server.text()


def test_what_the_workers_note_does_not_go_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path / "state.sqlite3")
    state, checks = State(database, Crashes(tmp_path)), Checks(database)
    memory = RestartMemory(tmp_path / "faults.jsonl", 2, 60)
    state.put(KEY, "ab")
    asked = checks.ask(KEY, ["worker"])
    assert memory.note("hung") == 1
    wrong = time.time() + HOURS
    monkeypatch.setattr(time, "time", lambda: wrong)
    assert memory.note("hung") == 2
    checks.ask(KEY, ["other"])
    checks.answer(asked, "worker", {"ok": True})
    assert checks.answers(asked)
    assert abs(state.last_used()[KEY] - time.monotonic()) < 60


def test_what_was_noted_before_a_boot_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(Database(tmp_path / "state.sqlite3"), Crashes(tmp_path))
    memory = RestartMemory(tmp_path / "faults.jsonl", 1, 60)
    state.put(KEY, "ab")
    memory.note("lost")
    assert memory.exhausted()
    for module in (usage, device):
        monkeypatch.setattr(module, "boot", lambda: "another")
    assert not state.last_used()
    assert not memory.exhausted()
    state.touch({KEY: 1.0})
    assert state.last_used() == {KEY: 1.0}
    (tmp_path / "faults.jsonl").write_bytes(b"\xff\x00 no line of ours\n[1]\n")
    assert not memory.exhausted()
    assert memory.note("lost") == 1
