"""Hash tables of one request: filled by a graph that CALL_ONCE names, then looked up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
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
        entries.update(zip(_items(node, 1, values, run), _items(node, 2, values, run),
                           strict=True))
    return []


@stateful("HASHTABLE_FIND")
def find(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """The entry of every key, or the default.

    Shapes: keys of any shape -> the same.
    Source: TFLite kernels/hashtable_find.cc.
    """
    entries, y = run.tables[named(values[0])], node.outputs[0]
    (default,) = _items(node, 2, values, run)
    keys = _items(node, 1, values, run)
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


def _items(node: Node, position: int, values: Sequence[Value | None],
           run: RunContext) -> list[Any]:
    tensor = node.input(position)
    if tensor.dtype == "bytes" and tensor.data is not None:
        return strings(tensor.data)
    array = run.array(values[position]).reshape(-1)
    return [v.encode() if isinstance(v, str) else v for v in array.tolist()]


def strings(raw: Data) -> list[bytes]:
    """The strings of a constant: their number, where each begins and the last ends, their bytes.

    Source: TFLite string_util.h.
    """
    content = raw.tobytes()
    count = int.from_bytes(content[:4], "little")
    ends = np.frombuffer(content, "<i4", count + 1, 4)
    return [content[a:b] for a, b in pairwise(ends)]
