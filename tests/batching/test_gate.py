"""The pace at which a model answers, as the door measures it."""

from __future__ import annotations

from typing import Any

import pytest

from app.predictor import gate
from app.predictor.gate import Gate


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Predictor:
    """Knows no bounds, and remembers which pace it was asked for."""

    pace: float | None = None

    def room(self, name: str, version: Any, size: int, caller: str, pace: float | None) -> None:
        self.pace = pace

    def patience(self, name: str, version: Any, seconds: float) -> None:
        return None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(gate, "time", made)
    return made


def paced(clock: Clock, gaps: list[float]) -> float | None:
    """Let a crowd of ten be answered with these gaps, each place taken again at once."""
    predictor = Predictor()
    door = Gate(predictor, 1000)  # type: ignore[arg-type]
    tickets = [door.enter("m", None, 1, "", 60.0) for _ in range(10)]
    for gap in gaps:
        clock.now += gap
        door.leave(tickets.pop(0))
        tickets.append(door.enter("m", None, 1, "", 60.0))
    return predictor.pace


def test_the_pace_is_the_mean_gap_between_answers_in_a_crowd(clock: Clock) -> None:
    assert paced(clock, [0.01]) is None
    assert paced(clock, [0.01] * 50) == pytest.approx(0.01)
    assert paced(clock, [0.005, 0.015] * 50) == pytest.approx(0.01, rel=0.1)


def test_one_stall_says_little_of_many_answers(clock: Clock) -> None:
    assert paced(clock, [0.0002] * 5000 + [0.02]) == pytest.approx(0.0002, rel=0.2)


def test_a_new_pace_is_believed_within_two_seconds(clock: Clock) -> None:
    assert paced(clock, [0.001] * 2000 + [0.1] * 20) == pytest.approx(0.1, rel=0.2)
    assert paced(clock, [0.1] * 20 + [0.001] * 1000) == pytest.approx(0.001, rel=1.0)


def test_gaps_without_a_crowd_are_the_callers_own(clock: Clock) -> None:
    predictor = Predictor()
    door = Gate(predictor, 1000)  # type: ignore[arg-type]
    for _ in range(5):
        ticket = door.enter("m", None, 1, "", 60.0)
        clock.now += 10
        door.leave(ticket)
    assert predictor.pace is None
