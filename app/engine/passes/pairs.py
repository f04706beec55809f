"""Depthwise convolutions and the 1x1 convolution behind them as one node, for GPUs."""

from __future__ import annotations

from dataclasses import replace

from app.engine.epilogue import relation
from app.engine.ir import Fused, Graph, Node, Tensor

PAIR = "DEPTHWISE_POINTWISE"


def pair(graph: Graph) -> Graph:
    """Join each depthwise convolution with the 1x1 convolution that alone reads it.

    The op's rule decides whether one kernel pays or two do. The node's inputs are those of the
    depthwise convolution, then the weights and the bias of the other one.
    """
    readers: dict[Tensor, int] = {}
    for tensor in (*(t for n in graph.nodes for t in n.reads), *graph.outputs):
        readers[tensor] = readers.get(tensor, 0) + 1
    windows: dict[Tensor, Node] = {}
    joined: dict[Node, Node] = {}
    for node in graph.nodes:
        first = windows.get(node.inputs[0]) if node.op == "CONV_2D" and node.inputs[0] else None
        if first is not None and readers[first.outputs[0]] == 1 and _pointwise(node):
            joined[node] = first
        if node.op == "DEPTHWISE_CONV_2D" and _plain(node):
            windows[node.outputs[0]] = node
    gone = set(joined.values())
    return replace(graph, nodes=tuple(_joined(joined[n], n) if n in joined else n
                                      for n in graph.nodes if n not in gone))


def _joined(first: Node, second: Node) -> Node:
    inputs = (first.input(0), first.input(1), first.optional(2), second.input(1),
              second.optional(2))
    return replace(second, op=PAIR, inputs=inputs,
                   options={"depthwise": first, "pointwise": second})


def _plain(node: Node) -> bool:
    x, w, y = node.input(0), node.input(1), node.outputs[0]
    return (x.dtype == y.dtype == "float32" and w.data is not None
            and x.shape[3] == w.shape[3] and x.shape[3] % 4 == 0
            and all(constant_step(step, y) for step in node.epilogue))


def constant_step(step: Fused, y: Tensor) -> bool:
    """Whether a step's operand is in the file, one number or one for each channel."""
    return step.operand is None or (step.operand.data is not None
                                    and relation(step.operand, y) in ("scalar", "channel"))


def _pointwise(node: Node) -> bool:
    x, w = node.input(0), node.input(1)
    return (w.data is not None and w.shape[1:] == (1, 1, x.shape[3]) and w.shape[0] >= 4
            and int(node.options["stride_h"]) == int(node.options["stride_w"]) == 1
            and "pads" not in node.options)
