"""Queues and batches: everybody gets their own answer, at once, in time, or an honest refusal."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batching.budget import Budget
from app.batching.job import Call, Outcome
from app.batching.lane import Lane, Observer
from app.batching.policy import Policy, batchable
from app.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotReady,
    Overloaded,
    QuotaExceeded,
)
from app.tensors import TensorSpec

POISON = -1.0


class Doubler:
    """A session that doubles, fails on a poisoned batch, and remembers what it ran."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray[Any, Any]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def __call__(self, inputs: Any) -> dict[str, Any]:
        with self._lock:
            self.batches.append(inputs["x"])
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.entered.release()
        try:
            assert self.gate.wait(20)
            if (inputs["x"] == POISON).any():
                raise InvalidInput("poison")
            return {"y": inputs["x"] * 2, "z": inputs["x"][:, :1] + 1}
        finally:
            with self._lock:
                self._at_once -= 1


class Listener(Observer):
    def __init__(self) -> None:
        self.drops: list[str] = []
        self.depths: list[int] = []

    def dropped(self, reason: str) -> None:
        self.drops.append(reason)

    def depth(self, waiting: int) -> None:
        self.depths.append(waiting)


def call(value: float, rows: int = 1, width: int = 2, **more: Any) -> Call:
    return Call({"x": np.full((rows, width), value, np.float32)}, **more)


def roomy() -> Budget:
    return Budget(10_000, 10**12)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.001)


def refuses(lane: Lane) -> bool:
    try:
        lane.submit(call(1, deadline=time.monotonic()))
    except ModelNotReady:
        return True
    except DeadlineExceeded:
        return False
    raise AssertionError("the gate is shut")


class Crowd:
    """A lane whose session is held at a gate while callers queue up behind the first."""

    def __init__(self, policy: Policy, budget: Budget | None = None) -> None:
        self.session, self.listener = Doubler(), Listener()
        self.session.gate.clear()
        self.lane = Lane(self.session, policy, budget or roomy(), self.listener)
        self.pool = ThreadPoolExecutor(64)
        self.first = [self.pool.submit(self.lane.submit, call(100)) for _ in range(policy.slots)]
        for _ in range(policy.slots):
            assert self.session.entered.acquire(timeout=10)

    def queue(self, *calls: Call, caller: str = "") -> list[Future[Outcome]]:
        futures = []
        for one in calls:
            before = self.lane.waiting
            futures.append(self.pool.submit(self.lane.submit, one, caller))
            until(lambda before=before: self.lane.waiting == before + 1)
        return futures

    def open(self) -> None:
        self.session.gate.set()
        for future in self.first:
            future.result(10)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.gate.set()
        assert self.lane.close(10)
        self.pool.shutdown()


def test_a_runner_keeps_nothing_of_what_it_has_run() -> None:
    lane = Lane(lambda inputs: {"y": inputs["x"] + 1}, Policy(), roomy())
    inputs = np.zeros((1, 2), np.float32)
    kept = weakref.ref(inputs)
    # What is not known to be in time is left to a runner.
    lane.submit(Call({"x": inputs}, deadline=time.monotonic() + 60))
    del inputs
    until(lambda: kept() is None)
    assert lane.close(10)


REQUESTS = st.lists(
    st.tuples(
        st.integers(1, 3),  # rows
        st.sampled_from([2, 3]),  # width: another shape never shares a batch
        st.sampled_from([0, 1, 2, 3, 9]),  # priority
        st.booleans(),  # poisoned
        st.floats(0, 0.004),  # when it comes
    ),
    min_size=1,
    max_size=24,
)
POLICIES = st.builds(
    Policy,
    max_batch=st.integers(1, 8),
    max_delay=st.sampled_from([0, 0.001, 0.005]),
    preferred=st.sampled_from([(), (2,), (4, 8)]),
    slots=st.integers(1, 3),
)


@given(requests=REQUESTS, policy=POLICIES)
@settings(max_examples=80, deadline=None)
def test_any_interleaving_gives_each_its_own_answer(requests: Any, policy: Policy) -> None:
    session, lane_budget = Compiling(), roomy()
    session.compiler.set()
    lane = Lane(session, policy, lane_budget, None, True, session)

    def ask(number: int, rows: int, width: int, priority: int, bad: bool, when: float) -> None:
        time.sleep(when)
        one = call(POISON if bad else number + 1, rows, width, priority=priority)
        if bad:
            with pytest.raises(InvalidInput):
                lane.submit(one)
            return
        outcome = lane.submit(one)
        np.testing.assert_array_equal(outcome.outputs["y"], one.inputs["x"] * 2)
        np.testing.assert_array_equal(outcome.outputs["z"], one.inputs["x"][:, :1] + 1)
        assert outcome.batch_rows <= max(policy.max_batch, rows)

    with ThreadPoolExecutor(24) as pool:
        for future in [pool.submit(ask, i, *request) for i, request in enumerate(requests)]:
            future.result(30)
    assert lane.close(10)
    assert lane_budget.held == (0, 0)
    assert session.most_at_once <= policy.slots


def test_a_lone_request_runs_in_its_own_thread_and_never_waits_for_company() -> None:
    ran_in: list[int] = []

    def run(inputs: Any) -> dict[str, Any]:
        ran_in.append(threading.get_ident())
        return {"y": inputs["x"]}

    lane = Lane(run, Policy(max_batch=8, max_delay=5), roomy())
    began = time.monotonic()
    for _ in range(20):
        lane.submit(call(1))
    assert time.monotonic() - began < 4
    assert set(ran_in) == {threading.get_ident()}
    assert lane.close(1)


def test_what_queues_behind_a_run_becomes_one_batch() -> None:
    with Crowd(Policy(max_batch=8)) as crowd:
        futures = crowd.queue(*(call(i) for i in range(6)))
        crowd.open()
        assert [f.result(10).batch_rows for f in futures] == [6] * 6
        assert [b.shape[0] for b in crowd.session.batches] == [1, 6]


def test_preferred_sizes_are_taken_first() -> None:
    with Crowd(Policy(max_batch=8, preferred=(4,))) as crowd:
        futures = crowd.queue(*(call(i) for i in range(6)))
        crowd.open()
        for future in futures:
            future.result(10)
        assert [b.shape[0] for b in crowd.session.batches] == [1, 4, 2]


def test_a_crowd_waits_for_company_but_not_longer_than_max_delay() -> None:
    with Crowd(Policy(max_batch=4, max_delay=0.2)) as crowd:
        full = crowd.queue(*(call(i) for i in range(4)))
        began = time.monotonic()
        crowd.open()
        assert {f.result(10).batch_rows for f in full} == {4}
        assert time.monotonic() - began < 5
        late = crowd.pool.submit(crowd.lane.submit, call(9)).result(10)
        assert late.outputs["y"][0, 0] == 18


def test_the_urgent_go_first_and_equals_in_order() -> None:
    with Crowd(Policy(max_batch=1)) as crowd:
        crowd.queue(call(1, priority=3), call(2), call(3, priority=1), call(4, priority=1), call(5))
        crowd.open()
        until(lambda: crowd.lane.idle)
        assert [int(b[0, 0]) for b in crowd.session.batches[1:]] == [3, 4, 2, 5, 1]


def test_a_bad_neighbour_spoils_nothing() -> None:
    with Crowd(Policy(max_batch=8)) as crowd:
        futures = crowd.queue(call(1), call(POISON), call(3), call(1, width=5))
        crowd.open()
        assert futures[0].result(10).outputs["y"][0, 0] == 2
        assert futures[2].result(10).outputs["y"][0, 0] == 6
        with pytest.raises(InvalidInput):
            futures[1].result(10)
        assert futures[3].result(10).outputs["y"].shape == (1, 5)


def test_outputs_without_a_row_for_each_are_run_one_by_one() -> None:
    def run(inputs: Any) -> dict[str, Any]:
        return {"sum": inputs["x"].sum(axis=0)}

    lane = Lane(run, Policy(max_batch=8, max_delay=0.05), roomy())
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda i: lane.submit(call(i)).outputs["sum"][0], range(8)))
    assert sums == list(range(8))
    assert lane.close(5)


def test_a_deadline_is_kept_while_queued_and_the_work_is_dropped() -> None:
    with Crowd(Policy()) as crowd:
        (future,) = crowd.queue(call(1, deadline=time.monotonic() + 1))
        with pytest.raises(DeadlineExceeded):
            future.result(10)
        assert crowd.listener.drops == ["deadline"]
        assert crowd.lane.waiting == 0
        crowd.open()
        assert len(crowd.session.batches) == 1


def test_what_would_be_answered_too_late_is_refused_at_once() -> None:
    session = Doubler()
    with ThreadPoolExecutor(8) as pool:
        lane = Lane(lambda x: time.sleep(0.15) or session(x), Policy(), roomy())
        lane.submit(call(1))
        session.gate.clear()
        first = pool.submit(lane.submit, call(1))
        until(lambda: not lane.idle)
        queued = [pool.submit(lane.submit, call(2, priority=2)) for _ in range(4)]
        until(lambda: lane.waiting == 4)
        assert 1 <= lane.patience(0.02) <= lane.patience(1.0)
        with pytest.raises(Overloaded) as refusal:
            lane.submit(call(3, deadline=time.monotonic() + 0.5))
        assert refusal.value.reason == "deadline"
        # Who goes before those that wait, or has the time, is let in.
        served = [pool.submit(lane.submit, call(3, deadline=time.monotonic() + 30, priority=p))
                  for p in (1, 3)]  # fmt: skip
        until(lambda: lane.waiting == 6)
        session.gate.set()
        for future in (first, *queued, *served):
            assert future.result(10).outputs["y"].shape == (1, 2)
        assert lane.close(10)


def test_requests_of_many_rows_take_more_of_the_time_there_is() -> None:
    session = Doubler()
    lanes = [Lane(lambda x: time.sleep(0.15) or session(x), Policy(4), roomy()) for _ in range(2)]
    for lane, rows in zip(lanes, (1, 4), strict=True):
        for _ in range(3):
            lane.submit(call(1, rows=rows))
    light, heavy = (lane.patience(1.0) for lane in lanes)
    assert 2 * heavy < light
    lane = lanes[1]
    with ThreadPoolExecutor(8) as pool:
        session.gate.clear()
        first = pool.submit(lane.submit, call(1))
        until(lambda: not lane.idle)
        queued = [pool.submit(lane.submit, call(2, rows=4)) for _ in range(4)]
        until(lambda: lane.waiting == 4)
        with pytest.raises(Overloaded, match="deadline"):
            lane.submit(call(3, deadline=time.monotonic() + 0.5))
        session.gate.set()
        for future in (first, *queued):
            future.result(10)
    assert all(lane.close(10) for lane in lanes)


def test_a_deadline_is_kept_while_running() -> None:
    session = Doubler()
    session.gate.clear()
    lane = Lane(session, Policy(), roomy())
    with pytest.raises(DeadlineExceeded):
        lane.submit(call(1, deadline=time.monotonic() + 0.1))
    session.gate.set()
    assert lane.close(10)


def test_who_hung_up_is_dropped_before_compute() -> None:
    with Crowd(Policy(max_batch=4)) as crowd:
        here = threading.Event()
        here.set()
        gone, stays = crowd.queue(call(1, alive=here.is_set), call(2, alive=lambda: True))
        here.clear()
        crowd.open()
        assert stays.result(10).batch_rows == 1
        with pytest.raises(DeadlineExceeded, match="hangup"):
            gone.result(10)
        assert crowd.listener.drops == ["hangup"]


def test_a_full_queue_refuses_at_once_but_first_forgets_who_is_gone() -> None:
    with Crowd(Policy(max_queue=3)) as crowd:
        here = threading.Event()
        here.set()
        crowd.queue(call(1), call(2, alive=here.is_set), call(3))
        # While the gate is shut nothing else could end this call.
        with pytest.raises(Overloaded) as refusal:
            crowd.lane.submit(call(4))
        assert refusal.value.reason == "queue_full"
        assert refusal.value.retry_after >= 1
        here.clear()
        crowd.queue()
        future = crowd.pool.submit(crowd.lane.submit, call(4))
        until(lambda: crowd.listener.drops == ["hangup"])
        crowd.open()
        assert future.result(10).outputs["y"][0, 0] == 8


@pytest.mark.parametrize("slots", [1, 2])
def test_where_nobody_may_wait_those_are_answered_that_need_not(slots: int) -> None:
    """Whoever might have to leave is handed to a runner, and so queued, though nobody is before."""
    policy, soon = Policy(max_queue=0, slots=slots), time.monotonic() + 60
    lane = Lane(Doubler(), policy, roomy())
    assert lane.submit(call(1, deadline=soon)).outputs["y"][0, 0] == 2
    assert lane.close(10)
    with Crowd(policy) as crowd:
        with pytest.raises(Overloaded) as refusal:
            crowd.lane.submit(call(1, deadline=soon))
        assert refusal.value.reason == "queue_full"


def test_bytes_are_bounded_per_lane_and_per_worker() -> None:
    with Crowd(Policy(max_queue_bytes=1000)) as crowd:
        crowd.queue(call(1, rows=100))
        with pytest.raises(Overloaded) as refusal:
            crowd.lane.submit(call(1, rows=100))
        assert refusal.value.reason == "queue_bytes"
    with Crowd(Policy(), Budget(10, 900)) as crowd:
        crowd.queue(call(1, rows=100))
        with pytest.raises(Overloaded, match="this worker") as refusal:
            crowd.lane.submit(call(1, rows=100))
        assert refusal.value.reason == "queue_bytes"


def test_a_worker_bounds_the_requests_of_all_its_lanes() -> None:
    budget = Budget(2, 10**9)
    with Crowd(Policy(), budget) as crowd:
        crowd.queue(call(1))
        other = Lane(Doubler(), Policy(), budget)
        with pytest.raises(Overloaded, match="this worker"):
            other.submit(call(1))
        crowd.open()
        until(lambda: budget.held == (0, 0))
        assert other.submit(call(1)).batch_rows == 1


def test_a_callers_quota_is_its_own() -> None:
    budget = Budget(100, 10**9, per_caller=2)
    with Crowd(Policy(), budget) as crowd:
        crowd.queue(call(1), call(1), caller="greedy")
        with pytest.raises(QuotaExceeded):
            crowd.lane.submit(call(1), "greedy")
        (modest,) = crowd.queue(call(2), caller="modest")
        crowd.open()
        assert modest.result(10).outputs["y"][0, 0] == 4
        until(lambda: budget.held == (0, 0))
        crowd.lane.submit(call(1), "greedy")


def test_closing_finishes_what_is_here_and_refuses_the_rest() -> None:
    with Crowd(Policy(max_batch=4)) as crowd:
        futures = crowd.queue(*(call(i) for i in range(5)))
        closing = crowd.pool.submit(crowd.lane.close, 10)
        until(lambda: refuses(crowd.lane))
        crowd.session.gate.set()
        assert closing.result(10)
        assert [f.result(10).outputs["y"][0, 0] for f in futures] == [0, 2, 4, 6, 8]


def test_closing_does_not_wait_for_a_hung_run_longer_than_told() -> None:
    with Crowd(Policy()) as crowd:
        (future,) = crowd.queue(call(1))
        assert not crowd.lane.close(0.05)
        with pytest.raises(ModelNotReady):
            future.result(10)


def test_two_hundred_lanes_leave_no_thread_behind() -> None:
    before = threading.active_count()
    for _ in range(200):
        lane = Lane(Doubler(), Policy(slots=2), roomy())
        # A deadline before the first measured run is what makes a lane start a runner.
        lane.submit(call(1, deadline=time.monotonic() + 10))
        assert lane.close(5)
    assert threading.active_count() == before


def test_gone_callers_of_a_hung_session_are_not_kept_in_memory() -> None:
    with Crowd(Policy(max_queue=5)) as crowd:
        for _ in range(60):
            with pytest.raises(DeadlineExceeded):
                crowd.lane.submit(call(1, deadline=time.monotonic()))
        assert len(crowd.lane._queue._heap) <= 32


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (([1, 4], [1, 2]), True),
        (([1, 4], [896, 16]), False),
        (([4], [1, 2]), False),
        (([-1, 4], [-1, 2]), False),
        (([2, 4], [2, 4]), False),
    ],
)
def test_rows_are_joined_only_where_every_tensor_has_them(shapes: Any, expected: bool) -> None:
    given, got = (TensorSpec("t", tuple(shape), "float32") for shape in shapes)
    session: Any = SimpleNamespace(inputs=(given,), outputs=(got,), stateful=False)
    assert batchable(session) is expected
    session.stateful = True
    assert not batchable(session), "rows of a stateful model follow each other"


class Compiling(Doubler):
    """A doubler that has to prepare for each new width, while a gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.widths = {2}
        self.asked: list[int] = []
        self.compiler = threading.Event()

    def prepared(self, inputs: Any) -> bool:
        return inputs["x"].shape[1] in self.widths

    def prepare(self, inputs: Any) -> None:
        self.asked.append(inputs["x"].shape[1])
        assert self.compiler.wait(20)
        if self.asked[-1] == 13:
            raise RuntimeError("a compiler's fault")
        self.widths.add(self.asked[-1])


@pytest.mark.parametrize("policy", [Policy(), Policy(max_batch=4, max_delay=0.002)])
def test_what_is_compiled_for_waits_alone(policy: Policy) -> None:
    session = Compiling()
    lane = Lane(session, policy, roomy(), None, True, session)
    with ThreadPoolExecutor(16) as pool:
        new = []
        for width in (3, 3, 5, 13):
            new.append(pool.submit(lane.submit, call(width, width=width)))
            until(lambda: lane.waiting == len(new))
        late = pool.submit(lane.submit, call(1, width=7, deadline=time.monotonic() + 0.05))
        with pytest.raises(DeadlineExceeded):
            late.result(10)
        for value in range(20):
            assert lane.submit(call(value)).outputs["y"][0, 0] == 2 * value
        assert session.asked == [3]
        session.compiler.set()
        for future, width in zip(new, (3, 3, 5, 13), strict=True):
            # Where preparing fails, the run decides.
            assert future.result(10).outputs["y"][0, 0] == 2 * width
    assert session.asked == [3, 5, 13]
    assert session.most_at_once == 1
    assert lane.close(5)


def test_closing_waits_for_what_is_prepared() -> None:
    session = Compiling()
    lane = Lane(session, Policy(), roomy(), None, True, session)
    with ThreadPoolExecutor(4) as pool:
        new = pool.submit(lane.submit, call(3, width=3))
        until(lambda: lane.waiting == 1)
        closing = pool.submit(lane.close, 10)
        until(lambda: refuses(lane))
        session.compiler.set()
        assert closing.result(10)
        assert new.result(10).outputs["y"][0, 0] == 6
