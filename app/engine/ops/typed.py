"""Comparisons, logic, choices and integer arithmetic: any element types, full broadcasting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.engine.epilogue import literal
from app.engine.ir import Arg, Const, Data, Launch, Node, Tensor
from app.engine.ops.broadcasting import MAX_RANK, merge
from app.engine.ops.cast import TYPES
from app.engine.ops.movement import chunk
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

i32 = np.int32
Pair = tuple[str, Any]
COMPARISONS: dict[str, Pair] = {
    "EQUAL": ("p == q", np.equal), "NOT_EQUAL": ("p != q", np.not_equal),
    "LESS": ("p < q", np.less), "LESS_EQUAL": ("p <= q", np.less_equal),
    "GREATER": ("p > q", np.greater), "GREATER_EQUAL": ("p >= q", np.greater_equal),
}
LOGIC: dict[str, Pair] = {
    "LOGICAL_AND": ("p && q", np.logical_and), "LOGICAL_OR": ("p || q", np.logical_or),
    "LOGICAL_NOT": ("!p", np.logical_not),
}
OTHERS: dict[str, Pair] = {
    "ATAN2": ("atan2(p, q)", np.arctan2), "BITWISE_XOR": ("p ^ q", np.bitwise_xor),
    "BITWISE_AND": ("p & q", np.bitwise_and), "BITWISE_OR": ("p | q", np.bitwise_or),
    "RIGHT_SHIFT": ("p >> clamp((int)q, 0, (int)sizeof(T1) * 8 - 1)",
                    lambda p, q: np.right_shift(p, np.clip(q, 0, 8 * p.itemsize - 1))),
    "LEFT_SHIFT": ("p << clamp((int)q, 0, (int)sizeof(T1) * 8 - 1)",
                   lambda p, q: np.left_shift(p, np.clip(q, 0, 8 * p.itemsize - 1))),
}
BITS = {"BITWISE_XOR", "BITWISE_AND", "BITWISE_OR", "RIGHT_SHIFT", "LEFT_SHIFT"}
# C's division cuts towards zero; a divisor of zero gives zero here, TFLite refuses to run it.
# The least integer by -1 stops a processor; by a product it stays what it is, as on the card.
NEGATES = "((T1)-1 < 0 && q == (T1)-1)"
QUOTIENT = f"(q == 0 ? 0 : {NEGATES} ? p * q : p / q)"
REMAINDER = f"(q == 0 || {NEGATES} ? 0 : p % q)"
FLOORED = f"({QUOTIENT} - ({REMAINDER} != 0 && (p < 0) != (q < 0)))"
INTEGER = {
    "ADD": "p + q", "SUB": "p - q", "MUL": "p * q", "MAXIMUM": "max(p, q)",
    "MINIMUM": "min(p, q)", "SQUARED_DIFFERENCE": "(p - q) * (p - q)", "DIV": QUOTIENT,
    "FLOOR_DIV": FLOORED, "FLOOR_MOD": f"(p - {FLOORED} * q)", "ABS": "(p < 0 ? -p : p)",
    "NEG": "-p", "SIGN": "((p > 0) - (p < 0))", "SQUARE": "p * p", "RELU": "max(p, (T1)0)",
    # TFLite has the power of doubles, which a processor casts to INT_MIN where it is too large.
    "POW": "power(p, q)",
}
COMPLEX = {"ADD": "p + q", "SUB": "p - q", "NEG": "-p",
           "MUL": "(float2)(p.x * q.x - p.y * q.y, p.x * q.y + p.y * q.x)",
           "SQUARE": "(float2)(p.x * p.x - p.y * p.y, 2.0f * p.x * p.y)"}
FLOAT_MOD = "(q == 0.0f ? NAN : fmod(p, q) + (fmod(p, q) != 0.0f && (p < 0) != (q < 0) ? q : 0.0f))"
PAIRED = {**COMPARISONS, **OTHERS, "LOGICAL_AND": LOGIC["LOGICAL_AND"],
          "LOGICAL_OR": LOGIC["LOGICAL_OR"]}


def map_launch(node: Node, operands: Sequence[Tensor], text: str, profile: DeviceProfile,
               shapes: Sequence[Shape] = (), types: Mapping[str, str] = TYPES,
               ) -> Sequence[Launch]:
    """Compute text over broadcast operands of any of the types; shapes are theirs unless given.

    Raises: UnsupportedOp for unknown types or more than 6 dimensions after merging.
    """
    y = node.outputs[0]
    for tensor in (*operands, y):
        require(tensor.dtype in types, f"{node.op} on {tensor.dtype} has no kernel")
    if not y.size:
        return []
    dims, *steps = merge(y.shape, *(shapes or [t.shape for t in operands]))
    require(len(dims) <= MAX_RANK, f"{node.op} broadcasts over {len(dims)} dimensions; "
                                   f"the kernel knows {MAX_RANK}")
    pad = MAX_RANK - len(dims)
    extents = [1] * pad + dims
    numbers = [n for s in steps for n in [0] * pad + s] + [0] * MAX_RANK * (3 - len(steps))
    given: list[Arg] = [t if t.data is None else Const(t, "flat", np.ravel) for t in operands]
    given += [given[0]] * (3 - len(given))
    names = [types[t.dtype] for t in operands]
    names += [names[0]] * (3 - len(names))
    per = chunk(extents[5], profile)
    return [Launch("map", "map", (*given, y, *map(i32, extents), *map(i32, numbers), i32(per)),
                   (extents[4] * -(-extents[5] // per), extents[3],
                    extents[0] * extents[1] * extents[2]),
                   (profile.group, 1, 1),
                   {"T1": names[0], "T2": names[1], "T3": names[2], "TY": types[y.dtype],
                    "EXPR": text}, y.size)]


@shape(*PAIRED, "FLOOR_MOD")
def pair_shape(node: Node) -> Sequence[Shape]:
    """The shape that both operands stretch to.

    Raises: ValueError if they do not fit.
    """
    return [np.broadcast_shapes(node.input(0).shape, node.input(1).shape)]


@shape("LOGICAL_NOT", "ZEROS_LIKE")
def same_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op(*PAIRED)
def paired(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a comparison, logic or bits of two operands."""
    require(node.op not in BITS or np.dtype(node.input(0).dtype).kind in "iub",
            f"{node.op} on {node.input(0).dtype} has no kernel")
    return map_launch(node, (node.input(0), node.input(1)), PAIRED[node.op][0], profile)


@op("LOGICAL_NOT", "ZEROS_LIKE")
def single(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = !x, or zeros in x's shape."""
    text = "!p" if node.op == "LOGICAL_NOT" else "0"
    return map_launch(node, (node.input(0),), text, profile)


@op("FLOOR_MOD")
def floor_mod(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan a remainder with the divisor's sign."""
    if node.input(0).dtype != "float32":
        return integers(node, profile)
    return map_launch(node, (node.input(0), node.input(1)), FLOAT_MOD, profile)


def integers(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan arithmetic of integers or complex numbers; called by the float rules of the same names.

    Raises: UnsupportedOp if the op is none on these.
    """
    x = node.input(0)
    if x.dtype == "complex64" and node.op in COMPLEX:
        return map_launch(node, node.reads, COMPLEX[node.op], profile,
                          types={"complex64": "float2"})
    require(x.dtype in {"int32", "int64", "int8", "uint8", "int16", "uint32"},
            f"{node.op} on {x.dtype} has no kernel")
    require(node.op in INTEGER and (node.op != "POW" or x.dtype == "int32"),
            f"{node.op} on {x.dtype} has no kernel")
    operands = [t for t in node.inputs if t is not None]
    text = INTEGER[node.op]
    own = str(node.options.get("fused_activation_function", "NONE"))
    require(own in ACTIVATIONS, f"{node.op} on {x.dtype} with {own} has no kernel")
    return map_launch(node, operands, ACTIVATIONS[own].format(v=f"(T1)({text})"), profile)


ACTIVATIONS = {"NONE": "{v}", "RELU": "max({v}, (T1)0)",
               "RELU6": "min(max({v}, (T1)0), (T1)6)",
               "RELU_N1_TO_1": "min(max({v}, (T1)(-1)), (T1)1)"}


@shape("SELECT", "SELECT_V2")
def select_shape(node: Node) -> Sequence[Shape]:
    """The shape that all three stretch to; the old form takes a condition per row.

    Raises: ValueError if they do not fit.
    """
    condition, a, b = (_select_operand(node, i) for i in range(3))
    return [np.broadcast_shapes(condition, a, b)]


def _select_operand(node: Node, position: int) -> Shape:
    own, data = node.input(position).shape, node.input(1).shape
    if node.op == "SELECT" and position == 0 and len(own) == 1 and len(data) > 1:
        return own + (1,) * (len(data) - 1)
    return own


@op("SELECT", "SELECT_V2")
def select(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = condition ? a : b."""
    shapes = [_select_operand(node, i) for i in range(3)]
    return map_launch(node, [node.input(i) for i in range(3)], "p ? q : r", profile, shapes)


@op("CHOOSE")
def choose(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = (x relation bound) ? a : b: see passes.choose."""
    bound = literal(float(node.options["bound"]))
    shapes = [tuple(node.options["shape"]), node.input(1).shape, node.input(2).shape]
    return map_launch(node, [node.input(i) for i in range(3)],
                      f"p {node.options['relation']} {bound} ? q : r", profile, shapes)


@host("SELECT", "SELECT_V2")
def select_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Fold a choice between constants."""
    condition, a, b = arrays
    assert condition is not None
    assert a is not None
    assert b is not None
    return [np.where(condition.reshape(_select_operand(node, 0)), a, b)]
