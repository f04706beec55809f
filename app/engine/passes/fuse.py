"""Move elementwise nodes into the epilogue of what feeds them, and padding into windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.engine.epilogue import BINARY, GATE, ORDERED, STEPS, relation
from app.engine.ir import Fused, Graph, Node, Tensor
from app.engine.passes.gates import gate
from app.engine.passes.simplify import simplify

# Ops whose kernels call EPILOGUE.
HEADS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "AVERAGE_POOL_2D",
         "L2_POOL_2D", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD",
         "TRANSPOSE_CONV", "CUSTOM:Convolution2DTransposeBias", "RESIZE_BILINEAR", "BATCH_MATMUL",
         "LAYER_NORM"}
WINDOWS = {"CONV_2D", "DEPTHWISE_CONV_2D"}
MAX_STEPS = 8


def fuse(graph: Graph) -> Graph:
    """All fusions, in the order in which they open the way for each other."""
    plain = fuse_channel_padding(fuse_padding(simplify(graph)))
    return fuse_epilogues(gate(plain, _steps, MAX_STEPS))


def fuse_epilogues(graph: Graph) -> Graph:
    """Append each elementwise node to the producer of its input where nobody else reads that."""
    readers = _readers(graph)
    nodes: list[Node] = []
    producer: dict[Tensor, int] = {}
    for node in graph.nodes:
        joined = _joined(node, nodes, producer, readers)
        if joined is None:
            nodes.append(node)
            producer.update({t: len(nodes) - 1 for t in node.outputs})
        else:
            at, merged = joined
            # Later than its old place: an operand may have been computed in between.
            nodes[at] = REMOVED
            nodes.append(merged)
            producer[merged.outputs[0]] = len(nodes) - 1
    return replace(graph, nodes=tuple(n for n in nodes if n is not REMOVED))


REMOVED = Node("REMOVED", (), ())


def _readers(graph: Graph) -> dict[Tensor, int]:
    count: dict[Tensor, int] = {}
    for node in graph.nodes:
        for tensor in node.reads:
            count[tensor] = count.get(tensor, 0) + 1
    for tensor in graph.outputs:
        count[tensor] = count.get(tensor, 0) + 1
    return count


def _joined(node: Node, nodes: list[Node], producer: dict[Tensor, int],
            readers: dict[Tensor, int]) -> tuple[int, Node] | None:
    if (node.op not in STEPS and node.op != GATE) or node.outputs[0].dtype != "float32":
        return None
    # The later producer first: its result is the freshest in the cache.
    sides = [s for s in ((0,) if node.op == GATE else (0, 1))
             if s < len(node.inputs) and node.inputs[s] in producer]
    for side in sorted(sides, key=lambda s: -producer[node.input(s)]):
        x = node.input(side)
        at = producer[x]
        head = nodes[at]
        if (head.op not in HEADS and head.op not in (*STEPS, GATE)) or readers[x] != 1:
            continue
        steps = _steps(node, side, x)
        if steps is None or len(head.epilogue) + len(steps) > MAX_STEPS:
            continue
        if head.op in STEPS and head.outputs[0].dtype != "float32":
            continue
        return at, replace(head, epilogue=(*head.epilogue, *steps), outputs=node.outputs)
    return None


def _steps(node: Node, side: int, x: Tensor) -> tuple[Fused, ...] | None:
    y = node.outputs[0]
    if x.shape != y.shape or x.dtype != "float32":
        return None
    if node.op == GATE:
        steps: tuple[Fused, ...] = node.options["steps"]
        return steps
    own = str(node.options.get("fused_activation_function", "NONE"))
    after = () if own == "NONE" else (Fused(own),)
    if own not in ("NONE", *STEPS):
        return None
    if node.op not in BINARY:
        return (Fused(node.op, options=node.options), *after)
    operand = node.input(1 - side)
    if (node.op == "PRELU" and side == 1) or operand.dtype != "float32":
        return None
    if relation(operand, y) is None or operand is x:
        return None
    return (Fused(node.op, operand, side == 1 and node.op in ORDERED, node.options), *after)


def fuse_padding(graph: Graph) -> Graph:
    """Let a convolution read zeros beyond the border instead of a padded copy."""
    readers = _readers(graph)
    made = {n.outputs[0]: n for n in graph.nodes if n.op == "PAD"}
    nodes = []
    for node in graph.nodes:
        source = node.inputs[0] if node.inputs else None
        pad = made.get(source) if source is not None and node.op in WINDOWS else None
        amounts = None if pad is None else _spatial(pad)
        if pad is None or amounts is None or node.options.get("padding") != "VALID":
            nodes.append(node)
            continue
        options = {**node.options, "pads": amounts}
        nodes.append(replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), options=options))
        readers[pad.outputs[0]] -= 1
    return _without_dead(graph, nodes, readers)


def _without_dead(graph: Graph, nodes: list[Node], readers: dict[Tensor, int]) -> Graph:
    kept = (n for n in nodes if n.op != "PAD" or readers[n.outputs[0]])
    return replace(graph, nodes=tuple(kept))


def fuse_channel_padding(graph: Graph) -> Graph:
    """Let an addition read zeros beyond an operand's channels instead of a padded copy."""
    readers = _readers(graph)
    made = {n.outputs[0]: n for n in graph.nodes if n.op == "PAD" and _adds_channels(n)}
    nodes = []
    for node in graph.nodes:
        side = next((s for s in (0, 1) if node.op == "ADD" and node.inputs[s] in made), None)
        if side is None or node.input(1 - side).shape != node.outputs[0].shape:
            nodes.append(node)
            continue
        pad = made[node.input(side)]
        readers[pad.outputs[0]] -= 1
        nodes.append(replace(node, inputs=(node.inputs[1 - side], pad.inputs[0])))
    return _without_dead(graph, nodes, readers)


def _adds_channels(pad: Node) -> bool:
    x, data = pad.input(0), pad.input(1).data
    return (data is not None and x.dtype == "float32" and len(x.shape) > 1 and x.shape[-1] > 1
            and not np.any(data.reshape(-1, 2)[:-1]) and int(data.reshape(-1, 2)[-1][0]) == 0
            and int(data.reshape(-1, 2)[-1][1]) > 0)


def _spatial(pad: Node) -> tuple[tuple[int, int], tuple[int, int]] | None:
    data = pad.input(1).data
    if data is None or data.shape != (4, 2) or pad.input(0).dtype != "float32":
        return None
    if np.any(data < 0) or np.any(data[[0, 3]]):
        return None
    (top, bottom), (left, right) = (tuple(int(v) for v in row) for row in data[1:3])
    return (top, bottom), (left, right)
