"""Take recurrent layers apart, those that run both ways included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.engine.blame import blamed
from app.engine.ir import Graph, Node, Tensor, integers
from app.engine.passes import cells, lstm
from app.engine.passes.control import MAX_TURNS

BOTH_WAYS = "BIDIRECTIONAL_SEQUENCE_LSTM"


@dataclass(frozen=True, slots=True)
class _Ways:
    """Where a layer that runs both ways has the inputs of its two halves, the matrices that have
    a row for each of their results (the last one that is there), and from where on it would have
    a second input."""

    name: str
    ahead: tuple[slice, ...]
    back: tuple[slice, ...]
    rows: tuple[tuple[int, ...], tuple[int, ...]]
    aside: int

    def widths(self, inputs: Sequence[Tensor | None]) -> list[int]:
        """The numbers that each half gives."""
        return [[t for t in (inputs[i] for i in own) if t is not None][-1].shape[0]
                for own in self.rows]


BOTH = {
    BOTH_WAYS: _Ways(lstm.NAME, (slice(1, 18), slice(35, 37)), (slice(18, 35), slice(37, 39)),
                     ((6, 16), (23, 33)), 39),
    cells.BOTH_WAYS: _Ways(cells.SEQUENCE, (slice(1, 5),), (slice(5, 9),), ((2,), (6,)), 9),
}
TAKEN_APART = (lstm.NAME, lstm.CELL_NAME, cells.SEQUENCE, cells.CELL, cells.SVDF, *BOTH)


def unfold(graph: Graph) -> Graph:
    """Replace every layer of a form that kernels know by its steps: LSTM, RNN, SVDF."""
    if not any(node.op in TAKEN_APART for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    for whole in graph.nodes:
        with blamed(whole):
            for node in _directions(whole) if whole.op in BOTH else [whole]:
                nodes += _steps(node) or [node]
    return replace(graph, nodes=tuple(nodes))


def _steps(node: Node) -> list[Node] | None:
    return None if _long(node) else lstm.parts(node) or cells.parts(node)


def _long(node: Node) -> bool:
    """Whether starting the kernels of all steps would cost more than what they do."""
    extents = node.input(0).shape
    return (node.op in (lstm.NAME, cells.SEQUENCE, *BOTH) and len(extents) == 3
            and extents[0 if node.options.get("time_major") else 1] > MAX_TURNS)


def refusal(node: Node) -> str:
    """What of a layer that was not taken apart has no kernel."""
    if _long(node):
        return f"more than {MAX_TURNS} steps"
    if node.op in BOTH:
        return "a second input, weights that are computed, or states that outlive a step"
    own = lstm.refusal(node) if node.op in (lstm.NAME, lstm.CELL_NAME) else None
    return own or "weights that are computed, or a state that outlives a step beside CPU parts"


def _directions(node: Node) -> list[Node]:
    """A bidirectional layer as two layers, one of which sees time reversed; whole if TFLite
    feeds it a second input, or a layer could not be taken apart.

    Source: TFLite kernels/bidirectional_sequence_lstm.cc.
    """
    way = BOTH[node.op]
    x, inputs = node.input(0), (*node.inputs, *[None] * (way.aside - len(node.inputs)))
    if x.dtype != "float32" or any(t is not None for t in inputs[way.aside:]):
        return [node]
    time, merged = int(not node.options.get("time_major")), bool(node.options.get("merge_outputs"))
    axis = integers(time)
    turned = Tensor(x.name, x.shape, "float32")
    units = way.widths(inputs)
    ahead, back, after = (Tensor(t.name, (*x.shape[:2], u), "float32") for t, u in (
        (node.outputs[0], units[0]), (node.outputs[-1], units[1]), (node.outputs[-1], units[1])))
    if not merged:
        ahead, after = node.outputs

    def made(op: str, reads: Sequence[Tensor | None], gives: Tensor, **options: Any) -> Node:
        return Node(op, tuple(reads), (gives,), options or node.options, index=node.index)

    layers = (made(way.name, (x, *(t for s in way.ahead for t in inputs[s])), ahead),
              made(way.name, (turned, *(t for s in way.back for t in inputs[s])), back))
    if not all(map(_steps, layers)):
        return [node]
    nodes = [layers[0], made("REVERSE_V2", (x, axis), turned), layers[1],
             made("REVERSE_V2", (back, axis), after)]
    if merged:
        nodes.append(made("CONCATENATION", (ahead, after), node.outputs[0], axis=2,
                          fused_activation_function="NONE"))
    return nodes
