"""What is kept in STATE_DIR does not grow for ever, whatever is uploaded and deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.repository.crashes import Crashes
from app.repository.database import Database
from app.repository.names import Key
from app.repository.state import State
from app.repository.verdicts import Verdicts
from app.repository.vram import Ledger


def test_nothing_is_left_of_a_version_that_is_gone(tmp_path: Path) -> None:
    state, key = State(Database(tmp_path / "state.sqlite3"), Crashes(tmp_path)), Key("m", "1")
    state.put(key, "ab")
    assert key in state.last_used()
    state.delete(key)
    state.purge()
    assert state.wishes() == []
    assert state.last_used() == {}


def test_the_oldest_verdicts_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.repository.verdicts.KEPT", 3)
    verdicts = Verdicts(Database(tmp_path / "state.sqlite3"))
    for number in range(5):
        assert verdicts.keep(f"file {number}", {"number": number}) == {"number": number}
    kept = [number for number in range(5) if verdicts.find(f"file {number}") is not None]
    assert kept == [2, 3, 4]


def test_the_oldest_sizes_on_the_card_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.repository.vram.KEPT", 3)
    ledger = Ledger(tmp_path / "vram.sqlite3", "card", 1000)
    for number in range(5):
        ledger.learn(f"file {number}", number)
    assert [ledger.measured(f"file {number}") for number in range(5)] == [None, None, 2, 3, 4]
    ledger.close()
