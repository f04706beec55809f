"""Ops that walk along one axis: ARG_MAX, ARG_MIN, CUMSUM, CUMPROD, TOPK_V2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.engine.ir import Data, Launch, Node, Tensor
from app.engine.ops.cast import TYPES
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, host, op, require, shape

i32 = np.int32
LOG_SUM = ("((a) == (b) ? (a) + 0.69314718f"
           " : fmax((a), (b)) + log1p(exp(-fabs((a) - (b)))))")
# What a running value begins with and how it takes in the next, for kernels and for numpy.
RUNNING: dict[str, tuple[str, str, Any]] = {"CUMSUM": ("0", "(a) + (b)", np.add),
                                            "CUMPROD": ("1", "(a) * (b)", np.multiply),
                                            "CUMULATIVE_LOGSUMEXP": ("-INFINITY", LOG_SUM,
                                                                     np.logaddexp)}
BETTER = {"ARG_MAX": "((v) > (best))", "ARG_MIN": "((v) < (best))"}


def _axis(node: Node) -> int:
    data = node.input(1).data
    require(data is not None, f"{node.op} along a computed axis has no kernel")
    assert data is not None
    return int(data.reshape(-1)[0]) % len(node.input(0).shape)


def _split(shape_: Shape, axis: int) -> tuple[int, int, int]:
    return (int(np.prod(shape_[:axis], dtype=np.int64)), shape_[axis],
            int(np.prod(shape_[axis + 1:], dtype=np.int64)))


def _defines(x: Tensor, y: Tensor, better: str = "false") -> dict[str, str | int]:
    return {"T": TYPES[x.dtype], "TY": TYPES[y.dtype], "BETTER(v, best)": better}


@shape(*BETTER)
def arg_shape(node: Node) -> Sequence[Shape]:
    """The axis vanishes."""
    axis = _axis(node)
    return [tuple(e for i, e in enumerate(node.input(0).shape) if i != axis)]


@op(*BETTER)
def arg(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the place of the largest or smallest value along an axis; the first among equals.

    Raises: UnsupportedOp for types that no kernel knows, or a computed axis.
    """
    return _along(node, profile, "arg", better=BETTER[node.op])


def _along(node: Node, profile: DeviceProfile, kernel: str, *flags: bool, better: str = "false",
           more: Mapping[str, str] | None = None) -> Sequence[Launch]:
    """One work-item for each line along the axis."""
    x, y = node.input(0), node.outputs[0]
    require(x.dtype in TYPES, f"{node.op} on {x.dtype} has no kernel")
    if not x.size:
        return []
    a, k, c = _split(x.shape, _axis(node))
    return [Launch("scan", kernel, (x, y, *map(i32, (a, k, c, *flags))), (c, a),
                   (profile.group, 1), {**_defines(x, y, better), **(more or {})})]


@host(*BETTER)
def place_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy; NaN is never better than what comes before it, and nothing than NaN."""
    x, axis = arrays[0], _axis(node)
    assert x is not None
    find, worst = (np.argmax, -np.inf) if node.op == "ARG_MAX" else (np.argmin, np.inf)
    found = find(x if x.dtype.kind != "f" else np.where(np.isnan(x), worst, x), axis)
    if x.dtype.kind == "f":
        found = np.where(np.isnan(x.take(0, axis)), 0, found)
    return [np.asarray(found, node.outputs[0].dtype)]


@shape(*RUNNING)
def running_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@op(*RUNNING)
def running(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan running sums or products along an axis.

    Raises: UnsupportedOp for types that no kernel knows, or a computed axis.
    """
    first, join, _ = RUNNING[node.op]
    return _along(node, profile, "running", bool(node.options.get("exclusive")),
                  bool(node.options.get("reverse")), more={"FIRST": first, "JOIN(a, b)": join})


@host(*RUNNING)
def running_on_host(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The same in numpy."""
    assert arrays[0] is not None
    axis, join = _axis(node), RUNNING[node.op][2]
    x = np.flip(arrays[0], axis) if node.options.get("reverse") else arrays[0]
    if node.options.get("exclusive"):
        begin = np.full_like(x.take([0] if x.shape[axis] else [], axis), join.identity)
        x = np.concatenate([begin, x.take(range(x.shape[axis] - 1), axis)], axis)
    made = join.accumulate(x, axis, dtype=x.dtype)
    return [np.flip(made, axis) if node.options.get("reverse") else made]


@shape("TOPK_V2")
def top_shape(node: Node) -> Sequence[Shape]:
    """The last dimension becomes k, twice.

    Raises: ValueError if there are fewer than k; UnsupportedOp if the model computes k.
    """
    x, k = node.input(0).shape, node.input(1).data
    require(k is not None, "TOPK_V2 with a computed k has no kernel")
    assert k is not None
    count = int(k.reshape(-1)[0])
    if count > x[-1]:
        raise ValueError(f"the {count} largest of {x[-1]} values")
    return [(*x[:-1], count)] * 2


@op("TOPK_V2")
def top(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan the k largest values of each row and their places.

    Raises: UnsupportedOp for types that no kernel knows.
    """
    x, (values, places) = node.input(0), node.outputs
    require(x.dtype in TYPES, f"TOPK_V2 on {x.dtype} has no kernel")
    if not values.size:
        return []
    rows = x.size // x.shape[-1]
    return [Launch("scan", "top", (x, values, places, i32(rows), i32(x.shape[-1]),
                                   i32(values.shape[-1])), (rows,), (profile.group,),
                   _defines(x, places))]
