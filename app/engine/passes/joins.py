"""Concatenations of concatenations as one: each would copy again what those before it copied."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from app.engine.ir import Graph, Node, Tensor


def join(graph: Graph) -> Graph:
    """Let a concatenation read the parts of those that it alone reads, along the same axis.

    What is not read any more stays for drop_dead.
    """
    readers = Counter(t for node in graph.nodes for t in node.reads)
    readers.update(graph.outputs)
    made: dict[Tensor, Node] = {}
    nodes = []
    for node in graph.nodes:
        if _plain(node):
            node = replace(node, inputs=tuple(
                part for t in node.inputs for part in _parts(t, node, made, readers)))
            made[node.outputs[0]] = node
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _plain(node: Node) -> bool:
    return (node.op == "CONCATENATION" and not node.epilogue and None not in node.inputs
            and node.options.get("fused_activation_function", "NONE") == "NONE")


def _parts(x: Tensor | None, outer: Node, made: dict[Tensor, Node],
           readers: Counter[Tensor]) -> tuple[Tensor | None, ...]:
    inner = made.get(x) if x is not None else None
    y = outer.outputs[0]
    if (inner is None or x is None or readers[x] != 1 or _axis(inner) != _axis(outer)
            or (x.dtype, x.quant) != (y.dtype, y.quant)):
        return (x,)
    return inner.inputs


def _axis(node: Node) -> int:
    return int(node.options["axis"]) % max(len(node.outputs[0].shape), 1)
