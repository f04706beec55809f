"""Kernels write into concatenations by channels where nobody else reads what they make."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from app.engine.ir import Launch
from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import GraphBuilder, ModelBuilder, Spec, Value

SAME = {"padding": "SAME", "strideH": 1, "strideW": 1, "fusedActivationFunction": "RELU"}
SIZE = (2, 8, 10)
Build = Callable[[GraphBuilder, Value], list[Value]]


def conv(graph: GraphBuilder, x: Value, outputs: int, kernel: int = 1, seed: int = 0) -> Value:
    """A convolution of one stride with a bias and RELU."""
    rng = np.random.default_rng(seed)
    w = rng.uniform(-1, 1, (outputs, kernel, kernel, x.spec.shape[3])).astype("f4")
    bias = rng.uniform(-1, 1, outputs).astype("f4")
    return graph.op("CONV_2D", [x, graph.const(w), graph.const(bias)],
                    [Spec((*SIZE, outputs))], SAME)[0]


def joined(graph: GraphBuilder, *parts: Value) -> Value:
    """A concatenation by channels."""
    channels = sum(p.spec.shape[3] for p in parts)
    return graph.op("CONCATENATION", parts, [Spec((*SIZE, channels))],
                    {"axis": 3, "fusedActivationFunction": "NONE"})[0]


def fire(graph: GraphBuilder, x: Value) -> list[Value]:
    return [joined(graph, conv(graph, x, 5, 1, 1), conv(graph, x, 19, 3, 2), conv(graph, x, 8))]


def read_twice(graph: GraphBuilder, x: Value) -> list[Value]:
    a, b = conv(graph, x, 6, 1, 1), conv(graph, x, 7, 3, 2)
    return [joined(graph, a, b), conv(graph, a, 3, 1, 3)]


def also_an_output(graph: GraphBuilder, x: Value) -> list[Value]:
    a = conv(graph, x, 6, 1, 1)
    return [a, joined(graph, a, conv(graph, x, 7, 3, 2))]


def twice_the_same(graph: GraphBuilder, x: Value) -> list[Value]:
    a = conv(graph, x, 6, 1, 1)
    return [joined(graph, a, a, conv(graph, x, 7, 3, 2))]


def nested(graph: GraphBuilder, x: Value) -> list[Value]:
    inner = joined(graph, conv(graph, x, 6, 1, 1), conv(graph, x, 7, 3, 2))
    outer = joined(graph, inner, conv(graph, inner, 9, 1, 3))
    return [conv(graph, outer, 4, 1, 4)]


def by_tiles(graph: GraphBuilder, x: Value) -> list[Value]:
    return [joined(graph, conv(graph, x, 40, 3, 1), conv(graph, x, 24, 3, 2))]


def of_the_input(graph: GraphBuilder, x: Value) -> list[Value]:
    return [joined(graph, x, conv(graph, x, 12, 3, 2))]


# Copies that are left, of two kinds of plans: a part that something else reads is copied.
CASES: dict[str, tuple[Build, int]] = {
    "fire": (fire, 0), "read twice": (read_twice, 1), "an output": (also_an_output, 1),
    "twice the same": (twice_the_same, 2), "nested": (nested, 1), "tiles": (by_tiles, 0),
    "input": (of_the_input, 1),
}


def check(runtime: Runtime, build: Build, channels: int) -> list[Launch]:
    """Compare with TFLite; give the launches, and those that a chain runs in their place."""
    model = ModelBuilder()
    graph = model.graph()
    graph.outputs(*build(graph, graph.input((*SIZE, channels))))
    blob = model.build()
    inputs = oracle.random_inputs(blob)
    loaded = LoadedModel(runtime, read(blob))
    try:
        for got, wanted in zip(loaded.run(inputs), oracle.run(blob, inputs), strict=True):
            oracle.assert_same(got, wanted)
        steps = loaded.prepare([a.shape for a in inputs]).plan.steps
    finally:
        loaded.close()
    return [part for s in steps if isinstance(s, Launch) for part in (s.parts or (s,))]


def copies(launches: list[Launch]) -> int:
    """How many tensors are copied."""
    return sum(int(launch.defines.get("COUNT", 1)) for launch in launches
               if launch.kernel in ("copy", "copies"))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("channels", [20])
def test_only_what_is_read_elsewhere_is_copied(runtime: Runtime, name: str, channels: int) -> None:
    build, left = CASES[name]
    assert copies(check(runtime, build, channels)) == left


@pytest.mark.parametrize("seed", range(2))
def test_nets_of_branches(runtime: Runtime, seed: int) -> None:
    random = Random(seed)

    def branches(graph: GraphBuilder, x: Value) -> list[Value]:
        there = [x]
        for step in range(6):
            parts = [random.choice(there[-3:]) for _ in range(random.randint(1, 3))]
            made = [conv(graph, p, random.choice([1, 4, 9, 16, 20]), random.choice([1, 1, 3]),
                         100 * seed + 10 * step + i) for i, p in enumerate(parts)]
            there.append(made[0] if len(made) == 1 else joined(graph, *made))
            there.extend(made[:random.randint(0, 1)])
        return [joined(graph, *there[-2:])]

    check(runtime, branches, random.choice([3, 8, 17]))
