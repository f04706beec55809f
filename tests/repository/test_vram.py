"""The ledger of the card's memory: never overbooked, healed when a worker dies, fair evictions."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import DeviceMemoryError
from app.repository.vram import Ledger

HOLDER = """
import sys, time, pathlib
from app.repository.vram import Ledger
ledger = Ledger(pathlib.Path(sys.argv[1]), "card", 1000)
ledger.reserve(sys.argv[2], "1", int(sys.argv[3]))
print("held", flush=True)
time.sleep(60)
"""
GRABBER = """
import sys, pathlib
from app.errors import DeviceMemoryError
from app.repository.vram import Ledger
ledger = Ledger(pathlib.Path(sys.argv[1]), "card", 1000)
got = 0
for i in range(40):
    try:
        ledger.reserve(f"m{i}", "1", 30)
        got += 1
    except DeviceMemoryError:
        pass
    assert sum(entry.size for entry in ledger.held()) <= 1000
print(got, flush=True)
sys.stdin.read()
"""


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=20)


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    book = Ledger(tmp_path / "vram.sqlite", "card", 1000)
    yield book
    book.close()


def test_a_refusal_says_what_is_needed_and_what_is_free(ledger: Ledger) -> None:
    ledger.reserve("a", "1", 700)
    with pytest.raises(DeviceMemoryError) as refusal:
        ledger.reserve("b", "1", 400)
    assert (refusal.value.needed, refusal.value.free) == (400, 300)
    assert "400" in str(refusal.value)
    assert "300" in str(refusal.value)
    assert ledger.free() == 300


def test_what_was_measured_replaces_what_was_reserved(ledger: Ledger) -> None:
    ledger.reserve("a", "1", 900)
    ledger.settle("a", "1", 200)
    ledger.reserve("b", "1", 800)
    ledger.reserve("a", "1", 100)
    ledger.release("b", "1")
    assert [(entry.name, entry.size) for entry in ledger.held()] == [("a", 100)]


def test_devices_have_books_of_their_own(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve("a", "1", 1000)
    other = Ledger(tmp_path / "vram.sqlite", "other card", 500)
    other.reserve("a", "1", 500)
    assert ledger.free() == other.free() == 0
    other.close()
    assert ledger.free() == 0


def test_workers_together_never_overbook_the_card(tmp_path: Path) -> None:
    path = tmp_path / "vram.sqlite"
    workers = [run(GRABBER, path) for _ in range(4)]
    try:
        assert sum(int(line(worker)) for worker in workers) == 1000 // 30
    finally:
        for worker in workers:
            finish(worker)


def test_a_killed_worker_leaves_the_book_at_once(ledger: Ledger, tmp_path: Path) -> None:
    worker = run(HOLDER, tmp_path / "vram.sqlite", "a", 900)
    assert line(worker) == "held"
    with pytest.raises(DeviceMemoryError):
        ledger.reserve("b", "1", 500)
    os.kill(worker.pid, signal.SIGKILL)
    # Not waited for yet: a zombie holds nothing on the card either.
    deadline = time.monotonic() + 10
    while ledger.held():
        assert time.monotonic() < deadline
    ledger.reserve("b", "1", 1000)
    finish(worker)


def test_a_pid_that_came_back_is_somebody_else(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve("a", "1", 900)
    with closing(sqlite3.connect(tmp_path / "vram.sqlite")) as db, db:
        db.execute("UPDATE held SET started = started - 1")
    assert ledger.held() == []


def test_the_longest_unused_go_first_but_never_too_fresh_ones(ledger: Ledger) -> None:
    now = time.monotonic()
    for name, size in (("a", 300), ("b", 300), ("c", 300)):
        ledger.reserve(name, "1", size)
    ledger.touch({("a", "1"): now + 2, ("b", "1"): now + 1, ("c", "1"): now + 3})
    assert ledger.victims(100, idle=-10) == []
    assert ledger.victims(200, idle=-10) == [("b", "1")]
    assert ledger.victims(600, idle=-10) == [("b", "1"), ("a", "1")]
    assert ledger.victims(600, idle=-10, keep=2) == []
    assert ledger.victims(600, idle=-10, spare=("b", "1")) == [("a", "1"), ("c", "1")]
    assert ledger.victims(2000, idle=-10) == []
    assert ledger.victims(200, idle=60) == []
    # Measuring a model is not using it.
    ledger.settle("b", "1", 300)
    assert ledger.victims(200, idle=-10) == [("b", "1")]


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6),
    needed=st.integers(0, 1200),
    keep=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_evicting_the_chosen_is_enough_and_no_more_than_needed(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], needed: int, keep: int
) -> None:
    book = Ledger(tmp_path_factory.mktemp("v") / "vram.sqlite", "card", sum(sizes) + 10)
    for index, size in enumerate(sizes):
        book.reserve(f"m{index}", "1", size)
    chosen = book.victims(needed, idle=0, keep=keep)
    for name, version in chosen[:-1]:
        book.release(name, version)
    if chosen:
        assert book.free() < needed
        book.release(*chosen[-1])
        assert book.free() >= needed
        assert len(book.held()) >= min(keep, len(sizes))
    else:
        assert needed <= book.free() or sum(sizes) + 10 < needed or keep
    book.close()


def test_two_hundred_loads_and_unloads_leave_nothing(ledger: Ledger, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        ledger.reserve("a", "1", 1000)
        ledger.settle("a", "1", 999)
        ledger.release("a", "1")
    assert ledger.held() == []
    assert len(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "vram.sqlite").stat().st_size < 100_000
