"""One turn at a time on the device, and how long it has lasted."""

from __future__ import annotations

import threading
import time

from app.engine.turns import FIRST_SECONDS, Turns


def test_a_turn_counts_from_when_it_was_taken_and_again_after_an_inner_one() -> None:
    turn = Turns()
    assert turn.busy_seconds == 0
    with turn():
        time.sleep(0.05)
        assert turn.busy_seconds >= 0.05
        with turn():
            assert turn.busy_seconds < 0.05
        assert turn.busy_seconds < 0.05
    assert turn.busy_seconds == 0


def test_a_first_run_may_take_its_time() -> None:
    turn = Turns()
    with turn(first=True):
        time.sleep(0.01)
        assert turn.busy_seconds == 0
        assert FIRST_SECONDS > 60


def test_turns_exclude_each_other() -> None:
    turn, inside, most = Turns(), [], []

    def work() -> None:
        for _ in range(200):
            with turn():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
