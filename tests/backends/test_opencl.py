"""The OpenCL session gives the CPU session's answers under the same protocol."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from app.backends.choice import OpenclOptions, Source, open_session
from app.backends.opencl import open_session as open_opencl
from app.backends.tflite import TfliteOptions
from app.engine.ir import Graph
from app.engine.larger import LargerPlans
from app.engine.opencl.kernel import check
from app.engine.opencl.programs import Programs
from app.errors import DeviceError, DeviceMemoryError, DeviceNotFound, InvalidInput, InvalidModel
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.corpus import NETS
from tests.tools import require_tool

POCL = OpenclOptions("Portable Computing Language")


def _net(mixes_rows: bool = False) -> bytes:
    model = ModelBuilder()
    graph = model.graph()
    rng = np.random.default_rng(0)
    x = graph.input((1, 6, 6, 3))
    (y,) = graph.op("CONV_2D", [x, graph.const(rng.uniform(-1, 1, (8, 3, 3, 3)).astype("f4")),
                                graph.const(np.ones(8, "f4"))], [Spec((1, 6, 6, 8))],
                    {"padding": "SAME", "strideH": 1, "strideW": 1})
    if mixes_rows:
        (y,) = graph.op("MEAN", [y, graph.const(np.array([0, 1], "i4"))], [Spec((6, 8))])
    graph.outputs(y)
    return model.build()


def _source(blob: bytes) -> Source:
    return Source("net", "1", "", blob, TfliteOptions("ai-edge-litert", "for the test"))


@pytest.mark.parametrize("mixes_rows", [False, True])
def test_batches_and_threads_give_the_cpus_answers(mixes_rows: bool) -> None:
    require_tool("pocl")
    source = _source(_net(mixes_rows))
    card, cpu = open_session(source, "opencl", POCL), open_session(source, "tflite", POCL)
    assert (card.inputs, card.outputs) == (cpu.inputs, cpu.outputs)
    rng = np.random.default_rng(1)
    name, answer = card.inputs[0].name, card.outputs[0].name
    batches = [rng.uniform(-1, 1, (n, 6, 6, 3)).astype("f4") for n in (1, 5, 2, 1, 7)]
    with ThreadPoolExecutor(4) as pool:
        ours = list(pool.map(lambda b: card.run({name: b})[answer], batches))
    for batch, actual in zip(batches, ours, strict=True):
        np.testing.assert_allclose(actual, cpu.run({name: batch})[answer], atol=1e-5)
    assert card.memory_bytes > 0
    card.close()
    card.close()


def test_an_array_that_does_not_fit_is_refused() -> None:
    require_tool("pocl")
    card = open_session(_source(_net()), "opencl", POCL)
    with pytest.raises(InvalidInput, match="must be float32 of shape"):
        card.run({card.inputs[0].name: np.zeros((1, 6, 5, 3), "f4")})


def test_auto_leaves_cpu_devices_alone() -> None:
    require_tool("pocl")
    session = open_session(_source(_net()), "auto", OpenclOptions("auto"))
    assert session.backend == "tflite"
    assert "there is no OpenCL GPU" in session.reason


def test_a_strict_pattern_without_a_match_lists_the_devices() -> None:
    require_tool("pocl")
    with pytest.raises(DeviceNotFound, match="Portable Computing Language"):
        open_session(_source(_net()), "opencl", OpenclOptions("RX 9999"))


def test_compiled_kernels_survive_and_damage_is_repaired(tmp_path: Path) -> None:
    require_tool("pocl")
    source = _source(_net())
    first = open_session(source, "opencl", OpenclOptions(POCL.pattern, tmp_path))
    x = {first.inputs[0].name: np.ones((1, 6, 6, 3), "f4")}
    expected = first.run(x)[first.outputs[0].name]
    files = sorted(f for f in tmp_path.iterdir() if f.suffix != ".lock")
    assert files
    for number, damage in enumerate((b"", b"RX5KERN1" + b"\0" * 100)):
        for file in files:
            file.write_bytes(damage)
        pattern = f"Portable Computing{'.' * (number + 1)}"
        again = open_session(source, "opencl", OpenclOptions(pattern, tmp_path))
        np.testing.assert_array_equal(again.run(x)[again.outputs[0].name], expected)
        assert all(len(f.read_bytes()) > 200 for f in files)


def _fixed_net() -> bytes:
    """Its file says [1, -1, 4] and [1, 3, 6, 3] where it means all rows."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 6, 6, 3))
    begin, size = (graph.const(np.array(n, "i4")) for n in ([0, 0, 0, 0], [1, 4, 6, 3]))
    (y,) = graph.op("SLICE", [x, begin, size], [Spec((1, 4, 6, 3))], {})
    begin, end, stride = (graph.const(np.array(n, "i4"))
                          for n in ([0, 1, 0, 0], [1, 4, 6, 3], [1, 1, 1, 1]))
    (y,) = graph.op("STRIDED_SLICE", [y, begin, end, stride], [Spec((1, 3, 6, 3))], {})
    (y,) = graph.op("RESHAPE", [y, graph.const(np.array([1, -1, 9], "i4"))], [Spec((1, 6, 9))],
                    {"newShape": [1, -1, 9]})
    (y,) = graph.op("SOFTMAX", [y], [Spec((1, 6, 9))], {"beta": 1.0})
    graph.outputs(y)
    return model.build()


def test_batches_of_one_in_the_files_constants_do_not_part_the_rows() -> None:
    require_tool("pocl")
    source = _source(_fixed_net())
    card, cpu = open_session(source, "opencl", POCL), open_session(source, "tflite", POCL)
    name, answer = card.inputs[0].name, card.outputs[0].name
    batch = np.random.default_rng(3).uniform(-1, 1, (4, 6, 6, 3)).astype("f4")
    small = card.memory_bytes
    for _ in range(3):
        np.testing.assert_allclose(card.run({name: batch})[answer], cpu.run({name: batch})[answer],
                                   atol=1e-6)
        assert card._model.runtime.ahead.wait(120)  # type: ignore[attr-defined]
    # Rows that do not keep apart would have no plan for several.
    assert card.memory_bytes > small


def test_a_net_made_for_one_at_a_time_answers_several_one_by_one() -> None:
    require_tool("pocl")
    # Unrolled over time, it takes its batch apart by the file's own count.
    source = _source((NETS / "gru_unrolled_float32.tflite").read_bytes())
    card, cpu = open_session(source, "opencl", POCL), open_session(source, "tflite", POCL)
    (x,) = card.inputs
    batch = np.random.default_rng(3).uniform(-1, 1, (3, *x.shape[1:])).astype("f4")
    for _ in range(2):
        for name, expected in cpu.run({x.name: batch}).items():
            np.testing.assert_allclose(card.run({x.name: batch})[name], expected, atol=1e-5)
        assert card._model.runtime.ahead.wait(120)  # type: ignore[attr-defined]
    with pytest.raises(InvalidModel, match="6 outputs"):
        card._model.run([batch])  # type: ignore[attr-defined]


def test_requests_do_not_wait_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    require_tool("pocl")
    source = _source(_net())
    card, cpu = open_session(source, "opencl", POCL), open_session(source, "tflite", POCL)
    name, answer = card.inputs[0].name, card.outputs[0].name
    ahead = card._model.runtime.ahead  # type: ignore[attr-defined]
    may = threading.Event()
    real = LargerPlans.make

    def held(plans: LargerPlans, shapes: Any) -> None:
        assert may.wait(60)
        real(plans, shapes)

    monkeypatch.setattr(LargerPlans, "make", held)
    batch = np.random.default_rng(3).uniform(-1, 1, (5, 6, 6, 3)).astype("f4")
    expected = cpu.run({name: batch})[answer]
    small = card.memory_bytes
    np.testing.assert_allclose(card.run({name: batch})[answer], expected, atol=1e-5)
    assert card.memory_bytes == small
    may.set()
    # The first answer says whether two may run as one, the next asks for four.
    for _ in range(2):
        assert ahead.wait(120)
        np.testing.assert_allclose(card.run({name: batch})[answer], expected, atol=1e-5)
    assert ahead.wait(120)
    assert card.memory_bytes > small


_ENDS = """
import sys
from pathlib import Path
import numpy as np
from tests.backends.test_opencl import POCL, NETS, OpenclOptions, _source, open_session
source = _source((NETS / "mobile_float32.tflite").read_bytes())
card = open_session(source, "opencl", OpenclOptions(POCL.pattern, Path(sys.argv[1])))
(x,) = card.inputs
card.run({x.name: np.zeros((9, *x.shape[1:]), "f4")})
"""


def test_a_process_ends_well_while_larger_plans_are_made(tmp_path: Path) -> None:
    require_tool("pocl")
    # Nothing compiled before: PoCL keeps what it compiles, too.
    environ = {**os.environ, "POCL_CACHE_DIR": str(tmp_path / "driver")}
    (tmp_path / "driver").mkdir()
    ended = subprocess.run([sys.executable, "-c", _ENDS, str(tmp_path / "ours")], env=environ,
                           capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr


def test_a_larger_batch_that_finds_no_room_costs_no_answer() -> None:
    require_tool("pocl")
    asked: list[int] = []

    def full(nbytes: int) -> None:
        asked.append(nbytes)
        raise DeviceMemoryError(nbytes, 0)

    source = replace(_source(_net()), reserve=full)
    card, cpu = open_session(source, "opencl", POCL), open_session(source, "tflite", POCL)
    name, answer = card.inputs[0].name, card.outputs[0].name
    batch, small = np.ones((4, 6, 6, 3), "f4"), card.memory_bytes
    for _ in range(2):
        np.testing.assert_allclose(card.run({name: batch})[answer],
                                   cpu.run({name: batch})[answer], atol=1e-5)
        assert card._model.runtime.ahead.wait(60)  # type: ignore[attr-defined]
    assert card.memory_bytes == small < asked[0]


def test_a_flipped_bit_in_a_weight_on_the_device_is_named() -> None:
    require_tool("pocl")
    card = open_opencl(_source(_net()), POCL)
    assert card.damaged() == []
    model = card._model
    constant = max(model._weights.uploaded(), key=lambda c: c.nbytes)
    held = np.empty(constant.nbytes, "u1")
    cl.enqueue_copy(model.runtime.queue, held, constant.buffer)
    held[5] ^= 1
    cl.enqueue_copy(model.runtime.queue, constant.buffer, held)
    assert card.damaged() == [constant.name]
    card.close()


def test_a_model_answers_while_another_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    require_tool("pocl")
    ready = open_opencl(_source(_net()), POCL)
    compiling, go_on = threading.Event(), threading.Event()
    compile_one = Programs._compile

    def slow(*arguments: Any) -> Any:
        compiling.set()
        go_on.wait(60)
        return compile_one(*arguments)

    monkeypatch.setattr(Programs, "_compile", slow)
    # Other tests of this process may have compiled the same kernels.
    ready._model.runtime.programs._built.clear()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(open_opencl, _source(_net(mixes_rows=True)), POCL)
        assert compiling.wait(60)
        ready.run({ready.inputs[0].name: np.zeros((1, 6, 6, 3), "f4")})
        assert ready.busy_seconds == 0
        go_on.set()
        loading.result(60).close()
    ready.close()


@pytest.mark.parametrize(("code", "kind"), [
    (cl.status_code.OUT_OF_RESOURCES, DeviceError),
    (cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE, DeviceMemoryError),
])
def test_what_the_driver_reports_is_a_device_error(
    code: int, kind: type[DeviceError], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("pocl")
    card = open_opencl(_source(_net()), POCL)

    def fail(*arguments: object, **options: object) -> None:
        raise cl.RuntimeError(cl._cl._ErrorRecord("", code, "clEnqueueReadBuffer"))

    monkeypatch.setattr(card._model, "run_batches", fail)
    for work in (lambda: card.run({card.inputs[0].name: np.zeros((1, 6, 6, 3), "f4")}),
                 lambda: check("clEnqueueReadBuffer", code)):
        with pytest.raises(DeviceError) as caught:
            work()
        assert type(caught.value) is kind
    monkeypatch.undo()
    card.close()


def test_a_driver_that_fails_at_the_load_leaves_the_model_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("pocl")

    def fail(*arguments: object, **options: object) -> None:
        raise cl.RuntimeError(cl._cl._ErrorRecord("", cl.status_code.OUT_OF_RESOURCES, "clFinish"))

    monkeypatch.setattr(cl, "Buffer", fail)
    session = open_session(_source(_net()), "auto", POCL)
    assert session.backend == "tflite"
    assert "OUT_OF_RESOURCES" in session.reason
    session.close()


def test_a_closed_model_leaves_nothing_for_the_collector_of_cycles() -> None:
    """A cycle would keep a file of any size in memory until Python happens to look for cycles."""
    require_tool("pocl")
    card = open_session(_source(_net()), "opencl", POCL)
    card.run({card.inputs[0].name: np.zeros((3, 6, 6, 3), "f4")})
    model = weakref.ref(card._model)  # type: ignore[attr-defined]
    gc.disable()
    try:
        before = sum(isinstance(o, Graph) for o in gc.get_objects())
        card.close()
        del card
        assert model() is None
        assert sum(isinstance(o, Graph) for o in gc.get_objects()) < before
    finally:
        gc.enable()
