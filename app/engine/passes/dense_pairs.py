"""Two dense layers on one row as one node, for GPUs: what squeeze-and-excite blocks are made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from app.engine.ir import Graph, Node, Tensor
from app.engine.passes.pairs import constant_step

DENSE_PAIR = "DENSE_PAIR"


def pair_dense(graph: Graph) -> Graph:
    """Join each dense layer of one row with the dense layer that alone reads it.

    The op's rule decides whether one kernel pays or two do. The node's inputs are those of the
    first layer, then the weights and the bias of the second one.
    """
    readers = Counter(t for node in graph.nodes for t in node.reads)
    readers.update(graph.outputs)
    firsts: dict[Tensor, Node] = {}
    gone: set[Node] = set()
    nodes = []
    for node in graph.nodes:
        first = firsts.pop(node.input(0), None) if _dense(node) else None
        if first is not None:
            gone.add(first)
            inputs = (first.input(0), first.input(1), first.optional(2), node.input(1),
                      node.optional(2))
            node = replace(node, op=DENSE_PAIR, inputs=inputs,
                           options={"first": first, "second": node})
        elif _dense(node) and readers[node.outputs[0]] == 1 and all(
                constant_step(step, node.outputs[0]) for step in node.epilogue):
            firsts[node.outputs[0]] = node
        nodes.append(node)
    return replace(graph, nodes=tuple(n for n in nodes if n not in gone))


def _dense(node: Node) -> bool:
    if node.op not in ("FULLY_CONNECTED", "CONV_2D"):
        return False
    x, w, y, bias = node.input(0), node.input(1), node.outputs[0], node.optional(2)
    point = node.op == "FULLY_CONNECTED" or (w.shape[1:3] == (1, 1) and "pads" not in node.options)
    return (point and w.data is not None and x.size == w.shape[-1] and y.size == w.shape[0]
            and x.size > 0 and y.size > 0 and x.dtype == y.dtype == "float32"
            and (bias is None or bias.data is not None))
