"""Rows rounded to 8 bits and the product that reads them as one node, for integer products."""

from __future__ import annotations

from dataclasses import replace

from app.engine.ir import Graph, Node, Tensor

ROWS_PRODUCT = "ROWS_PRODUCT"
# Where these have groups of outputs, and of channels.
PRODUCTS = ("CONV_2D", "FULLY_CONNECTED")


def join_rows(graph: Graph, least: int) -> Graph:
    """Join each product of rounded rows and int8 weights with the rounding.

    The node's inputs are the numbers before they are rounded, the weights as the file has them,
    the bias; options hold the product's node ("product") and those of QUANTIZE_ROWS.
    least: the fewest outputs of a group for which the kernel is made.
    """
    roundings = {n.outputs[0]: n for n in graph.nodes if n.op == "QUANTIZE_ROWS"}
    nodes = [_joined(node, roundings, least) for node in graph.nodes]
    read = {*graph.outputs, *(t for n in nodes for t in n.reads)}
    return replace(graph, nodes=tuple(n for n in nodes if n.op != "QUANTIZE_ROWS"
                                      or n.outputs[0] in read))


def _joined(node: Node, roundings: dict[Tensor, Node], least: int) -> Node:
    if node.op not in PRODUCTS or node.inputs[0] not in roundings:
        return node
    rounding, w = roundings[node.input(0)], node.options.get("integers")
    if w is None or w.shape[-1] == 0 or rounding.input(0).size == 0:
        return node
    groups = node.input(0).shape[-1] // w.shape[-1] if node.op == "CONV_2D" else 1
    if w.shape[0] // max(groups, 1) < least:
        return node
    return replace(node, op=ROWS_PRODUCT, inputs=(rounding.input(0), w, node.optional(2)),
                   options={**rounding.options, "product": node})
