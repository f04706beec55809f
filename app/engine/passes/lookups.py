"""Functions of 8-bit integers as tables: a processor that gathers is done before it has one exp.

Behind a step that rounds to at most 256 whole numbers, steps that read nothing else are a function
of those: their results are computed here, once for all plans.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from app.engine.epilogue import LOOKUP, SIZE
from app.engine.ir import Data, Fused, Graph, Tensor

# Steps that give whole numbers from lo to hi.
ROUNDING = {"REQUANT", "REQUANT_CHANNELS", "ADD_REQUANT", "MUL_REQUANT", "REQUANT_TWICE",
            "LEAKY_REQUANT"}
# What a table is worth it for.
COSTLY = {"LOGISTIC", "TANH", "GELU", "ELU", "EXP", "HARD_SWISH", "LOG", "RSQRT", "SIN", "COS"}
NUMBERS = ("s", "t", "lo", "hi", "alpha", "approximate")
Step = tuple[str, bool, bool, tuple[tuple[str, Any], ...]]


def with_tables(graph: Graph) -> Graph:
    """Put tables in the place of costly functions of small integers in all epilogues."""
    return replace(graph, nodes=tuple(
        replace(n, epilogue=_shortened(n.op, n.options, n.epilogue)) if n.epilogue else n
        for n in graph.nodes))


def _shortened(op: str, options: Mapping[str, Any],
               steps: Sequence[Fused]) -> tuple[Fused, ...]:
    made: list[Fused] = []
    before, position = Fused(op, options=options), 0
    while position < len(steps):
        end = _end(steps, position) if _rounds(before) else position
        if end > position:
            low = float(before.options["lo"])
            run = tuple(map(_described, steps[position:end]))
            before = Fused(LOOKUP, _table(run, low, float(before.options["hi"])),
                           options={"lo": low})
        else:
            before, end = steps[position], position + 1
        made.append(before)
        position = end
    return tuple(made)


def _rounds(step: Fused) -> bool:
    return step.kind in ROUNDING and step.options["hi"] - step.options["lo"] < SIZE


def _end(steps: Sequence[Fused], start: int) -> int:
    """Where the longest run from start that one table can replace ends; start if none can."""
    depth, costly, found = 0, False, start
    for position, step in enumerate(steps[start:], start):
        depth += (step.kind == "OPEN") - (step.kind == "CLOSE")
        if step.operand is not None or depth < 0 or step.kind not in FUNCTIONS:
            break
        costly |= step.kind in COSTLY
        if depth == 0 and costly:
            found = position + 1
    return found


def _described(step: Fused) -> Step:
    numbers = tuple((n, step.options[n]) for n in NUMBERS if n in step.options)
    return step.kind, step.swapped, step.kept, numbers


@lru_cache(maxsize=4096)
def _table(steps: tuple[Step, ...], low: float, high: float) -> Tensor:
    """The results of steps for the whole numbers from low to high, the last one repeated.

    Shapes: [SIZE] float32.
    """
    v = np.minimum(np.arange(low, low + SIZE), high).astype(np.float32)
    kept = v
    with np.errstate(all="ignore"):
        for kind, swapped, is_kept, numbers in steps:
            if kind == "OPEN":
                kept = v
            elif kind != "CLOSE":
                given = dict(numbers)
                other = kept if is_kept else None
                v = np.asarray(FUNCTIONS[kind](v, other, swapped, given), np.float32)
    return Tensor("table", (SIZE,), "float32", v)


def _whole(v: Data, given: Mapping[str, Any]) -> Data:
    clipped: Data = np.rint(np.clip(v, np.float32(given["lo"]), np.float32(given["hi"])))
    return clipped


def _gelu(v: Data, given: Mapping[str, Any]) -> Data:
    x = v.astype(np.float64)
    if given.get("approximate"):
        inner: Data = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))
    else:
        inner = np.vectorize(math.erf)(x / math.sqrt(2))
    made: Data = 0.5 * x * (1 + inner)
    return made


def _sum(v: Data, other: Data, swapped: bool, given: Mapping[str, Any]) -> Data:
    first, second = (other, v) if swapped else (v, other)
    return _whole((first + second * np.float32(given["t"])) * np.float32(given["s"]), given)


def _plain(function: Callable[[Data], Data]) -> Callable[..., Data]:
    return lambda v, _, __, ___: function(v.astype(np.float64))


# By kind: the value, what the last OPEN kept, whether that is the left operand, numbers.
FUNCTIONS: dict[str, Callable[..., Data]] = {
    "OPEN": lambda v, *_: v,
    "CLOSE": lambda v, *_: v,
    "SCALE": lambda v, _, __, given: v * np.float32(given["s"]),
    "REQUANT": lambda v, _, __, given: _whole(v * np.float32(given["s"]), given),
    "MUL": lambda v, other, *_: v * other,
    "MUL_REQUANT": lambda v, other, _, given: _whole(v * other * np.float32(given["s"]), given),
    "ADD_REQUANT": _sum,
    "GELU": lambda v, _, __, given: _gelu(v, given),
    "ELU": lambda v, *_: np.where(v < 0, np.expm1(v.astype(np.float64)), v),
    "HARD_SWISH": lambda v, *_: v * np.clip(v + 3, 0, 6) / 6,
    "LOGISTIC": _plain(lambda x: 1 / (1 + np.exp(-x))),
    "TANH": _plain(np.tanh),
    "EXP": _plain(np.exp),
    "LOG": _plain(np.log),
    "RSQRT": _plain(lambda x: 1 / np.sqrt(x)),
    "SIN": _plain(np.sin),
    "COS": _plain(np.cos),
    "RELU": _plain(lambda x: np.maximum(x, 0)),
    "RELU6": _plain(lambda x: np.clip(x, 0, 6)),
}
