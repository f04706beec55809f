"""Hash tables of one request: filled by a graph that CALL_ONCE names, then looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.control import named
from app.engine.registry import RunContext, Shape, shape, stateful
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
