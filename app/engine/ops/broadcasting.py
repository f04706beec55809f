"""How operands of different shapes are stepped through together."""

from __future__ import annotations

from app.engine.registry import Shape

MAX_RANK = 6


def strides(shape_: Shape, rank: int) -> list[int]:
    """Element strides of a dense tensor stretched to rank dimensions; 0 where it repeats."""
    padded = (1,) * (rank - len(shape_)) + tuple(shape_)
    result, step = [0] * rank, 1
    for axis in reversed(range(rank)):
        result[axis] = 0 if padded[axis] == 1 else step
        step *= padded[axis]
    return result


def merge(out: Shape, *operands: Shape) -> tuple[list[int], ...]:
    """Drop dimensions of 1 and merge neighbours that all operands step through evenly."""
    rank = len(out)
    steps = [strides(o, rank) for o in operands]
    dims: list[int] = []
    kept: list[list[int]] = [[] for _ in operands]
    for axis in range(rank):
        if out[axis] == 1:
            continue
        here = [s[axis] for s in steps]
        if dims and all(k[-1] == h * out[axis] for k, h in zip(kept, here, strict=True)):
            dims[-1] *= out[axis]
            for k, h in zip(kept, here, strict=True):
                k[-1] = h
        else:
            dims.append(out[axis])
            for k, h in zip(kept, here, strict=True):
                k.append(h)
    return (dims or [1], *[k or [0] for k in kept])
