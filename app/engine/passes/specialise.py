"""Fix every shape of a graph for given input shapes, and fold what is constant by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.engine.ir import Graph, Node, Tensor
from app.engine.passes.facts import folded
from app.engine.passes.stages import drop_dead, first_stage, substitute
from app.errors import UnsupportedOp

Shape = tuple[int, ...]
__all__ = ["drop_dead", "fold", "specialise", "substitute"]


def fold(graph: Graph) -> Graph:
    """Evaluate every node whose inputs are all constants, once for all shapes.

    Raises: InvalidModel if a constant contradicts its own description.
    """
    known: dict[Tensor, Tensor] = {}
    nodes = []
    for raw in graph.nodes:
        node = substitute(raw, known)
        constants = None if _rank_open(node) else folded(graph, node)
        if constants is None:
            nodes.append(node)
        else:
            known.update(zip(raw.outputs, constants, strict=True))
    outputs = tuple(known.get(t, t) for t in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=outputs)


def _rank_open(node: Node) -> bool:
    """Whether it asks for a shape that the file may leave open: it writes no rank as none."""
    return (node.op in ("SHAPE", "RANK") and not node.input(0).shape
            and node.input(0).data is None)


def specialise(graph: Graph, shapes: Sequence[Shape]) -> Graph:
    """Give every tensor its concrete shape and drop the nodes nobody needs.

    Shapes: one per graph input, without -1.
    Raises: InvalidInput if the shapes do not fit; UnsupportedOp if a shape depends on data.
    """
    stage = first_stage(graph, shapes, {})
    if stage.rest is not None:
        names = [n.op for n in stage.rest.nodes] or ["an output"]
        raise UnsupportedOp(f"the shape of {names[0]}'s result depends on data")
    return stage.graph
