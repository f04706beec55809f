"""Tables whose entries are constants: a lookup in one needs no state, and no engine to keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from app.engine.ir import Graph, Tensor

TABLE, IMPORT, FIND, SIZE = ("HASHTABLE", "HASHTABLE_IMPORT", "HASHTABLE_FIND", "HASHTABLE_SIZE")
# A lookup in a constant table: keys, default, the table's keys and its values.
LOOKUP = "TABLE_LOOKUP"
Entries = tuple[Tensor, Tensor]


def constant_tables(graphs: Sequence[Graph]) -> list[Graph]:
    """The graphs without the tables that are filled once, from constants, before all else; the
    graphs as they are if there is another one."""
    entries: dict[str, Entries] = {}
    fillers = set[int]()
    for node in graphs[0].nodes:
        if node.op == "CALL_ONCE":
            number = int(node.options["init_subgraph_index"])
            found = _filled(graphs[number])
            if found is not None:
                fillers.add(number)
                entries = {**found, **entries}
    if not entries or not all(_understood(g, entries) for i, g in enumerate(graphs)
                              if i not in fillers):
        return list(graphs)
    return [g if i in fillers else _without(g, entries, fillers) for i, g in enumerate(graphs)]


def _filled(graph: Graph) -> dict[str, Entries] | None:
    """The entries that a graph gives to tables; None if it does anything else."""
    names = _names(graph)
    found: dict[str, Entries] = {}
    for node in graph.nodes:
        if node.op == IMPORT and node.input(0) in names:
            keys, values = node.input(1), node.input(2)
            if keys.data is None or values.data is None or keys.size != values.size:
                return None
            found.setdefault(names[node.input(0)], (keys, values))
        elif node.op != TABLE:
            return None
    return found


def _names(graph: Graph) -> dict[Tensor, str]:
    return {n.outputs[0]: str(n.options.get("table_id")) for n in graph.nodes if n.op == TABLE}


def _understood(graph: Graph, entries: Mapping[str, Entries]) -> bool:
    """Whether the graph only asks tables that are known."""
    names = _names(graph)
    return all(names.get(n.input(0)) in entries for n in graph.nodes if n.op in (FIND, SIZE)
               ) and not any(n.op == IMPORT for n in graph.nodes)


def _without(graph: Graph, entries: Mapping[str, Entries], fillers: set[int]) -> Graph:
    names = _names(graph)
    nodes = []
    sizes: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        if node.op == "CALL_ONCE" and int(node.options["init_subgraph_index"]) in fillers:
            continue
        if node.op == TABLE and node.outputs[0] not in graph.outputs:
            continue
        if node.op == SIZE:
            count = np.array([entries[names[node.input(0)]][0].size], np.int64)
            sizes[node.outputs[0]] = replace(node.outputs[0], shape=(1,), data=count)
            continue
        if node.op == FIND:
            inputs = (*node.inputs[1:3], *entries[names[node.input(0)]])
            nodes.append(replace(node, op=LOOKUP, inputs=inputs))
            continue
        nodes.append(node)
    if sizes:
        nodes = [replace(n, inputs=tuple(sizes.get(t, t) if t is not None else None
                                         for t in n.inputs)) for n in nodes]
    outputs = tuple(sizes.get(t, t) for t in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=outputs)
