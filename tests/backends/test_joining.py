"""Requests of different callers that run as one get what they would have got alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.backends.choice import OpenclOptions, Source, open_session
from app.backends.session import Session
from app.backends.tflite import TfliteOptions
from app.batching.budget import Budget
from app.batching.job import Call
from app.batching.lane import Lane
from app.batching.policy import Policy
from app.errors import InvalidInput
from app.repository.crashes import Crashes, Recorder
from app.repository.descriptions import Described
from app.repository.manifest import Batching, Manifest
from app.repository.names import Key
from app.repository.records import Wish
from app.repository.served import Opener
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.corpus import CORPUS
from tests.service.live import ROOT
from tests.tools import require_tool

POCL = OpenclOptions("Portable Computing Language")
DIGITS = (ROOT / "models/digits/1/model.tflite").read_bytes()


def _mixing() -> bytes:
    """Rows that are normalised together: one row's answer depends on the others."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((-1, 4))
    (mean,) = graph.op("MEAN", [x, graph.const(np.array([0], "i4"))], [Spec((1, 4))],
                       {"keepDims": True})
    (y,) = graph.op("SUB", [x, mean], [Spec((-1, 4))])
    graph.outputs(y)
    return model.build()


@cache
def _session(blob: bytes, backend: str) -> Session:
    if backend == "opencl":
        require_tool("pocl")
    source = Source("net", "1", "", blob, TfliteOptions("ai-edge-litert", "for the test"))
    return open_session(source, backend, POCL)


def _where() -> bytes:
    """The places of what is true: how many there are, data decides."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 4), "bool")
    graph.outputs(*graph.op("WHERE", [x], [Spec((-1, 2), "int64")]))
    return model.build()


@pytest.mark.parametrize("backend", ["tflite", "opencl"])
def test_examples_with_results_of_different_sizes_are_refused_in_words(backend: str) -> None:
    session = _session(_where(), backend)
    (name,) = (spec.name for spec in session.inputs)
    two, three = [1, 0, 0, 1], [0, 1, 1, 1]
    for unlike in ([two, three], [[1, 0, 0, 0], three, two], [[0] * 4, two]):
        with pytest.raises(InvalidInput, match="different shapes"):
            session.run({name: np.array(unlike, bool)})
    (alike,) = session.run({name: np.array([two, two], bool)}).values()
    assert alike.tolist() == [[[0, 0], [0, 3]]] * 2


def test_rows_of_a_free_batch_are_joined_on_the_card_where_they_do_not_touch() -> None:
    card = _session(DIGITS, "opencl")
    assert card.inputs[0].shape[0] == -1
    assert card.joins
    assert not _session(DIGITS, "tflite").joins, "on the CPU that could change the last bit"
    rows = np.random.default_rng(0).random((37, 8, 8, 1), np.float32)
    name, answer = card.inputs[0].name, card.outputs[0].name
    expected = _session(DIGITS, "tflite").run({name: rows})[answer]
    np.testing.assert_allclose(card.run({name: rows})[answer], expected, atol=1e-5)


@pytest.mark.parametrize(("backend", "delay"), [("tflite", 0.0), ("opencl", 0.005)])
def test_company_is_waited_for_only_where_it_helps(backend: str, delay: float) -> None:
    batching = Batching(max_batch=8, max_delay_ms=5)
    opener = Opener(Budget(64, 10**9), Recorder(Crashes(Path("unused"))), 64)
    wish = Wish(Key("m", "1"), "", "default", True, False, 1, 0)
    described = Described(manifest=Manifest(batching=batching))
    loaded = opener(wish, described, _session(DIGITS, backend), 0.0)
    try:
        assert loaded.policy.max_batch == 8
        assert loaded.policy.max_delay == delay
    finally:
        loaded.lane.close(1.0)
        loaded.meter.close()


def test_rows_that_touch_are_left_together_and_never_joined() -> None:
    card, cpu = _session(_mixing(), "opencl"), _session(_mixing(), "tflite")
    assert not card.joins
    rows = np.random.default_rng(0).random((5, 4), np.float32)
    name, answer = card.inputs[0].name, card.outputs[0].name
    np.testing.assert_allclose(
        card.run({name: rows})[answer], cpu.run({name: rows})[answer], atol=1e-6
    )


def _at_once(calls: list[Callable[[], None]]) -> None:
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], None]) -> None:
        start.wait()
        call()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _models() -> dict[str, bytes]:
    return {"digits": DIGITS, "face": CORPUS["face_detection_short_range"].blob()}


@pytest.mark.parametrize("backend", ["tflite", "opencl"])
@pytest.mark.parametrize("model", ["digits", "face"])
@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(1, 3), min_size=2, max_size=8), seed=st.integers(0, 2**16))
def test_any_interleaving_of_requests_to_a_real_model_gives_each_its_own_answer(
    backend: str, model: str, sizes: list[int], seed: int
) -> None:
    """On the CPU to the bit, on the card within the engine's tolerance."""
    session = _session(_models()[model], backend)
    name = session.inputs[0].name
    rng = np.random.default_rng(seed)
    requests = [rng.random((n, *session.inputs[0].shape[1:]), np.float32) for n in sizes]
    alone = [session.run({name: request}) for request in requests]
    policy = Policy(max_batch=16, max_delay=0.005, slots=session.concurrency)
    lane = Lane(session.run, policy, Budget(64, 10**9), None, session.joins)
    found: dict[int, Any] = {}

    def ask(index: int) -> Callable[[], None]:
        def call() -> None:
            found[index] = lane.submit(Call({name: requests[index]})).outputs

        return call

    _at_once([ask(index) for index in range(len(requests))])
    assert lane.close(10)
    for index, expected in enumerate(alone):
        for key, value in expected.items():
            if backend == "tflite":
                np.testing.assert_array_equal(found[index][key], value)
            else:
                room = 1e-4 * max(1e-3, float(np.ptp(value)))
                np.testing.assert_allclose(found[index][key], value, atol=room, rtol=0)
