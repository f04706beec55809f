"""Loops over as many steps as an input is long, unrolled once that is known.

Keras writes a recurrent layer of any length as a loop that fills a list of TensorFlow's, which
nothing here keeps: it can run only when each item's place is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.engine.ir import Graph, Node, Tensor
from app.engine.passes import lists
from app.engine.passes.control import decided
from app.engine.passes.stages import first_stage, substitute

Shape = tuple[int, ...]
# Loops of one graph; two for each layer that runs both ways.
MOST = 64


def unrolled(graph: Graph, shapes: Sequence[Shape]) -> Graph:
    """The graph with the loops that fill lists unrolled for these shapes of its inputs, as far as
    those decide them.

    Raises: InvalidInput if the shapes do not fit; UnsupportedOp if a node is nowhere known.
    """
    for _ in range(MOST):
        at = next((i for i, n in enumerate(graph.nodes) if n.op == "WHILE"), None)
        listed = any(n.op == lists.RESERVE for n in graph.nodes)
        # A branch may refer to graphs that were made for it, which are not the file's.
        if at is None or not listed or any(n.op == "IF" for n in graph.nodes):
            return graph
        known = _known(graph, shapes, at)
        made = decided(replace(graph, nodes=tuple(substitute(n, known) for n in graph.nodes)))
        if any(n.index == graph.nodes[at].index and n.op == "WHILE" for n in made.nodes):
            return graph
        graph = made
    return graph


def _known(graph: Graph, shapes: Sequence[Shape], at: int) -> dict[Tensor, Tensor]:
    """What is constant of the numbers that the loop at a place, and lists before it, begin with."""
    before = graph.nodes[:at]
    wanted = dict.fromkeys(t for n in (*before, graph.nodes[at]) if _asks(n)
                           for t in n.reads if t.dtype in ("int32", "int64") and t.data is None)
    numbers = tuple(wanted)
    part = replace(graph, nodes=tuple(n for n in before if n.op != lists.RESERVE), outputs=numbers)
    found = first_stage(part, shapes, {}).graph.outputs
    if len(found) != len(numbers):
        return {}
    return {raw: own for raw, own in zip(numbers, found, strict=True) if own.data is not None}


def _asks(node: Node) -> bool:
    return node.op in ("WHILE", lists.RESERVE)
