"""What a model is tried on at load: numbers, and extents where its file leaves them open."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.engine.ir import Data, Graph, Tensor

Shape = tuple[int, ...]
# Extents to try where 1 is too little for the model.
TRIALS = (1, 16, 256, 4096, 16384, 65536)


def nothing(tensor: Tensor, shape: Shape) -> Data:
    """Zeros, or strings without a letter."""
    if tensor.dtype == "bytes":
        return np.full(shape, b"", "O")
    return np.zeros(shape, tensor.dtype)


def drawn(rng: np.random.Generator, shape: Shape, dtype: str) -> Data:
    """Draw what any model takes: wide integers may be positions, so they stay at 0 and 1."""
    if dtype in ("bytes", "object"):
        return np.full(shape, b"", "O")
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.uniform(0, 1, shape).astype(kind)
    most = 2 if kind.itemsize > 1 or kind.kind == "b" else int(np.iinfo(kind).max)
    return rng.integers(0, most, shape).astype(kind)


def default_shapes(graph: Graph) -> list[Shape]:
    """The file's input shapes with 1 for every dimension it leaves open."""
    return [tuple(1 if e < 0 else e for e in t.shape) for t in graph.inputs]


def trial_shapes(graph: Graph) -> Iterator[list[Shape]]:
    """The file's input shapes with growing extents for what it leaves open; a batch stays 1."""
    free = any(e < 0 for t in graph.inputs for e in t.shape)
    for extent in TRIALS if free else (1,):
        yield [tuple((1 if i == 0 and len(t.shape) > 1 else extent) if e < 0 else e
                     for i, e in enumerate(t.shape)) for t in graph.inputs]
