"""The graph that several of a model's own batches run through at once.

Converters write the batch of 1 into constants: a detector reshapes its scores to [1, -1, 16], and
two pictures would become one of twice as many anchors. Where a constant means "all that there is",
it says so here. Whether the rows keep apart is seen in the answers (batches.Batcher), since sums
and transpositions may still mix them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from app.engine.ir import Graph, Node, Tensor, integers


def rebatched(graph: Graph) -> Graph:
    """The graph with the leading dimension left open wherever the file's constants allow it; the
    same answers for the file's own shapes. The graph itself if there is nothing to change."""
    nodes = tuple(_RULES[n.op](n) if n.op in _RULES else n for n in graph.nodes)
    if all(new is old for new, old in zip(nodes, graph.nodes, strict=True)):
        return graph
    return replace(graph, nodes=nodes)


def _reshape(node: Node) -> Node:
    """Leave the first extent to the number of elements: rows stay in their order."""
    rest = node.outputs[0].shape[1:]
    wanted = node.optional(1)
    if wanted is not None and wanted.data is None:
        return node
    if not node.outputs[0].shape or not all(extent > 0 for extent in rest):
        return node
    options = {k: v for k, v in node.options.items() if k != "new_shape"}
    return replace(node, inputs=(node.input(0), integers(-1, *rest)), options=options)


def _slice(node: Node) -> Node:
    """Take all rows where the file takes all that it has."""
    begin, size = _numbers(node.optional(1)), _numbers(node.optional(2))
    if begin is None or size is None or not len(size) or begin[0] != 0:
        return node
    if [size[0]] != list(node.input(0).shape[:1]):
        return node
    return replace(node, inputs=(*node.inputs[:2], integers(-1, *size[1:])))


def _strided(node: Node) -> Node:
    begin, end, stride = (_numbers(node.optional(i)) for i in (1, 2, 3))
    if begin is None or end is None or stride is None or not len(end):
        return node
    masks = [int(node.options.get(name) or 0) & 1 for name in ("ellipsis_mask", "new_axis_mask",
                                                              "shrink_axis_mask")]
    first = int(node.options.get("begin_mask") or 0) & 1 or begin[0] == 0
    # The file may leave the rank open: then it writes none.
    whole = any(end[0] >= extent > 0 for extent in node.input(0).shape[:1])
    if any(masks) or not first or not whole or stride[0] != 1:
        return node
    return replace(node, options={**node.options,
                                  "end_mask": int(node.options.get("end_mask") or 0) | 1})


def _numbers(tensor: Tensor | None) -> list[int] | None:
    if tensor is None or tensor.data is None:
        return None
    return [int(n) for n in np.ravel(tensor.data)]


_RULES: dict[str, Callable[[Node], Node]] = {
    "RESHAPE": _reshape, "SLICE": _slice, "STRIDED_SLICE": _strided,
}
