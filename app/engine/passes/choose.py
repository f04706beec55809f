"""A choice by a comparison with a constant is one kernel, not two."""

from __future__ import annotations

from dataclasses import replace

from app.engine.ir import Graph, Node, Tensor

RELATIONS = {"EQUAL": "==", "NOT_EQUAL": "!=", "LESS": "<", "LESS_EQUAL": "<=", "GREATER": ">",
             "GREATER_EQUAL": ">="}
RENAMES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}


def choose(graph: Graph) -> Graph:
    """Turn every SELECT_V2 by a comparison of floats with one number into a CHOOSE."""
    made = {t: n for n in graph.nodes for t in n.outputs}
    return replace(graph, nodes=tuple(_chosen(n, made) or n for n in graph.nodes))


def _chosen(node: Node, made: dict[Tensor, Node]) -> Node | None:
    if node.op != "SELECT_V2" or node.epilogue:
        return None
    condition: Tensor = node.input(0)
    test = made.get(condition)
    while test is not None and test.op in RENAMES:
        test = made.get(test.input(0))
    if test is None or test.op not in RELATIONS:
        return None
    x, bound = test.input(0), test.input(1)
    if x.dtype != "float32" or bound.data is None or bound.size != 1 or x.data is not None:
        return None
    # A renamed condition is only followed where it is one value for all.
    if x.shape != condition.shape and x.size != 1:
        return None
    options = {"relation": RELATIONS[test.op], "bound": float(bound.data.reshape(-1)[0]),
               "shape": condition.shape}
    return replace(node, op="CHOOSE", inputs=(x, *node.inputs[1:]), options=options)
