"""Fix every shape of a graph for given input shapes, and fold what is constant by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from app.engine import registry
from app.engine.ir import Data, Graph, Node, Tensor
from app.errors import InvalidInput, InvalidModel, UnsupportedOp

Shape = tuple[int, ...]


def fold(graph: Graph) -> Graph:
    """Evaluate every node whose inputs are all constants, once for all shapes.

    Raises: InvalidModel if a constant contradicts its own description.
    """
    known: dict[Tensor, Tensor] = {}
    nodes = []
    for raw in graph.nodes:
        node = substitute(raw, known)
        folded = _folded(node)
        if folded is None:
            nodes.append(node)
        else:
            known.update(zip(raw.outputs, folded, strict=True))
    outputs = tuple(known.get(t, t) for t in graph.outputs)
    return replace(graph, nodes=tuple(nodes), outputs=outputs)


def specialise(graph: Graph, shapes: Sequence[Shape]) -> Graph:
    """Give every tensor its concrete shape and drop the nodes nobody needs.

    Shapes: one per graph input, without -1.
    Raises: InvalidInput if the shapes do not fit; UnsupportedOp if an op has no shape rule and
            its shapes are not those of the file.
    """
    known: dict[Tensor, Tensor] = {}
    for tensor, wanted in zip(graph.inputs, shapes, strict=True):
        known[tensor] = tensor if tensor.shape == wanted else replace(tensor, shape=wanted)
    nodes = []
    for raw in graph.nodes:
        node = substitute(raw, known)
        node = replace(node, outputs=_outputs(raw, node))
        known.update(zip(raw.outputs, node.outputs, strict=True))
        folded = _folded(node)
        if folded is None:
            nodes.append(node)
        else:
            known.update(zip(raw.outputs, folded, strict=True))
    inputs = tuple(known[t] for t in graph.inputs)
    outputs = tuple(known.get(t, t) for t in graph.outputs)
    return drop_dead(Graph(graph.name, tuple(nodes), inputs, outputs))


def substitute(node: Node, known: Mapping[Tensor, Tensor]) -> Node:
    """The node with its inputs and operands replaced."""
    inputs = tuple(None if t is None else known.get(t, t) for t in node.inputs)
    epilogue = tuple(
        s if s.operand is None else replace(s, operand=known.get(s.operand, s.operand))
        for s in node.epilogue)
    return replace(node, inputs=inputs, epilogue=epilogue)


def drop_dead(graph: Graph) -> Graph:
    """Leave out nodes whose results reach no output; ops without outputs stay."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if not node.outputs or node.op in EFFECTS or any(t in needed for t in node.outputs):
            kept.append(node)
            needed.update(node.reads)
    return replace(graph, nodes=tuple(reversed(kept)))


EFFECTS = {"ASSIGN_VARIABLE", "CALL_ONCE", "IF", "WHILE", "VAR_HANDLE"}


def _outputs(raw: Node, node: Node) -> tuple[Tensor, ...]:
    rule = registry.SHAPES.get(node.op)
    if rule is None:
        moved = any(a is not None and b is not None and a.shape != b.shape
                    for a, b in zip(raw.inputs, node.inputs, strict=True))
        if moved or any(-1 in t.shape for t in node.outputs):
            raise UnsupportedOp(f"{node.op} has no rule for shapes other than the file's")
        return node.outputs
    try:
        shapes = [tuple(int(e) for e in s) for s in rule(node)]
    except (IndexError, ZeroDivisionError) as error:
        raise InvalidModel(f"{node.op} (operator {node.index}) has impossible shapes: {error}"
                           ) from error
    except ValueError as error:
        raise InvalidInput(f"{node.op} (operator {node.index}): {error}") from error
    if any(e < 0 for s in shapes for e in s):
        raise InvalidInput(f"{node.op} (operator {node.index}) would have an output of shape "
                           f"{shapes}; the input is too small for this model")
    return tuple(t if t.shape == s else replace(t, shape=s)
                 for t, s in zip(node.outputs, shapes, strict=True))


def _folded(node: Node) -> tuple[Tensor, ...] | None:
    rule = registry.HOSTS.get(node.op)
    if rule is None or not node.outputs or node.op in EFFECTS:
        return None
    if node.op != "SHAPE" and not all(t is None or t.data is not None for t in node.inputs):
        return None
    if node.op == "SHAPE" and -1 in node.input(0).shape:
        return None
    arrays: list[Data | None] = [None if t is None else t.data for t in node.inputs]
    results = rule(node, arrays)
    return tuple(replace(t, shape=r.shape, data=np.asarray(r, order="C"), sparsity=None)
                 for t, r in zip(node.outputs, results, strict=True))
