"""Unary and binary float operations, with full broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.epilogue import (
    BINARY,
    GATE,
    MARKS,
    ORDERED,
    STEPS,
    compile_steps,
    relation,
    step_text,
    uses_channel,
)
from app.engine.ir import Arg, Const, Data, Fused, Launch, Node, Tensor
from app.engine.ops.broadcasting import MAX_RANK, merge
from app.engine.ops.tiles import lanes, spread
from app.engine.ops.typed import integers
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, require, require_dtype, shape

i32 = np.int32
# Values of a constant that is repeated so that vectors are full; of more channels they are anyway.
REPEATED = 512
UNARY = sorted(k for k in STEPS if k not in BINARY | MARKS and not k.endswith(("_SWAPPED", "_TANH"))
               and k not in {"RELU_N1_TO_1", "RELU_0_TO_1", "SQUARE", "SIGN", "TANH"})
UNARY += ["RELU_N1_TO_1", "RELU_0_TO_1", "SQUARE", "SIGN", "TANH"]


@shape(*UNARY)
def same_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op(*UNARY)
def unary(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = f(x), element by element.

    Raises: UnsupportedOp for types that have no kernel.
    """
    if node.input(0).dtype != "float32":
        return integers(node, profile)
    require_dtype(node, "float32")
    return elementwise_launch(node, node.input(0), (Fused(node.op, options=node.options),), profile)


@op(GATE)
def gated(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = x * f(x), element by element: see passes.gates."""
    require_dtype(node, "float32")
    return elementwise_launch(node, node.input(0), node.options["steps"], profile)


@shape(*sorted(BINARY))
def broadcast_shape(node: Node) -> Sequence[Shape]:
    """The shape that both operands stretch to, as numpy's rules have it.

    Raises: ValueError if they do not fit.
    """
    return [np.broadcast_shapes(node.input(0).shape, node.input(1).shape)]


@op(*sorted(BINARY))
def binary(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan y = f(a, b) with broadcasting of both sides.

    Raises: UnsupportedOp for types that have no kernel, or if the broadcast has more than 6
            dimensions after adjacent ones that behave alike are merged.
    """
    if node.input(0).dtype != "float32":
        return integers(node, profile)
    require_dtype(node, "float32")
    a, b, y = node.input(0), node.input(1), node.outputs[0]
    own = _activation(node)
    whole = [relation(t, y) == "same" and t.data is None for t in (a, b)]
    if whole[0] and relation(b, y):
        return elementwise_launch(node, a, (Fused(node.op, b, options=node.options), *own), profile)
    if whole[1] and relation(a, y) and node.op != "PRELU":
        swapped = Fused(node.op, a, node.op in ORDERED, node.options)
        return elementwise_launch(node, b, (swapped, *own), profile)
    return [_broadcast(node, a, b, own, profile)]


def _activation(node: Node) -> tuple[Fused, ...]:
    name = str(node.options.get("fused_activation_function", "NONE"))
    return () if name == "NONE" else (Fused(name),)


def elementwise_launch(node: Node, x: Tensor, steps: Sequence[Fused],
                       profile: DeviceProfile) -> Sequence[Launch]:
    """One launch that applies steps and the node's epilogue to x."""
    y = node.outputs[0]
    chain = (*steps, *node.epilogue)
    rows, width = (1, y.size)
    if uses_channel(chain, y):
        rows, width = y.size // y.shape[-1], y.shape[-1]
    if not y.size:
        return []
    defines, operands = compile_steps(chain, y)
    times = _repeats(chain, y, rows, profile)
    if times > 1:
        rows, width = rows // times, width * times
        operands = [_repeated(a, times) if isinstance(a, Const) and a.tensor.size == y.shape[-1]
                    else a for a in operands]
    vector = lanes(profile, width)
    vectors = -(-width // vector)
    per = min(vectors, 256) if profile.is_cpu else 1
    size, local, flat = spread(profile, (-(-vectors // per), rows))
    return [Launch("elementwise", "elementwise", (x, y, i32(rows), i32(width), *operands),
                   size, local, {"VW": vector, "PER": per, **flat, **defines}, y.size,
                   even=width % vector == 0)]


def _repeats(steps: Sequence[Fused], y: Tensor, rows: int, profile: DeviceProfile) -> int:
    """How many pixels to take for one: of 3 channels, vectors would have a use for 2 lanes."""
    if rows == 1 or any(
            step.operand is not None and step.operand.data is None
            and relation(step.operand, y) in ("channel", "padded") for step in steps):
        return 1
    channels = y.shape[-1]
    fits = [n for n in range(1, min(rows, REPEATED // channels) + 1) if rows % n == 0]
    full = [n for n in fits if channels * n % min(profile.vector, 16) == 0]
    # On CPUs a work-item takes many vectors; a card's lanes are busy with one each.
    return (max if profile.is_cpu else min)(full or fits or [1])


def _repeated(operand: Const, times: int) -> Const:
    def pack(data: Data) -> Data:
        return np.tile(operand.pack(data), times)

    return Const(operand.tensor, f"{operand.label} x{times}", pack)


def _broadcast(node: Node, a: Tensor, b: Tensor, own: Sequence[Fused],
               profile: DeviceProfile) -> Launch:
    y = node.outputs[0]
    dims, first, second = merge(y.shape, a.shape, b.shape)
    require(len(dims) <= MAX_RANK, f"{node.op} broadcasts over {len(dims)} dimensions; "
                                   f"the kernel knows {MAX_RANK}")
    pad = MAX_RANK - len(dims)
    numbers = [*([1] * pad + dims), *([0] * pad + first), *([0] * pad + second)]
    steps = (*own, *node.epilogue)
    defines, operands = compile_steps(steps, y)
    text, names, values = step_text(Fused(node.op, options=node.options), "other", len(operands))
    defines |= {"OP": text, "EPI_PARAMS": str(defines["EPI_PARAMS"]) + "".join(names)}
    operands += values
    d, c, zab = numbers[4], numbers[3], numbers[0] * numbers[1] * numbers[2]
    row = i32(y.shape[-1] if y.shape else 1)
    args = (_flat(a), _flat(b), y, *map(i32, numbers), row, *operands)
    wide = {} if profile.is_cpu else {"FLAT": 1}
    vector = 1
    if profile.is_cpu and (numbers[5] == row or not uses_channel(steps, y)):
        vector = lanes(profile, numbers[5])
    return Launch("broadcast", "broadcast", args, (d * numbers[5] if wide else d, c, zab),
                  (profile.group, 1, 1), {"VW": vector, **wide, **defines}, y.size)


def _flat(tensor: Tensor) -> Arg:
    return tensor if tensor.data is None else Const(tensor, "flat", np.ravel)
