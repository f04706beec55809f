"""A device that lies, hangs or vanishes: found out, its callers served, and remembered."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.errors import DeviceHung
from app.trust.compare import Tolerance, Verdict, compare
from app.trust.device import DeviceTrust, RestartMemory
from app.trust.guarded import GuardedSession, KnownAnswer
from app.trust.verifier import Shadow, Subject, Verifier
from app.trust.watchdog import Watchdog
from tests.trust.fakes import FakeDevice

X = {"x": np.linspace(0.1, 0.9, 8, dtype=np.float32).reshape(1, 8)}
RIGHT = FakeDevice("tflite").run(X)


class Bench:
    """One guarded session over a fake device, and what its trust said."""

    def __init__(self, timeout: float = 5.0, **noise: float) -> None:
        self.device = FakeDevice()
        self.device.noise = noise.get("noise", 0.0)
        self.cpu = FakeDevice("tflite")
        self.trust = DeviceTrust()
        self.faults: list[tuple[str, str]] = []
        self.trust.listen(lambda kind, detail: self.faults.append((kind, detail)))
        answer = KnownAnswer(X, RIGHT)
        self.session = GuardedSession(self.device, lambda: self.cpu, answer, self.trust, timeout)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.faults]


def test_a_sound_device_answers_and_is_described() -> None:
    bench = Bench()
    assert bench.session.arm().ok
    np.testing.assert_array_equal(bench.session.run(X)["y"], RIGHT["y"])
    assert (bench.session.backend, bench.session.inputs) == ("opencl", FakeDevice.inputs)
    assert bench.cpu.runs == 0
    bench.session.close()
    bench.session.close()
    assert bench.device.closed == 1


@given(bit=st.integers(0, 31), at=st.integers(0, 31))
@settings(max_examples=64, deadline=None)
def test_any_flipped_bit_that_changes_the_answer_is_found_by_the_next_check(
    bit: int, at: int
) -> None:
    bench = Bench()
    assert bench.session.arm().ok
    bench.device.flip(bit, at)
    changed = bench.device.run(X)["y"].tobytes() != RIGHT["y"].tobytes()
    assert bench.session.check().ok is not changed
    assert bench.kinds() == (["wrong_results"] if changed else [])
    np.testing.assert_array_equal(
        bench.session.run(X)["y"], bench.device.run(X)["y"] if not changed else RIGHT["y"]
    )
    assert bench.session.backend == ("tflite" if changed else "opencl")
    bench.session.close()


class Readable(FakeDevice):
    """A device whose weights can be read back."""

    def damaged(self) -> list[str]:
        sound = np.array_equal(self.weights.view("u4"), FakeDevice().weights.view("u4"))
        return [] if sound else ["weights"]


@pytest.mark.parametrize("bit", [0, 1, 22, 31])
def test_a_bit_that_changes_no_answer_is_found_where_weights_can_be_read_back(bit: int) -> None:
    device = Readable()
    trust = DeviceTrust()
    session = GuardedSession(device, lambda: FakeDevice("tflite"), KnownAnswer(X, RIGHT), trust, 5)
    assert session.arm().ok
    assert session.check().ok
    device.flip(bit)
    assert not session.check().ok
    assert trust.kind == "wrong_results"
    session.close()


def test_weights_that_arrived_damaged_are_found_at_the_load() -> None:
    device = Readable()
    device.flip(0)
    session = GuardedSession(
        device, lambda: FakeDevice("tflite"), KnownAnswer(X, RIGHT), DeviceTrust(), 5
    )
    assert "weights" in session.arm().detail
    session.close()


def test_a_device_that_never_repeats_itself_is_held_to_the_tolerance() -> None:
    bench = Bench(noise=1e-7)
    assert bench.session.arm().ok
    assert bench.session.check().ok
    bench.device.flip(30)
    assert not bench.session.check().ok
    bench.session.close()


def test_a_device_that_is_wrong_from_the_start_is_never_armed() -> None:
    bench = Bench()
    bench.device.flip(30)
    assert not bench.session.arm().ok
    # It may be a fault of the engine: the model is not loaded, but the card not condemned.
    assert bench.kinds() == []
    bench.session.close()


def test_callers_of_a_hung_device_are_answered_by_the_cpu() -> None:
    bench = Bench(timeout=0.2)
    assert bench.session.arm().ok
    bench.device.hang.set()
    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        answers = [f.result(10) for f in [pool.submit(bench.session.run, X) for _ in range(6)]]
    assert time.monotonic() - began < 5
    for answer in answers:
        np.testing.assert_array_equal(answer["y"], RIGHT["y"])
    assert bench.kinds() == ["hung"]
    bench.session.run(X)
    bench.session.close()
    # The driver still holds what hangs in it: freeing that would hang the closing thread too.
    assert bench.device.closed == 0


def test_a_hung_device_is_found_without_traffic() -> None:
    bench = Bench(timeout=0.1)
    bench.device.hang.set()
    assert not bench.session.check().ok
    assert bench.kinds() == ["hung"]


def test_waiting_for_another_sessions_turn_is_no_hang() -> None:
    watchdog = Watchdog(0.2, busy=lambda: 0.05)
    assert watchdog.call(lambda: (time.sleep(0.7), 5)[1]) == 5
    watchdog.close()


def test_the_turn_that_never_ends_is_a_hang_for_all_that_wait() -> None:
    began = time.monotonic()
    watchdog = Watchdog(0.2, busy=lambda: time.monotonic() - began - 0.3)
    with pytest.raises(DeviceHung):
        watchdog.call(lambda: time.sleep(2))
    assert 0.4 < time.monotonic() - began < 2
    watchdog.close()


def test_work_that_never_gets_its_turn_is_a_hang_in_the_end() -> None:
    watchdog = Watchdog(0.05, busy=lambda: 0.0)
    with pytest.raises(DeviceHung):
        watchdog.call(lambda: time.sleep(5))
    watchdog.close()


def test_a_lost_device_is_replaced_by_the_cpu() -> None:
    bench = Bench()
    bench.device.lost = True
    np.testing.assert_array_equal(bench.session.run(X)["y"], RIGHT["y"])
    assert bench.kinds() == ["lost"]
    assert "CL_OUT_OF_RESOURCES" in bench.trust.detail
    bench.session.close()


def test_one_model_that_fails_moves_the_whole_worker() -> None:
    trust = DeviceTrust()
    devices = [FakeDevice(), FakeDevice()]
    sessions = [
        GuardedSession(d, lambda: FakeDevice("tflite"), KnownAnswer(X, RIGHT), trust, 5)
        for d in devices
    ]
    assert sessions[0].arm().ok
    devices[0].flip(30)
    assert not sessions[0].check().ok
    assert sessions[1].backend == "tflite"
    assert sessions[1].arm().ok
    for session in sessions:
        session.close()


# -- beside the traffic --------------------------------------------------------------------------


def until(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_verifier_finds_a_lie_within_one_period() -> None:
    bench = Bench()
    bench.session.arm()
    told: list[tuple[str, Verdict]] = []
    subject = Subject("m", lambda: True, bench.session.check)
    verifier = Verifier(lambda: [subject], 0.5, lambda m, v: told.append((m, v)))
    verifier.start()
    bench.device.flip(12)
    until(lambda: told)
    verifier.stop()
    assert bench.kinds() == ["wrong_results"]
    assert not told[0][1].ok


def test_the_verifier_goes_on_behind_an_error_that_nobody_has_thought_of() -> None:
    checks: list[float] = []

    def check() -> Verdict:
        checks.append(0.0)
        if len(checks) == 1:
            raise ZeroDivisionError
        return Verdict(0.0)

    verifier = Verifier(lambda: [Subject("m", lambda: True, check)], 0.05, lambda *_: None)
    verifier.start()
    until(lambda: len(checks) > 1)
    verifier.stop()


def test_the_device_thread_keeps_nothing_of_what_it_has_done() -> None:
    watchdog = Watchdog(5.0)
    inputs = np.zeros(4)
    kept = weakref.ref(inputs)
    watchdog.call(lambda inputs=inputs: inputs + 1)
    del inputs
    until(lambda: kept() is None)
    watchdog.close()


def test_a_busy_model_is_checked_later_but_checked() -> None:
    busy = threading.Event()
    checks: list[float] = []

    def check() -> Verdict:
        checks.append(0.0)
        return Verdict(0.0)

    subject = Subject("m", lambda: not busy.is_set(), check)
    verifier = Verifier(lambda: [subject], 10, lambda *_: None)
    busy.set()
    for now in (0, 5, 10, 20, 29):
        verifier.sweep(now)
    assert not checks
    verifier.sweep(31)
    assert len(checks) == 1
    busy.clear()
    verifier.sweep(35)
    assert len(checks) == 1
    verifier.sweep(40)
    assert len(checks) == 2


def test_the_shadow_measures_how_far_the_card_is_from_the_cpu() -> None:
    told: list[tuple[str, Verdict]] = []
    shadow = Shadow(1.0, lambda m, v: told.append((m, v)))
    off = {"y": RIGHT["y"] + np.float32(0.5)}
    assert shadow.offer("m", lambda: FakeDevice("tflite"), X, off, Tolerance())
    until(lambda: told)
    assert told[0][0] == "m"
    assert told[0][1].ratio > 1
    assert not Shadow(0.0, lambda *_: None).offer("m", lambda: FakeDevice(), X, off, Tolerance())


def test_a_slow_shadow_is_skipped_not_waited_for() -> None:
    cpu = FakeDevice("tflite")
    cpu.hang.set()
    shadow = Shadow(1.0, lambda *_: None)
    began = time.monotonic()
    taken = sum(shadow.offer("m", lambda: cpu, X, RIGHT, Tolerance()) for _ in range(50))
    assert taken <= 2
    assert time.monotonic() - began < 1


# -- comparing -----------------------------------------------------------------------------------


@given(
    x=arrays.arrays(
        st.sampled_from(["float32", "float16", "int8", "uint8", "int32", "bool"]),
        arrays.array_shapes(max_dims=3, max_side=5),
    )
)
@settings(max_examples=100, deadline=None)
def test_an_answer_is_always_right_against_itself(x: np.ndarray) -> None:  # type: ignore[type-arg]
    assert compare({"y": x}, {"y": x.copy()}, Tolerance()).ratio == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_not_a_number_is_never_within_the_tolerance(bad: float) -> None:
    x = np.ones((2, 2), np.float32)
    wrong = x.copy()
    wrong[1, 1] = bad
    assert not compare({"y": x}, {"y": wrong}, Tolerance()).ok


def test_shapes_types_and_missing_outputs_count_as_wrong() -> None:
    x = np.ones((2, 2), np.float32)
    for found in ({}, {"y": x[0]}, {"y": x.astype(np.float64)}):
        verdict = compare({"y": x}, found, Tolerance())
        assert not verdict.ok
        assert verdict.output == "y"


def test_quantised_answers_may_differ_by_steps() -> None:
    x = np.full(4, 100, np.uint8)
    assert compare({"y": x}, {"y": x - 7}, Tolerance()).ratio == 1
    assert not compare({"y": x}, {"y": x - 8}, Tolerance()).ok


def test_both_parts_of_complex_answers_count() -> None:
    x = np.array([[1 + 100j, 2 - 50j]], np.complex64)
    assert compare({"y": x}, {"y": x + np.complex64(0.01 - 0.01j)}, Tolerance()).ok
    for wrong in (1, 1j):
        assert not compare({"y": x}, {"y": x + np.complex64(wrong)}, Tolerance()).ok


def test_a_mean_tolerance_bears_single_values_that_are_off() -> None:
    x = np.ones(10000, np.float32)
    one, all_of_it = x.copy(), x + 0.02
    one[5] = 0.5
    tolerance = Tolerance(1e-2, mean=True)
    assert compare({"y": x}, {"y": one}, tolerance).ok
    assert not compare({"y": x}, {"y": one}, Tolerance(1e-2)).ok
    assert not compare({"y": x}, {"y": all_of_it}, tolerance).ok
    one[5] = np.nan
    assert not compare({"y": x}, {"y": one}, tolerance).ok


# -- memory of restarts --------------------------------------------------------------------------


def test_restarts_are_remembered_within_the_window_only(tmp_path: Path) -> None:
    memory = RestartMemory(tmp_path / "faults.jsonl", 2, 0.3)
    assert not memory.exhausted()
    assert memory.note("hung") == 1
    assert not memory.exhausted()
    assert memory.note("lost") == 2
    assert memory.exhausted()
    assert "hung, lost" in memory.reason()
    time.sleep(0.35)
    assert not memory.exhausted()
    assert memory.note("hung") == 1


def test_workers_that_restart_at_once_are_all_counted(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"
    code = (
        "import sys, pathlib\n"
        "from app.trust.device import RestartMemory\n"
        "m = RestartMemory(pathlib.Path(sys.argv[1]), 3, 600)\n"
        "for _ in range(25): m.note('hung')\n"
    )
    many = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(4)]
    assert [process.wait(30) for process in many] == [0] * 4
    assert len(RestartMemory(path, 3, 600).recent()) == 100
