"""What an example of an operation consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import GraphBuilder, ModelBuilder, Spec, Value

STEP = Quantization((0.05,), (0,))
QUANTISED = ("int8", "uint8", "int16")
# Stands for the type that an operation is tried with.
DATA = "data"


@dataclass(frozen=True)
class State:
    """A tensor that the operation keeps from one invocation to the next."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A model of one operation, small and ordinary.

    inputs: a Spec is an input, an array a constant, None an input left out.
    values: what to feed, where random numbers make no sense.
    dtype: the type in the place of "data" that the operation is checked with.
    drawn: TFLite's answer is another each time (random numbers, or memory that it did not write):
           only the shapes can be compared.
    """

    inputs: tuple[Any, ...]
    outputs: tuple[Spec, ...]
    options: Mapping[str, Any] | None = None
    values: tuple[Any, ...] | None = None
    dtype: str = "float32"
    drawn: bool = False

    def blob(self, op: str, dtype: str = "") -> bytes:
        """The model with a type in the place of "data"."""
        model = ModelBuilder()
        graph = model.graph()
        values = [self._value(graph, given, dtype or self.dtype) for given in self.inputs]
        outputs = [_typed(spec, dtype or self.dtype) for spec in self.outputs]
        graph.outputs(*graph.op(op, values, outputs, self.options))
        return model.build()

    def feed(self, blob: bytes) -> list[oracle.Array]:
        """Inputs for it."""
        if self.values is not None:
            return [np.asarray(v) for v in self.values]
        return oracle.random_inputs(blob, low=0.1, high=2.0)

    @property
    def typed(self) -> bool:
        """Whether it can be tried with several types."""
        return any(isinstance(i, Spec) and i.dtype == DATA for i in self.inputs)

    def _value(self, graph: GraphBuilder, given: Any, dtype: str) -> Value | None:
        if given is None:
            return None
        if isinstance(given, State):
            return graph.variable(Spec(given.shape))
        if isinstance(given, Spec):
            spec = _typed(given, dtype)
            return graph.input(spec.shape, spec.dtype, spec.quant)
        if dtype in QUANTISED and self.typed and given.dtype == np.float32:
            return graph.const(*quantised(given, dtype))
        return graph.const(given.astype(dtype) if self.typed and given.dtype == np.float32
                           and dtype in ("int32", "int64", "bool") else given)


def quantised(array: oracle.Array, dtype: str) -> tuple[oracle.Array, Quantization]:
    """Weights as int8 (uint8 for uint8 data), a bias as int32 in steps of the sums."""
    if array.ndim == 1:
        step = STEP.scales[0] ** 2
        return np.rint(array / step).astype("i8" if dtype == "int16" else "i4"), Quantization(
            (step,), (0,))
    kind = dtype if array.ndim == 0 or dtype == "uint8" else "int8"
    return np.abs(np.rint(array / STEP.scales[0])).astype(kind), STEP


def _typed(spec: Spec, dtype: str) -> Spec:
    if spec.dtype != DATA:
        return spec
    return Spec(spec.shape, dtype, STEP if dtype in QUANTISED else None)


def data(*shape: int) -> Spec:
    """A value of the type that is tried."""
    return Spec(shape, DATA)


def of(dtype: str, *shape: int) -> Spec:
    """A value of a fixed type."""
    return Spec(shape, dtype)


def f4(*shape: int, seed: int = 7) -> oracle.Array:
    """Constant floats."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("f4")


def i4(*values: Any) -> oracle.Array:
    """Constant integers."""
    return np.array(values, "i4")
