"""What draws one graph of floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from random import Random

import numpy as np

from tests.engine.builder import GraphBuilder, Spec, Value

Shape = tuple[int, ...]
# No value has more numbers.
LARGEST = 3000
ACTIVATIONS = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass
class Maker:
    """Draws one graph; every choice comes from `random`, so that the same seed makes the same."""

    random: Random
    graph: GraphBuilder
    values: list[Value] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    whole_kernels: bool = False

    def constant(self, *shape: int, scale: float = 1.0) -> Value:
        """Random weights."""
        rng = np.random.default_rng(self.random.getrandbits(32))
        return self.graph.const((scale * rng.uniform(-1, 1, shape)).astype("f4"))

    def whole(self, *numbers: int) -> Value:
        """Integers of an op."""
        return self.graph.const(np.array(numbers, "i4"))

    def emit(self, name: str, inputs: Sequence[Value | None], *shapes: Shape,
             **options: object) -> None:
        """Add an op; its results may be read by those that follow."""
        if any(not 0 < prod(s) <= LARGEST for s in shapes):
            return
        self.read |= {v.index for v in inputs if v is not None}
        self.values += self.graph.op(name, inputs, [Spec(s) for s in shapes], options)

    def pick(self, *ranks: int) -> Value | None:
        """A value, often one of the last."""
        there = [v for v in self.values if not ranks or len(v.spec.shape) in ranks]
        if not there:
            return None
        return self.random.choice(there[-4:] if self.random.random() < 0.7 else there)

    def chance(self, share: float = 0.5) -> bool:
        """Whether something that happens in such a share of cases does."""
        return self.random.random() < share

    def activation(self) -> str:
        """A fused one."""
        return self.random.choice(ACTIVATIONS)

    def axis(self, shape: Shape) -> int:
        """An axis, sometimes counted from the end."""
        axis = self.random.randrange(len(shape))
        return axis - len(shape) if self.chance(0.3) else axis
