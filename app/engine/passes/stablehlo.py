"""StableHLO operations that TFLite has under another name, or in a few of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.engine.ir import Graph, Node, Tensor, integers
from app.engine.passes import convolution

P = "STABLEHLO_"
# The options of STRIDED_SLICE.
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
# The same operands, the same meaning.
SAME = {P + name: other for name, other in {
    "ABS": "ABS", "ADD": "ADD", "CONVERT": "CAST", "COSINE": "COS", "DIVIDE": "DIV",
    "EXPONENTIAL": "EXP", "FLOOR": "FLOOR", "LOG": "LOG", "LOGISTIC": "LOGISTIC",
    "MAXIMUM": "MAXIMUM", "MINIMUM": "MINIMUM", "MULTIPLY": "MUL", "NEGATE": "NEG",
    "POWER": "POW", "RSQRT": "RSQRT", "SELECT": "SELECT_V2", "SUBTRACT": "SUB",
    "TANH": "TANH"}.items()}
LOGIC = {P + "AND": "LOGICAL_AND", P + "OR": "LOGICAL_OR"}
# By number: tflite schema, StablehloComparisonDirection.
DIRECTIONS = ("EQUAL", "NOT_EQUAL", "GREATER_EQUAL", "GREATER", "LESS_EQUAL", "LESS")
Made = Sequence[Node]


def translated(node: Node) -> Graph | None:
    """What TFLite calls the same; None of other operations, and of forms that it lacks.

    Source: the StableHLO specification.
    """
    quantised = any(t.quant is not None for t in (*node.reads, *node.outputs))
    rule = RULES.get(node.op)
    made = None if rule is None or quantised else rule(node)
    return None if made is None else Graph(node.op, tuple(made), (), node.outputs)


def _node(name: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
          **options: Any) -> Node:
    return Node(name, tuple(inputs), tuple(outputs), options)


def _same(node: Node) -> Made:
    return [_node(SAME[node.op], node.inputs, node.outputs, fused_activation_function="NONE")]


def _logic(node: Node) -> Made | None:
    if node.input(0).dtype != "bool":
        return None
    return [_node(LOGIC[node.op], node.inputs, node.outputs)]


def _compare(node: Node) -> Made:
    name = DIRECTIONS[int(node.options["comparison_direction"])]
    return [_node(name, node.inputs[:2], node.outputs)]


def _clamp(node: Node) -> Made:
    low, x, high = (node.input(i) for i in range(3))
    raised = Tensor(f"{x.name}/raised", x.shape, x.dtype)
    return [_node("MAXIMUM", (x, low), (raised,)), _node("MINIMUM", (raised, high), node.outputs)]


def _reshape(node: Node) -> Made | None:
    extents = node.outputs[0].shape
    if -1 in extents:
        return None
    return [_node("RESHAPE", (node.input(0), integers(*extents)), node.outputs, new_shape=extents)]


def _transpose(node: Node) -> Made:
    order = integers(*node.options["permutation"])
    return [_node("TRANSPOSE", (node.input(0), order), node.outputs)]


def _concatenate(node: Node) -> Made:
    return [_node("CONCATENATION", node.inputs, node.outputs, axis=int(node.options["dimension"]),
                  fused_activation_function="NONE")]


def _broadcast(node: Node) -> Made | None:
    x, y, axes = node.input(0), node.outputs[0], tuple(node.options["broadcast_dimensions"])
    if -1 in (*x.shape, *y.shape):
        return None
    extents = [1] * len(y.shape)
    for axis, extent in zip(axes, x.shape, strict=True):
        extents[axis] = extent
    spread = Tensor(f"{x.name}/spread", tuple(extents), x.dtype)
    return [_node("RESHAPE", (x, integers(*extents)), (spread,), new_shape=tuple(extents)),
            _node("BROADCAST_TO", (spread, integers(*y.shape)), (y,))]


def _slice(node: Node) -> Made:
    given = (integers(*node.options[key]) for key in ("start_indices", "limit_indices", "strides"))
    masks = dict.fromkeys(MASKS, 0)
    return [_node("STRIDED_SLICE", (node.input(0), *given), node.outputs, **masks)]


def _update(node: Node) -> Made:
    starts = [node.input(i) for i in range(2, len(node.inputs))]
    start = Tensor(f"{node.outputs[0].name}/start", (len(starts),), starts[0].dtype)
    return [_node("PACK", starts, (start,), axis=0, values_count=len(starts)),
            _node("DYNAMIC_UPDATE_SLICE", (*node.inputs[:2], start), node.outputs)]


RULES: dict[str, Callable[[Node], Made | None]] = {
    **dict.fromkeys(SAME, _same), **dict.fromkeys(LOGIC, _logic), P + "COMPARE": _compare,
    P + "CLAMP": _clamp, P + "RESHAPE": _reshape, P + "TRANSPOSE": _transpose,
    P + "CONCATENATE": _concatenate, P + "BROADCAST_IN_DIM": _broadcast, P + "SLICE": _slice,
    P + "DYNAMIC_UPDATE_SLICE": _update, convolution.NAME: convolution.plain}
