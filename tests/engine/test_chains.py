"""Chains of small launches: what they are made of, and that they compute what the launches do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.engine import planner
from app.engine.chains import POINTERS, chained
from app.engine.ir import Launch, Local, Tensor
from app.engine.loaded import LoadedModel
from app.engine.opencl import chain_program
from app.engine.opencl.chain_program import chains
from app.engine.opencl.texts import ENTRY, OWN
from app.engine.profile import RX_580, DeviceProfile
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.corpus import NETS

KERNELS = Path(chain_program.__file__).parents[1] / "kernels"
CPU = replace(RX_580, kind="cpu", compute_units=1)


def _launch(constant: bool = False, flops: int = 0, local: int = 1) -> Launch:
    x = Tensor("x", (4,), "float32", np.zeros(4, "f4") if constant else None)
    return Launch("elementwise", "elementwise", (x, Tensor("y", (4,), "float32"), np.int32(4)),
                  (4,), (local,), flops=flops)


def _sizes(steps: Sequence[Launch], profile: DeviceProfile = CPU) -> list[int]:
    return [max(len(s.parts), 1) for s in chained(steps, profile)]


def test_small_launches_that_follow_each_other_are_one() -> None:
    small, large = _launch(), _launch(flops=10**9)
    assert _sizes([small] * 5) == [5]
    assert _sizes([small] * 3 + [_launch(local=2)] + [small] * 2) == [3, 1, 2]
    assert _sizes([small] * 4, RX_580) == [1] * 4
    assert _sizes([small]) == [1]
    # What a chain saves must be worth a program of its own.
    assert _sizes([small] * 3 + [large] + [small] * 2) == [1] * 6
    # With more cores less is small: the others would wait.
    middle = _launch(flops=800_000)
    assert _sizes([middle] * 4) == [4]
    assert _sizes([middle] * 4, replace(CPU, compute_units=16)) == [1] * 4


def test_kernels_of_groups_stay_apart() -> None:
    grouped = replace(_launch(), args=(*_launch().args, Local(64)))
    assert _sizes([_launch(), grouped, _launch()]) == [1] * 3


def test_the_number_of_constants_has_a_bound() -> None:
    steps = [_launch(constant=True) for _ in range(POINTERS + 10)]
    assert _sizes(steps) == [POINTERS, 10]


def test_the_program_depends_on_the_kinds_of_parts_only() -> None:
    def text(*parts: Sequence[Launch]) -> str:
        launches = [replace(_launch(), parts=tuple(p)) for p in parts]
        return chains(launches, lambda arg: ("arena", id(arg) % 1000)).text

    wide = replace(_launch(), global_size=(8,))
    assert text([_launch()]) == text([_launch(), wide], [_launch()])
    assert text([_launch()]) != text([_launch(), replace(_launch(), defines={"VW": 4})])


@pytest.mark.parametrize("path", sorted(KERNELS.iterdir()), ids=lambda path: path.name)
def test_every_name_of_a_kernel_file_is_found(path: Path) -> None:
    # Several files may be in one program, under other names.
    text = re.sub(r"//.*", "", path.read_text())
    assert len(ENTRY.findall(text)) == len(re.findall(r"\b__kernel\b", text))
    assert len(OWN.findall(text)) == len(re.findall(r"\b(?:inline|typedef)\b", text))
    # Only a kernel gets the number of its work-item in a chain.
    for function in re.split(r"^}", text, flags=re.MULTILINE):
        assert "get_global_id" not in function.partition("inline")[2]


def _mixed() -> bytes:
    """Kernels of many kinds: copies, vectors, several of one file, numbers that are floats."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 3, 10))
    rng = np.random.default_rng(0)
    w = graph.const(rng.normal(size=(7, 10)).astype("f4"))
    b = graph.const(rng.normal(size=7).astype("f4"))
    dense = graph.op("FULLY_CONNECTED", [x, w, b], [Spec((1, 3, 7))], {"keepNumDims": True})[0]
    axis = graph.const(np.array(2, "i4"))
    left, right = graph.op("SPLIT", [axis, x], [Spec((1, 3, 5))] * 2, {"numSplits": 2})
    joined = graph.op("CONCATENATION", [right, dense, left], [Spec((1, 3, 17))], {"axis": 2})[0]
    soft = graph.op("SOFTMAX", [joined], [Spec((1, 3, 17))], {"beta": 1.5})[0]
    pads = graph.const(np.array([[0, 0], [1, 0], [0, 2]], "i4"))
    padded = graph.op("PAD", [soft, pads], [Spec((1, 4, 19))])[0]
    means = graph.op("MEAN", [padded, graph.const(np.array([1], "i4"))], [Spec((1, 19))])[0]
    whole = graph.op("CAST", [means], [Spec((1, 19), "int32")])[0]
    graph.outputs(dense, soft, means, whole)
    return model.build()


def test_a_mixed_chain_answers_as_tflite(runtime: Runtime) -> None:
    blob = _mixed()
    model = LoadedModel(runtime, read(blob))
    inputs = oracle.random_inputs(blob)
    for actual, expected in zip(model.run(inputs), oracle.run(blob, inputs), strict=True):
        oracle.assert_same(actual, expected)
    if runtime.device.profile.is_cpu:
        assert model.prepare().launches == 1
    model.close()


@pytest.mark.parametrize("net", ["lstm_int8", "text_float32"])
def test_chains_compute_what_the_launches_do(net: str, runtime: Runtime,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    blob = (NETS / f"{net}.tflite").read_bytes()
    inputs = oracle.random_inputs(blob)
    chains = LoadedModel(runtime, read(blob))
    answers, launches = chains.run(inputs), chains.prepare([a.shape for a in inputs]).launches
    monkeypatch.setattr(planner, "chained", lambda steps, _: steps)
    single = LoadedModel(runtime, read(blob))
    for actual, expected in zip(answers, single.run(inputs), strict=True):
        oracle.assert_same(actual, expected, 0)
    fewer = launches < single.prepare([a.shape for a in inputs]).launches
    assert fewer == runtime.device.profile.is_cpu
    # Constants that chains share one buffer for are watched one by one, as all others.
    assert not chains.damaged()
    for model in (chains, single):
        model.close()
