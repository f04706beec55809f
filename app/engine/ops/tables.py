"""Hash tables of one request: filled by a graph that CALL_ONCE names, then looked up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from app.engine.ir import Data, Node, Tensor
from app.engine.ops.control import named
from app.engine.passes.tables import LOOKUP
from app.engine.registry import RunContext, Shape, host, shape, stateful
from app.engine.values import Handle, Value


@stateful("HASHTABLE")
def table(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """Name a table; its number is its identity."""
    name = f"table {node.options.get('table_id')}"
    run.tables.setdefault(name, {})
    return [Handle(name, node.outputs[0].shape)]


@stateful("HASHTABLE_IMPORT")
def fill(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """Give an empty table its entries; a filled one stays as it is."""
    entries = run.tables[named(values[0])]
    if not entries:
        entries.update(zip(_items(values[1], run), _items(values[2], run), strict=True))
    return []


@stateful("HASHTABLE_FIND")
def find(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """The entry of every key, or the default.

    Shapes: keys of any shape -> the same.
    Source: TFLite kernels/hashtable_find.cc.
    """
    entries, y = run.tables[named(values[0])], node.outputs[0]
    (default,) = _items(values[2], run)
    keys = _items(values[1], run)
    made: Data = np.empty(len(keys), "O" if y.dtype == "bytes" else y.dtype)
    made[:] = [entries.get(key, default) for key in keys]
    given = values[1]
    return [made.reshape(node.input(1).shape if given is None else given.shape)]


@stateful("HASHTABLE_SIZE")
def size(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """The number of entries."""
    return [np.array([len(run.tables[named(values[0])])], np.int64)]


@shape(LOOKUP)
def looked_up_shape(node: Node) -> Sequence[Shape]:
    """One entry per key."""
    return [node.input(0).shape]


@host(LOOKUP)
def looked_up(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The entry of every key in a constant table, or the default.

    Shapes: keys of any shape, default [], the table's keys [N] and values [N] -> as keys.
    """
    keys, default = arrays[0], arrays[1]
    assert keys is not None
    assert default is not None
    entries, dtype = _entries(node.input(2), node.input(3)), node.outputs[0].dtype
    (other,) = default.reshape(-1).tolist()
    made: Data = np.empty(keys.size, "O" if dtype == "bytes" else dtype)
    made[:] = [entries.get(key, other) for key in keys.reshape(-1).tolist()]
    return [made.reshape(keys.shape)]


@lru_cache(16)
def _entries(keys: Tensor, values: Tensor) -> dict[Any, Any]:
    assert keys.data is not None
    assert values.data is not None
    found: dict[Any, Any] = {}
    for key, value in zip(keys.data.reshape(-1).tolist(), values.data.reshape(-1).tolist(),
                          strict=True):
        found.setdefault(key, value)
    return found


@shape("HASHTABLE_FIND")
def found(node: Node) -> Sequence[Shape]:
    """One entry per key."""
    return [node.input(1).shape]


@shape("HASHTABLE_SIZE")
def one(node: Node) -> Sequence[Shape]:
    """One number."""
    return [(1,)]


def _items(value: Value | None, run: RunContext) -> list[Any]:
    array = run.array(value).reshape(-1)
    return [v.encode() if isinstance(v, str) else v for v in array.tolist()]
