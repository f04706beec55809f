"""Copies that run together leave in memory what they left one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.engine.bundles import MOST, SMALL_BYTES, bundled
from app.engine.ir import Launch, Tensor
from app.engine.ops.movement import copy_launch, dense
from app.engine.profile import RX_580
from app.engine.runtime import Runtime
from bench.kernels.plans import launches, plan_blob
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.engine_check import assert_op_same

SIZE = 24


def _random_steps(rng: np.random.Generator) -> tuple[list[Tensor], list[Launch]]:
    tensors = [Tensor(f"t{i}", (SIZE,), "float32") for i in range(4)]
    steps = []
    for _ in range(12):
        x, y = (tensors[i] for i in rng.choice(4, 2, replace=False))
        if rng.random() < 0.2:
            steps.append(Launch("map", "add_one", (x, y), (1,), (1,), {}))
            continue
        rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 5))
        box = (1, 1, 1, rows, columns)
        # Backwards, forwards and every other element.
        walks = [(0, 0, 0, 6, int(rng.choice((-1, 1, 1, 2)))) for _ in range(2)]
        starts = []
        for *_, step in walks:
            low = (columns - 1) * -min(step, 0)
            high = SIZE - 6 * (rows - 1) - (columns - 1) * max(step, 0)
            starts.append(int(rng.integers(low, max(high, low + 1))))
        steps.append(copy_launch(x, y, box, *walks, RX_580, (starts[0], starts[1])))
    return tensors, steps


def _copies(launch: Launch) -> list[tuple[Any, ...]]:
    # (x, y, rows, columns, first read, steps of its rows, first write, of its rows, per, and of
    # the elements of both)
    args = launch.args
    if launch.kernel == "copy":
        return [(args[0], args[1], *args[5:7], args[7], args[11], args[13], args[17], args[19],
                 args[12], args[18])]
    if launch.defines["UNIT"]:
        return [(*args[i:i + 9], 1, 1) for i in range(0, len(args), 9)]
    return [args[i:i + 11] for i in range(0, len(args), 11)]


def _run(tensors: Sequence[Tensor], steps: Sequence[Launch]) -> dict[Tensor, Any]:
    memory = {t: np.arange(SIZE, dtype="f4") + 100 * i for i, t in enumerate(tensors)}
    for step in steps:
        if step.source == "map":
            memory[step.args[1]] = memory[step.args[0]] + 1  # type: ignore[index]
            continue
        # The device's order within a launch is nobody's: each copy reads what was there before.
        before = {t: a.copy() for t, a in memory.items()}
        for x, y, rows, columns, xoff, xd, yoff, yd, _, xe, ye in _copies(step):
            for d in range(rows):
                e = np.arange(columns)
                memory[y][yoff + d * yd + e * ye] = before[x][xoff + d * xd + e * xe]
    return memory


@pytest.mark.parametrize("seed", range(200))
def test_the_memory_is_the_same(seed: int) -> None:
    tensors, steps = _random_steps(np.random.default_rng(seed))
    wanted = _run(tensors, steps)
    for tensor, got in _run(tensors, bundled(steps, {}, RX_580)).items():
        np.testing.assert_array_equal(got, wanted[tensor])


def test_most_copies_join_where_nothing_bars_them() -> None:
    pairs = [(Tensor(f"x{i}", (8,), "float32"), Tensor(f"y{i}", (8,), "float32"))
             for i in range(MOST + 2)]
    steps = [copy_launch(x, y, (8,), (1,), (1,), RX_580) for x, y in pairs]
    assert [s.kernel for s in bundled(steps, {}, RX_580)] == ["copies", "copies"]
    chain = [copy_launch(pairs[0][0], pairs[0][1], (8,), (1,), (1,), RX_580),
             copy_launch(pairs[0][1], pairs[1][1], (8,), (1,), (1,), RX_580)]
    assert bundled(chain, {}, RX_580) == chain
    large = [Tensor(f"l{i}", (SMALL_BYTES["gpu"] // 4 + 1,), "float32") for i in range(4)]
    big = [copy_launch(large[i], large[i + 1], large[0].shape, (1,), (1,), RX_580) for i in (0, 2)]
    assert bundled(big, {}, RX_580) == big


def test_parts_of_one_memory_are_told_apart() -> None:
    whole = Tensor("whole", (4, 8), "float32")
    parts = [Tensor(f"part{i}", (8,), "float32") for i in range(4)]
    views = {p: (whole, 32 * i) for i, p in enumerate(parts)}
    steps = [copy_launch(parts[i], parts[i + 1], (8,), dense((8,)), (1,), RX_580) for i in (0, 2)]
    assert len(bundled(steps, views, RX_580)) == 1


def test_mirrored_borders_join_the_middle(runtime: Runtime) -> None:
    pads = np.array([[0, 0], [0, 0], [3, 2]], "i4")
    blob = single_op("MIRROR_PAD", [Spec((1, 1, 9)), pads], [Spec((1, 1, 14))],
                     {"mode": "REFLECT"})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))
    assert [s.kernel for s in launches(plan_blob(blob))] == ["copies"]


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_splits_of_several_tensors(runtime: Runtime, dtype: str) -> None:
    model = ModelBuilder()
    graph = model.graph()
    parts = []
    for columns in (6, 10):
        x = graph.input((3, columns), dtype)
        axis = graph.const(np.array(1, "i4"))
        parts += graph.op("SPLIT", [axis, x], [Spec((3, columns // 2), dtype)] * 2,
                          {"numSplits": 2})
    graph.outputs(*parts)
    assert_op_same(runtime, model.build(), oracle.random_inputs(model.build()))
