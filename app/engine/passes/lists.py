"""Lists of tensors, which TensorFlow's loops fill ("Flex"), become plain tensors.

Keras writes a recurrent layer whose batch is free as a loop that sets one item of a list each
turn. Once the loop is unrolled the number of every item is known, and the stacked list is a PACK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.engine.ir import Graph, Node, Tensor

RESERVE = "CUSTOM:FlexTensorListReserve"
SET = "CUSTOM:FlexTensorListSetItem"
STACK = "CUSTOM:FlexTensorListStack"
NAMES = (RESERVE, SET, STACK)


def stacked(graph: Graph) -> Graph:
    """Replace each list all of whose items are known by a PACK of them; keep the others."""
    makers = {t: n for n in graph.nodes if n.op in NAMES for t in n.outputs}
    if not makers:
        return graph
    nodes: list[Node] = []
    for node in graph.nodes:
        items = _items(node.input(0), makers) if node.op == STACK else None
        if items is not None:
            node = Node("PACK", items, node.outputs, {"axis": 0, "values_count": len(items)},
                        graph=node.graph)
        nodes.append(node)
    return replace(graph, nodes=_needed(nodes, graph.outputs))


def _items(tensor: Tensor, makers: Mapping[Tensor, Node]) -> tuple[Tensor, ...] | None:
    found: dict[int, Tensor] = {}
    while (maker := makers.get(tensor)) is not None:
        number = maker.input(1).data
        if number is None or maker.op == STACK:
            return None
        value = int(number.reshape(-1)[0])
        if maker.op == RESERVE:
            known = value > 0 and set(range(value)) == found.keys()
            return tuple(found[i] for i in range(value)) if known else None
        # The last turn that set an item is met first.
        found.setdefault(value, maker.input(2))
        tensor = maker.input(0)
    return None


def _needed(nodes: list[Node], outputs: tuple[Tensor, ...]) -> tuple[Node, ...]:
    read = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if node.op not in NAMES or read.intersection(node.outputs):
            kept.append(node)
            read.update(node.reads)
    return tuple(reversed(kept))
