"""Values that are multiplied with a function of themselves (SiLU, hard swish, Mish): one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from app.engine.epilogue import BINARY, GATE, STEPS
from app.engine.ir import Fused, Graph, Node, Tensor

# Tells the steps that a node stands for, if one of its inputs, by position, is the value.
Steps = Callable[[Node, int, Tensor], "tuple[Fused, ...] | None"]


def gate(graph: Graph, steps_of: Steps, longest: int) -> Graph:
    """Make one node of f(x) and x * f(x) where nobody else reads either, so that whatever makes x
    can take it on: with two readers x would have to be stored for it.

    longest is how many steps it may have.
    """
    readers: dict[Tensor, int] = {}
    for tensor in (*(t for n in graph.nodes for t in n.reads), *graph.outputs):
        readers[tensor] = readers.get(tensor, 0) + 1
    makers = {t: n for n in graph.nodes for t in n.outputs}
    gone: set[Node] = set()
    nodes: list[Node] = []
    for node in graph.nodes:
        found = _gated(node, makers, readers, steps_of)
        if found is None or len(found[1]) > longest:
            nodes.append(node)
            continue
        x, steps, parts = found
        gone.update(parts)
        readers[x] = 1
        operands = (s.operand for s in steps if s.operand is not None)
        made = replace(node, op=GATE, inputs=(x, *operands), options={"steps": steps})
        nodes.append(made)
        makers[node.outputs[0]] = made
    return replace(graph, nodes=tuple(n for n in nodes if n not in gone))


def _gated(node: Node, makers: dict[Tensor, Node], readers: dict[Tensor, int],
           steps_of: Steps) -> tuple[Tensor, tuple[Fused, ...], list[Node]] | None:
    if node.op not in BINARY or node.op == "PRELU" or len(node.inputs) != 2:
        return None
    for side in (0, 1):
        x, t = node.input(1 - side), node.input(side)
        if x is t or x not in makers or readers[x] != 2:
            continue
        chain, steps = _chain(t, x, makers, readers, steps_of)
        last = steps_of(node, side, t) if chain else None
        if last is None or last[0].operand is not x:
            continue
        closing = (replace(last[0], operand=None, kept=True), Fused("CLOSE"), *last[1:])
        return x, (Fused("OPEN"), *steps, *closing), chain
    return None


def _chain(t: Tensor, x: Tensor, makers: dict[Tensor, Node], readers: dict[Tensor, int],
           steps_of: Steps) -> tuple[list[Node], tuple[Fused, ...]]:
    """The nodes that make t of x alone, and their steps; none if there is more to it."""
    chain: list[Node] = []
    steps: tuple[Fused, ...] = ()
    while t is not x:
        node = makers.get(t)
        if node is None or readers[t] != 1 or node.op not in (*STEPS, GATE):
            return [], ()
        # What else it reads is known before x is: a constant.
        side = next((i for i, a in enumerate(node.inputs) if a is not None and a.data is None), 0)
        own = steps_of(node, side, node.input(side))
        if own is None or any(s.operand is not None and s.operand.data is None for s in own):
            return [], ()
        chain.append(node)
        steps = (*own, *steps)
        t = node.input(side)
    return chain, steps
