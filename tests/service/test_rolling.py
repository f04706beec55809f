"""A reload replaces workers by halves; nobody waits for the new ones to load."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from app.rolling import LONGEST_SECONDS, roll
from tests.service import tiny
from tests.service.live import ROOT, Load, Server


class Master:
    """What gunicorn's master has of what a reload does, with workers that are numbers."""

    def __init__(self, workers: int) -> None:
        self.num_workers, self.worker_age = workers, 0
        self.WORKERS: dict[int, SimpleNamespace] = {}
        self.told: list[int] = []
        self.begun: set[int] = set()
        self.manage_workers: Callable[[], None] = self.manage
        self.reload: Callable[[], None] = self.reload_all
        self.manage()
        self.begun.update(self.WORKERS)
        roll(self, self.begun.__contains__, lambda step: step())

    def spawn_worker(self) -> None:
        self.worker_age += 1
        self.WORKERS[self.worker_age] = SimpleNamespace(age=self.worker_age)

    def spawn_workers(self) -> None:
        for _ in range(self.num_workers - len(self.WORKERS)):
            self.spawn_worker()

    def manage(self) -> None:
        self.spawn_workers()
        for age in sorted(self.WORKERS)[: max(0, len(self.WORKERS) - self.num_workers)]:
            if age not in self.told:
                self.told.append(age)

    def reload_all(self) -> None:
        for _ in range(self.num_workers):
            self.spawn_worker()
        self.manage_workers()

    def serving(self) -> set[int]:
        return self.begun & self.WORKERS.keys() - set(self.told)


@pytest.mark.parametrize(("workers", "rounds"), [(1, 1), (2, 2), (3, 3), (5, 3), (8, 2)])
def test_half_of_them_serve_at_any_time(workers: int, rounds: int) -> None:
    master = Master(workers)
    old = set(master.WORKERS)
    master.reload()
    assert set(master.WORKERS) == old
    turns = 0
    while old - set(master.told):
        turns += 1
        assert turns <= rounds
        master.manage_workers()
        assert len(master.serving()) >= workers // 2
        # Those that were told to end take their time; the others begin.
        master.begun.update(master.WORKERS)
    assert turns == rounds
    for age in master.told:
        del master.WORKERS[age]
    master.manage_workers()
    assert set(master.WORKERS) == set(range(workers + 1, 2 * workers + 1))


def test_another_reload_leaves_alone_who_serves() -> None:
    master = Master(2)
    for _ in range(3):
        master.reload()
        master.manage_workers()
    assert len(master.serving()) == 1


def test_a_worker_that_never_begins_holds_nothing_up_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("app.rolling.time", SimpleNamespace(monotonic=lambda: now[0]))
    master = Master(2)
    master.reload()
    for _ in range(5):
        master.manage_workers()
    assert len(master.told) == 1
    now[0] += LONGEST_SECONDS + 1
    master.manage_workers()
    assert len(master.told) == 2


def test_requests_wait_for_no_reload(tmp_path: Path) -> None:
    """Two of them, the second while the first begins: no refusal, and no long wait."""
    with Server(tmp_path, workers=2) as server:
        shutil.copytree(ROOT / "models" / "digits", server.models / "digits")
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        waits: list[float] = []

        def ask() -> requests.Response:
            began = time.monotonic()
            answer = server.infer("m", [[0, 0, 0, 0]])
            waits.append(time.monotonic() - began)
            time.sleep(0.05)
            return answer

        before = set(server.pids())
        with Load(ask, threads=2) as load:
            time.sleep(0.5)
            server.signal(signal.SIGHUP)
            server.until(lambda: len(set(server.pids()) - before) > 0)
            server.signal(signal.SIGHUP)
            server.until(lambda: len(server.pids()) == 2 and not before & set(server.pids()), 90)
            server.wait_ready()
        assert load.failed() == []
        assert max(waits) < 1.5


def test_a_worker_that_stops_before_it_has_begun_leaves_callers_to_the_others(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, workers=2) as server:
        # What is loaded before it takes a new worker long.
        for name in ("a", "b"):
            assert server.upload(name, "1", tiny.heavy(96)).status_code == 200
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        before = server.pids()
        with Load(lambda: server.infer("m", [[0, 0, 0, 0]]), threads=6) as load:
            os.kill(before[-1], signal.SIGTERM)
            server.until(lambda: bool(set(server.pids()) - set(before)))
            (fresh,) = set(server.pids()) - set(before)
            time.sleep(0.5)
            os.kill(fresh, signal.SIGTERM)
            server.until(lambda: fresh not in server.pids(), 90)
        assert load.failed() == []
