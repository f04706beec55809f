"""Whether a loop or a branch is worth the device: little work is over on the CPU first."""

from __future__ import annotations

from app.engine import registry
from app.engine.cpu.part import open_part
from app.engine.ir import Graph, Node
from app.engine.passes.facts import OPAQUE
from app.errors import UnsupportedOp

# Multiply-adds of one step that a CPU core does in the time of some ten launches and a wait.
LIGHT = 500_000
BRANCHES = ("cond_subgraph_index", "body_subgraph_index", "then_subgraph_index",
            "else_subgraph_index")
PRODUCTS = {"FULLY_CONNECTED": 1, "BATCH_MATMUL": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1,
            "TRANSPOSE_CONV": 1, "UNIDIRECTIONAL_SEQUENCE_LSTM": 1}


def light(graph: Graph, node: Node) -> bool:
    """Whether the CPU takes an IF or a WHILE as a whole, and should."""
    if node.op not in ("IF", "WHILE") or not graph.blob:
        return False
    work = step_work(graph, node)
    if work is None or work > LIGHT:
        return False
    try:
        open_part(graph, [node], set(node.outputs))
    except UnsupportedOp:
        return False
    return True


def step_work(graph: Graph, node: Node) -> int | None:
    """Multiply-adds of one step; None if it has variables or operations the CPU does not know."""
    total = 0
    for name in BRANCHES:
        if name not in node.options:
            continue
        inner = graph.siblings.get(int(node.options[name]))
        if inner is None or any(t.dtype in OPAQUE for t in inner.inputs):
            return None
        for part in inner.nodes:
            work = _work(inner, part)
            if work is None:
                return None
            total += work
    return total


def _work(graph: Graph, node: Node) -> int | None:
    return step_work(graph, node) if node.op in ("IF", "WHILE") else work_of(node)


def work_of(node: Node) -> int | None:
    """Multiply-adds of one node without control flow; None if the CPU may not know it."""
    if node.op in registry.STATEFUL or node.op.startswith("CUSTOM:"):
        return None
    moved = sum(abs(t.size) for t in node.outputs)
    if node.op not in PRODUCTS:
        return moved
    weights = node.optional(PRODUCTS[node.op])
    if weights is None or not weights.shape:
        return moved
    rows = max(1, moved // max(weights.shape[0], 1))
    return moved + abs(weights.size) * rows
