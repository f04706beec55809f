"""Take branches and loops out of a graph where constants already decide them.

A recurrent layer is a WHILE over a constant number of steps: unrolled, it runs on the device
without coming back to the host between the steps, and every fusion sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.engine.blame import blamed, sound
from app.engine.ir import Graph, Node, Tensor
from app.engine.passes import flex
from app.engine.passes.bodies import spelled
from app.engine.passes.branches import both, called
from app.engine.passes.lists import stacked
from app.engine.passes.specialise import fold, substitute
from app.engine.passes.stablehlo import translated
from app.engine.passes.tables import constant_tables

# A group of operations under one name, which its own subgraph spells out.
COMPOSITE = "STABLEHLO_COMPOSITE"
DECIDED = ("IF", "WHILE", COMPOSITE)
MAX_TURNS = 1024
MAX_NODES = 20_000


@sound("the model")
def settle(graphs: Sequence[Graph]) -> list[Graph]:
    """Fold all graphs of a model, decide what can be decided, give branches their constants.

    The graphs keep their numbers; graphs made for one branch are added behind them.
    """
    known = [fold(graph) for graph in graphs]
    for index in range(len(graphs)):
        known[index] = stacked(_settled(known[index], known))
    return constant_tables(known)


def decided(graph: Graph) -> Graph:
    """A graph of a settled model anew, where more is constant by now."""
    last = max(graph.siblings, default=-1)
    known = [graph.siblings.get(i, Graph("", (), (), ())) for i in range(last + 1)]
    return stacked(_settled(graph, known))


def _settled(graph: Graph, known: list[Graph]) -> Graph:
    values: dict[Tensor, Tensor] = {}
    nodes: list[Node] = []
    for raw in graph.nodes:
        node = substitute(raw, values)
        with blamed(node):
            taken = _taken(node, known) if node.op in DECIDED else _renamed(node, known)
            if taken is None and node.op == "IF":
                taken = both(node, known)
            if taken is None:
                nodes.append(_bound(node, known) if node.op == "IF" else node)
                continue
        nodes += taken.nodes
        values.update(zip(raw.outputs, taken.outputs, strict=True))
    outputs = tuple(values.get(t, t) for t in graph.outputs)
    if not values:
        return replace(graph, nodes=tuple(nodes))
    return fold(replace(graph, nodes=tuple(nodes), outputs=outputs))


def _renamed(node: Node, known: Sequence[Graph]) -> Graph | None:
    """What an operation is in other words; its nodes stand in its place in the file."""
    made = spelled(node, known) or translated(node) or flex.plain(node)
    return None if made is None else replace(made, nodes=tuple(
        replace(n, index=node.index, graph=node.graph) for n in made.nodes))


def _taken(node: Node, known: Sequence[Graph]) -> Graph | None:
    """What a decided branch or loop comes to; None if values must decide."""
    if node.op == "WHILE":
        return _unrolled(node, known)
    if node.op == COMPOSITE:
        whole = _settled(known[int(node.options["decomposition_subgraph_index"])], list(known))
        return called(whole, node.inputs)
    condition = node.input(0).data
    if condition is None:
        return None
    chosen = "then_subgraph_index" if condition.reshape(-1)[0] else "else_subgraph_index"
    return called(known[int(node.options[chosen])], node.inputs[1:])


def _unrolled(node: Node, known: Sequence[Graph]) -> Graph | None:
    condition = known[int(node.options["cond_subgraph_index"])]
    body = known[int(node.options["body_subgraph_index"])]
    state: Sequence[Tensor | None] = node.inputs
    nodes: list[Node] = []
    for _ in range(MAX_TURNS):
        (more,) = fold(called(condition, state)).outputs
        if more.data is None or len(nodes) > MAX_NODES:
            return None
        if not more.data.reshape(-1)[0]:
            return Graph(node.op, tuple(nodes), (), tuple(t for t in state if t is not None))
        turn = fold(called(body, state))
        nodes += turn.nodes
        state = turn.outputs
    return None


def _bound(node: Node, known: list[Graph]) -> Node:
    """An IF whose branches hold their constants themselves, so that none travels at run time."""
    given = node.inputs[1:]
    if all(t is None or t.data is None for t in given):
        return node
    options = dict(node.options)
    for key in ("then_subgraph_index", "else_subgraph_index"):
        graph = known[int(node.options[key])]
        constants = {own: t for own, t in zip(graph.inputs, given, strict=True)
                     if t is not None and t.data is not None}
        inputs = tuple(t for t in graph.inputs if t not in constants)
        nodes = tuple(substitute(n, constants) for n in graph.nodes)
        outputs = tuple(constants.get(t, t) for t in graph.outputs)
        known.append(fold(replace(graph, nodes=nodes, inputs=inputs, outputs=outputs)))
        options[key] = len(known) - 1
    left = tuple(t for t in given if t is None or t.data is None)
    return replace(node, inputs=(node.inputs[0], *left), options=options)
