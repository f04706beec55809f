"""StableHLO operations that name a graph for what they do to two numbers become plain ones.

Converters leave STABLEHLO_SCATTER and STABLEHLO_REDUCE_WINDOW in a file with a graph of one ADD or
MAXIMUM; only the few forms that they write are taken, the others stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.engine.ir import Graph, Node, Tensor, integers

SCATTER, WINDOWS = "STABLEHLO_SCATTER", "STABLEHLO_REDUCE_WINDOW"
# What a graph of one operation does to two numbers.
KINDS = {"ADD": "SUM", "STABLEHLO_ADD": "SUM", "MUL": "PRODUCT", "STABLEHLO_MULTIPLY": "PRODUCT",
         "MAXIMUM": "MAX", "STABLEHLO_MAXIMUM": "MAX", "MINIMUM": "MIN",
         "STABLEHLO_MINIMUM": "MIN", "LOGICAL_AND": "ALL", "STABLEHLO_AND": "ALL",
         "LOGICAL_OR": "ANY", "STABLEHLO_OR": "ANY"}

# By number: tflite schema, ReduceWindowFunction.
REDUCTIONS = {1: "SUM", 2: "PRODUCT", 3: "MIN", 4: "MAX", 5: "ALL", 6: "ANY"}


def spelled(node: Node, graphs: Sequence[Graph]) -> Graph | None:
    """A node and what must stand around it, with the meaning of its graph in its options.

    None of other operations, and of forms that no kernel knows.
    Source: the StableHLO specification, scatter and reduce_window.
    """
    rule = _RULES.get(node.op)
    return None if rule is None else rule(node, graphs)


def _kind(body: Graph) -> str | None:
    if not body.nodes:
        return "LAST" if body.outputs == body.inputs[1:] else None
    node = body.nodes[0]
    alone = (len(body.nodes) == 1 and node.outputs == body.outputs
             and set(node.inputs) == set(body.inputs)
             and node.options.get("fused_activation_function", "NONE") == "NONE")
    return KINDS.get(node.op) if alone else None


def _windows(node: Node, graphs: Sequence[Graph]) -> Graph | None:
    kind = _kind(graphs[int(node.options["body_subgraph_index"])])
    if kind is None or kind == "LAST" or len(node.inputs) != 2:
        return None
    options = {**node.options, "kind": kind}
    made = Node("WINDOWS", node.inputs, node.outputs, options, graph=node.graph)
    return Graph(node.op, (made,), (), node.outputs)


def _reduced(node: Node, graphs: Sequence[Graph]) -> Graph | None:
    # TFLite's own form, which has numbers where StableHLO has options.
    constants = [node.input(i).data for i in (2, 3, 4)]
    kind = REDUCTIONS.get(int(node.options["reduce_function"]))
    if kind is None or any(c is None for c in constants):
        return None
    size, stride, dilation = (tuple(int(v) for v in c.reshape(-1)) for c in constants
                              if c is not None)
    options = {"kind": kind, "window_dimensions": size, "window_strides": stride,
               "window_dilations": dilation}
    return Graph(node.op, (Node("WINDOWS", node.inputs[:2], node.outputs, options,
                                graph=node.graph),), (), node.outputs)


@dataclass(frozen=True, slots=True)
class _Axes:
    """Permutations that bring the axes that indices choose to the front, in their order."""

    operand: tuple[int, ...]
    updates: tuple[int, ...]


def _scatter(node: Node, graphs: Sequence[Graph]) -> Graph | None:
    kind = _kind(graphs[int(node.options["update_computation_subgraph_index"])])
    axes = _axes(node) if kind is not None and len(node.inputs) == 3 else None
    if axes is None:
        return None
    x, index, updates, y = (*(node.input(i) for i in range(3)), node.outputs[0])
    nodes: list[Node] = []
    given = tuple(_transposed(t, order, nodes)
                  for t, order in ((x, axes.operand), (updates, axes.updates)))
    whole = axes.operand == tuple(range(len(x.shape)))
    made = y if whole else replace(y, name=f"{y.name}/turned",
                                   shape=tuple(y.shape[a] for a in axes.operand))
    nodes.append(Node("SCATTER", (given[0], index, given[1]), (made,), {"kind": kind},
                      graph=node.graph))
    if not whole:
        back = tuple(int(a) for a in np.argsort(axes.operand))
        nodes.append(_transpose(made, y, back))
    return Graph(node.op, tuple(nodes), (), (y,))


def _axes(node: Node) -> _Axes | None:
    # A window that runs along an axis that indices choose would meet its neighbours.
    rank, index = len(node.input(0).shape), node.input(1).shape
    options: Mapping[str, tuple[int, ...]] = node.options
    chosen = tuple(options["scatter_dims_to_operand_dims"])
    window = tuple(options["update_window_dims"])
    if (sorted(chosen) != sorted(options["inserted_window_dims"]) or not chosen
            or int(node.options["index_vector_dim"]) != len(index) - 1
            or index[-1] != len(chosen) or list(window) != sorted(window)):
        return None
    left = tuple(a for a in range(rank) if a not in chosen)
    places = tuple(a for a in range(len(node.input(2).shape)) if a not in window)
    return _Axes((*chosen, *left), (*places, *window))


def _transposed(x: Tensor, order: tuple[int, ...], nodes: list[Node]) -> Tensor:
    if order == tuple(range(len(order))):
        return x
    made = Tensor(f"{x.name}/turned", tuple(x.shape[a] for a in order), x.dtype, quant=x.quant)
    nodes.append(_transpose(x, made, order))
    return made


def _transpose(x: Tensor, y: Tensor, order: tuple[int, ...]) -> Node:
    return Node("TRANSPOSE", (x, integers(*order)), (y,))


_RULES: dict[str, Callable[[Node, Sequence[Graph]], Graph | None]] = {
    SCATTER: _scatter, WINDOWS: _windows, "REDUCE_WINDOW": _reduced}
NAMES = tuple(_RULES)
