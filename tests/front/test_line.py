"""The loop's own line of requests that cost little, without a socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.front.line import LATE_SECONDS, TELL_SECONDS, TURN_SECONDS, Line
from app.predictor.costs import Costs, kind


@dataclass
class Answers:
    """What a line asks of its service and its crew, and who computed what."""

    busy: bool = False
    seconds: float = 0.0
    done: list[tuple[int, bool]] = field(default_factory=list)
    standing: list[list[str]] = field(default_factory=list)
    tasks: list[Callable[[], None]] = field(default_factory=list)

    def idle(self, route: Any) -> bool:
        return not self.busy

    def waiting(self, routes: list[str]) -> None:
        self.standing.append(routes)

    def do(self, task: Callable[[], None]) -> None:
        self.tasks.append(task)

    def compute(self, connection: Any, head: Any, body: Any, waited: float | None) -> None:
        time.sleep(self.seconds)
        self.done.append((head, waited is None))


class Caller:
    route = "m"


def line(answers: Any, count: int) -> Line:
    made = Line(answers, answers, answers.compute)
    for number in range(count):
        made.join(Caller(), number, b"")  # type: ignore[arg-type]
    return made


def test_all_are_answered_in_order_by_the_loop_itself() -> None:
    answers = Answers()
    made = line(answers, 5)
    while made.work() is not None:
        pass
    assert answers.done == [(number, False) for number in range(5)]


def test_a_turn_is_shared_with_those_who_have_come_meanwhile() -> None:
    answers = Answers(seconds=TURN_SECONDS * 0.6)
    made = line(answers, 5)
    assert made.work() == 0.0
    assert 1 <= len(answers.done) < 5
    # Whoever waits beyond a turn is counted with its model's queue, until nobody does.
    assert answers.standing == [["m"] * (5 - len(answers.done))]
    while made.work() is not None:
        pass
    assert answers.done == [(number, False) for number in range(5)]
    assert answers.standing[-1] == []


def test_a_long_line_is_counted_now_and_then_only_and_its_end_at_once() -> None:
    answers = Answers(seconds=TURN_SECONDS * 1.1)
    made = line(answers, 12)
    began = time.monotonic()
    while made.work() is not None:
        pass
    took = time.monotonic() - began
    assert answers.standing[0] == ["m"] * 11
    assert answers.standing[-1] == []
    assert len(answers.standing) <= 2 + took / TELL_SECONDS


def test_for_a_model_that_threads_are_busy_with_the_line_waits_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("app.front.line.time", SimpleNamespace(monotonic=lambda: now[0]))
    answers = Answers(busy=True)
    made = line(answers, 2)
    pause = made.work()
    assert pause is not None
    assert 0 < pause < LATE_SECONDS
    assert answers.done == answers.tasks == []
    now[0] += 2 * LATE_SECONDS
    assert made.work() is None
    for task in answers.tasks:
        task()
    assert answers.done == [(0, True), (1, True)]


SMALL = kind("m", None, 100)


def test_only_what_is_known_to_cost_little_is_brief() -> None:
    costs = Costs(workers=1000)
    assert not costs.brief(SMALL)
    costs.learn(SMALL, 0.002, True)
    assert costs.brief(SMALL)
    assert not costs.brief(kind("m", None, 1000))
    assert not costs.brief(kind("m", "2", 100))
    costs.learn(SMALL, 1.0, False)
    assert not costs.brief(SMALL)


def test_with_cores_to_spare_a_thread_computes_sooner() -> None:
    costs = [Costs(workers=0), Costs(workers=1000)]
    for each in costs:
        each.learn(SMALL, 0.005, True)
    assert [each.brief(SMALL) for each in costs] == [False, True]


@given(st.lists(st.tuples(st.floats(0, 0.02), st.booleans()), min_size=1))
def test_an_estimate_stays_within_what_was_seen_and_a_failure_never_lowers_it(
    seen: list[tuple[float, bool]],
) -> None:
    costs = Costs(workers=1000)
    for seconds, whole in seen:
        before = costs.brief(SMALL)
        costs.learn(SMALL, seconds, whole)
        if not before and costs.brief(SMALL):
            assert whole
    if all(seconds < 0.009 for seconds, _ in seen) and any(whole for _, whole in seen):
        assert costs.brief(SMALL)
    if all(seconds > 0.011 for seconds, _ in seen):
        assert not costs.brief(SMALL)


def test_estimates_of_many_kinds_are_bounded() -> None:
    costs = Costs(workers=1000)
    kinds = [kind(f"m{number}", None, 1) for number in range(5000)]
    for each in kinds:
        costs.learn(each, 0.001, True)
    assert costs.brief(kinds[-1])
    assert sum(map(costs.brief, kinds)) < 2000
