"""Sums and the like over rows that stand together, on the host: TFLite has the plain sum only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.registry import host

ROWS: dict[str, Callable[[Data], Data]] = {
    "SEGMENT_MEAN": lambda rows: rows.mean(0), "SEGMENT_MAX": lambda rows: rows.max(0),
    "SEGMENT_MIN": lambda rows: rows.min(0), "SEGMENT_PROD": lambda rows: rows.prod(0)}
CHOSEN: dict[str, Callable[[Data], Data]] = {
    "SPARSE_SEGMENT_SUM": lambda rows: rows.sum(0),
    "SPARSE_SEGMENT_MEAN": lambda rows: rows.mean(0),
    "SPARSE_SEGMENT_SQRT_N": lambda rows: rows.sum(0) / np.sqrt(len(rows))}


@host(*ROWS)
def of_rows(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """One row for each segment; zeros (ones of products) for a number that no row has.

    Shapes: x [N,..], numbers in order [N] -> [last number + 1,..].
    Raises: ValueError if the numbers are not in order.
    """
    x, numbers = arrays
    assert x is not None
    assert numbers is not None
    return [_joined(x, numbers, ROWS[node.op], int(node.op == "SEGMENT_PROD"))]


@host(*CHOSEN)
def of_chosen(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same of some rows: those of a table of embeddings.

    Shapes: x [N,..], which [K], numbers in order [K] -> [last number + 1,..].
    Raises: ValueError if the numbers are not in order, or a row is not there.
    """
    x, which, numbers = arrays
    assert x is not None
    assert which is not None
    assert numbers is not None
    if which.size and not 0 <= which.min() <= which.max() < len(x):
        raise ValueError(f"rows {which.min()} to {which.max()}; there are {len(x)}")
    return [_joined(x[which], numbers, CHOSEN[node.op])]


def _joined(rows: Data, numbers: Data, function: Callable[[Data], Data], empty: int = 0) -> Data:
    if numbers.shape != rows.shape[:1] or (np.diff(numbers) < 0).any() or (numbers < 0).any():
        raise ValueError(f"{len(rows)} rows need as many numbers of segments, in order")
    count = int(numbers[-1]) + 1 if numbers.size else 0
    made = np.full((count, *rows.shape[1:]), empty, rows.dtype)
    ends = np.searchsorted(numbers, np.arange(count + 1))
    for k in np.unique(numbers):
        made[k] = function(rows[ends[k]:ends[k + 1]])
    return made
