"""Which plans many batches run in: what is ready, and of that what is fastest by the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from app.engine import batches
from app.engine.batches import SIZES, Batcher
from app.engine.ir import Data


class Machine:
    """A model that doubles its input, and a clock that says how long it took."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self._seconds = seconds
        self.now = 0.0
        self.sizes: list[int] = []

    def run(self, inputs: Sequence[Data], runs: int) -> list[Data]:
        rows = len(inputs[0])
        assert rows == runs
        self.sizes.append(rows)
        self.now += self._seconds(rows)
        return [inputs[0] * 2]

    def perf_counter(self) -> float:
        return self.now


def _batcher(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, ready: set[int] | None = None
) -> Batcher:
    monkeypatch.setattr(batches, "perf_counter", machine.perf_counter)
    return Batcher(machine.run, lambda inputs, runs, size: ready is None or size in ready)


def _settled(batcher: Batcher, machine: Machine, runs: int) -> list[int]:
    """The sizes of a request after a few of its kind; its answer is right each time."""
    x = np.arange(runs * 3, dtype="f4").reshape(runs, 3)
    for _ in range(2 * len(SIZES) + 2):
        machine.sizes.clear()
        np.testing.assert_array_equal(batcher.run([x], runs)[0], x * 2)
    return list(machine.sizes)


def test_a_card_that_likes_company_gets_the_largest_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(lambda rows: 1.0 + 0.1 * rows)
    assert _settled(_batcher(monkeypatch, machine), machine, 16) == [16]
    machine = Machine(lambda rows: 1.0 + 0.1 * rows)
    assert _settled(_batcher(monkeypatch, machine), machine, 13) == [8, 4, 1]


def test_caches_that_hold_two_get_two(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(lambda rows: 0.2 + (1.0 if rows <= 2 else 1.5) * rows)
    assert _settled(_batcher(monkeypatch, machine), machine, 16) == [2] * 8


def test_rows_that_touch_run_one_by_one_even_if_the_first_are_alike() -> None:
    sizes: list[int] = []

    def mixing(inputs: Sequence[Data], runs: int) -> list[Data]:
        sizes.append(runs)
        return [inputs[0] - inputs[0].mean(axis=0, keepdims=True)]

    batcher = Batcher(mixing)
    batcher.run([np.ones((2, 3), "f4")], 2)
    sizes.clear()
    answer = batcher.run([np.array([[1.0, 2.0], [5.0, 7.0]], "f4")], 2)[0]
    assert sizes == [1, 1]
    np.testing.assert_array_equal(answer, np.zeros((2, 2)))


@pytest.mark.parametrize("kind", ["bool", "i4", "O", "c8"])
def test_rows_that_touch_are_seen_in_results_of_any_type(kind: str) -> None:
    def mixing(inputs: Sequence[Data], runs: int) -> list[Data]:
        above = inputs[0] >= inputs[0].mean(axis=0, keepdims=True)
        # Labels and truths are one apart, or none.
        made = {"O": np.where(above, b"yes", b"no"), "c8": above * 0.4j}.get(kind, above)
        return [made.astype(kind)]

    batcher = Batcher(mixing)
    answer = batcher.run([np.array([[1.0, 2.0], [5.0, 7.0]], "f4")], 2)[0]
    assert not batcher.apart([np.ones((2, 2), "f4")])
    assert len(np.unique(answer)) == 1


def test_a_size_that_computes_wrongly_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(lambda rows: 1.0)
    batcher = _batcher(monkeypatch, machine)
    right = machine.run

    def wrong(inputs: Sequence[Data], runs: int) -> list[Data]:
        (answer,) = right(inputs, runs)
        answer[runs // 2] += runs == 8
        return [answer]

    monkeypatch.setattr(batcher, "_run", wrong)
    assert _settled(batcher, machine, 8) == [4, 4]


def test_what_is_not_ready_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(lambda rows: 1.0)
    ready: set[int] = set()
    batcher = _batcher(monkeypatch, machine, ready)
    assert _settled(batcher, machine, 8) == [1] * 8
    ready |= {2, 4}
    assert _settled(batcher, machine, 8) == [4, 4]
    ready.add(8)
    assert _settled(batcher, machine, 8) == [8]


def test_a_size_that_was_slow_once_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {16: 100.0}
    machine = Machine(lambda rows: slow.get(rows, 1.0))
    batcher = _batcher(monkeypatch, machine)
    assert _settled(batcher, machine, 16) == [8, 8]
    slow.clear()
    for _ in range(50 * batches.AGAIN):
        machine.sizes.clear()
        batcher.run([np.zeros((16, 3), "f4")], 16)
    assert machine.sizes == [16]
