"""Run both sides of a small branch and choose: cheaper than asking the device which one to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.engine import registry
from app.engine.control_cost import LIGHT, work_of
from app.engine.ir import Graph, Node, Tensor
from app.engine.passes.specialise import fold, substitute

# Nodes of both sides together: each may cost a launch.
MAX_NODES = 64
TYPES = ("float32", "int32", "int64", "bool")


def called(graph: Graph, inputs: Sequence[Tensor | None]) -> Graph:
    """A copy of a graph on given inputs, with tensors of its own."""
    values = {own: given for own, given in zip(graph.inputs, inputs, strict=True)
              if given is not None}
    nodes = []
    for raw in graph.nodes:
        outputs = tuple(replace(t) for t in raw.outputs)
        nodes.append(replace(substitute(raw, values), outputs=outputs))
        values.update(zip(raw.outputs, outputs, strict=True))
    return replace(graph, nodes=tuple(nodes), inputs=(),
                   outputs=tuple(values.get(t, t) for t in graph.outputs))


def both(node: Node, known: Sequence[Graph]) -> Graph | None:
    """The two sides of an IF one after the other, and a choice between their results.

    None where a side has effects or results of open shape, does not run on the device, or is so
    much work that the way to the host and back costs less.
    """
    sides = [fold(called(known[int(node.options[f"{side}_subgraph_index"])], node.inputs[1:]))
             for side in ("then", "else")]
    nodes = [n for side in sides for n in side.nodes]
    if len(nodes) > MAX_NODES or not all(_harmless(n) for n in nodes):
        return None
    work = [work_of(n) for n in nodes]
    if sum(w or 0 for w in work) > LIGHT:
        return None
    pairs = list(zip(sides[0].outputs, sides[1].outputs, node.outputs, strict=True))
    if not all(_alike(*pair) for pair in pairs):
        return None
    chosen = []
    for then, other, result in pairs:
        made = replace(result, shape=then.shape)
        nodes.append(Node("SELECT_V2", (node.input(0), then, other), (made,), {},
                          index=node.index, graph=node.graph))
        chosen.append(made)
    return Graph(node.op, tuple(nodes), (), tuple(chosen))


def _harmless(node: Node) -> bool:
    # A side that is not taken may compute nonsense; on the device that never fails.
    on_device = node.op in registry.OPS or node.op in registry.VIEWS
    return on_device and node.op not in registry.STATEFUL


def _alike(then: Tensor, other: Tensor, result: Tensor) -> bool:
    return (then.shape == other.shape and -1 not in then.shape and then.dtype in TYPES
            and then.dtype == other.dtype == result.dtype
            and all(t.quant is None or not t.quant.scales for t in (then, other, result)))
