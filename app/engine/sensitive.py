"""Which of a graph's numbers float16 does not hold well enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.engine.epilogue import BINARY, STEPS
from app.engine.ir import Node, Tensor
from app.engine.passes.dense_pairs import DENSE_PAIR
from app.engine.passes.pairs import PAIR

# Results that may be beyond 65504 though no input is: they grow with powers or with extents, or as
# what they divide by shrinks.
WIDE = {"EXP", "SQUARE", "SQUARED_DIFFERENCE", "POW", "DIV", "FLOOR_DIV", "RSQRT", "SUM",
        "REDUCE_PROD", "CUMSUM", "CUSTOM:FlexReciprocal", "CUSTOM:FlexExpm1", "CUSTOM:FlexCosh",
        "CUSTOM:FlexSinh", "CUSTOM:FlexTan"}
# Results that are small whatever the input is.
BOUNDED = {"RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LOGISTIC", "TANH", "SIN", "COS", "SIGN", "LOG",
           "SQRT", "CUSTOM:FlexLog1p", "CUSTOM:FlexErf", "CUSTOM:FlexSoftsign", "SOFTMAX",
           "LOG_SOFTMAX", "L2_NORMALIZATION", "LAYER_NORM"}
# Sums by weights: as large as the weights make them, which nets keep within bounds.
WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
# Steep at zero, or far from it: a small error of what they read is a large one of the result.
STEEP = {"LOG", "RSQRT", "SQRT", "POW", "DIV", "FLOOR_DIV", "EXP", "SIN", "COS", "LOG_SOFTMAX",
         "SOFTMAX", "FLOOR", "CEIL", "ROUND", "SIGN", *(k for k in STEPS if k.startswith("CUSTOM"))}


def sensitive(nodes: Sequence[Node]) -> set[Tensor]:
    """The tensors that stay float32: results that may be too large, what steep functions read."""
    wide: set[Tensor] = set()
    fine: set[Tensor] = set()
    for node in (part for whole in nodes for part in _parts(whole)):
        kinds = _kinds(node)
        large = node.op not in WEIGHTED and any(t in wide for t in node.reads)
        large |= node.op == "MUL" and node.inputs[0] is node.inputs[1]
        for kind in kinds:
            large = (large or kind in WIDE) and kind not in BOUNDED
        if large:
            wide.update(node.outputs)
        if node.op in STEPS and STEEP.intersection(kinds):
            fine.update(node.reads)
        elif node.op in STEEP:
            fine.add(node.input(0))
        fine.update(s.operand for s in node.epilogue
                    if s.operand is not None and s.kind in STEEP & BINARY)
    return wide | fine


def _parts(node: Node) -> tuple[Node, ...]:
    if node.op not in (PAIR, DENSE_PAIR):
        return (node,)
    first, second = node.options.values()
    return first, replace(second, epilogue=node.epilogue, outputs=node.outputs)


def _kinds(node: Node) -> list[str]:
    own = str(node.options.get("fused_activation_function", "NONE"))
    return [node.op, own, *(step.kind for step in node.epilogue)]
