"""Weights that the model computes, brought into the layouts that kernels have constant ones in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

import numpy as np

from app.engine.ir import Arg, Const, Data, Launch, Node, Scratch, Tensor
from app.engine.profile import DeviceProfile
from app.engine.registry import require

i32 = np.int32
# Numbers up to which a float32 tells each from the next: a layout is found out by packing them.
MOST = 1 << 24
# Where each weight of a layout comes from, by the weights' shape and the layout's label: shared by
# the plans that are there.
PLACES: WeakValueDictionary[tuple[tuple[int, ...], str], Data] = WeakValueDictionary()


def with_packing(node: Node, position: int, profile: DeviceProfile,
                 rule: Callable[[Node, DeviceProfile], Sequence[Launch]]) -> list[Launch]:
    """The launches of a rule that knows constant weights, for the computed ones at position.

    The rule plans with numbers in the place of the weights; where a kernel would read those in a
    layout of its own, a launch before it puts the weights there.
    Raises: UnsupportedOp if there are too many weights to tell apart.
    """
    w = node.input(position)
    require(w.dtype == "float32", f"{node.op} by computed weights of {w.dtype} has no kernel")
    require(w.size < MOST, f"{node.op} by {w.size} computed weights has no kernel")
    numbers = _numbers(w.shape)
    inputs = tuple(numbers if i == position else t for i, t in enumerate(node.inputs))
    # Where they are halved numbers would not be told apart.
    planned = rule(replace(node, inputs=inputs), replace(profile, fp16_storage=False))
    packed: dict[str, Arg] = {}
    launches: list[Launch] = []
    for launch in planned:
        args: list[Arg] = []
        for arg in launch.args:
            if isinstance(arg, Const) and arg.tensor is numbers:
                if arg.label not in packed:
                    packed[arg.label] = _packed(w, arg, profile, launches)
                args.append(packed[arg.label])
            else:
                args.append(arg)
        launches.append(replace(launch, args=tuple(args)))
    return launches


def _numbers(shape: tuple[int, ...]) -> Tensor:
    # From 1 on: 0 is what packing puts where there is no weight.
    count = int(np.prod(shape, dtype=np.int64))
    return Tensor("", shape, "float32", np.arange(1, count + 1, dtype=np.float32).reshape(shape))


def _packed(w: Tensor, layout: Const, profile: DeviceProfile, launches: list[Launch]) -> Arg:
    places = _places(layout)
    if np.array_equal(places.ravel(), np.arange(1, w.size + 1)):
        return w
    made, count = Scratch(4 * places.size), places.size
    per = max(1, min(1024, -(-count // 64))) if profile.is_cpu else 1
    table = Const(Tensor("", places.shape, "int32", places), "places", lambda data: data)
    launches.append(Launch("gather", "pick", (w, table, made, i32(count), i32(per)),
                           (-(-count // per),), (profile.group,), {"T": "float", "TI": "int"}))
    return made


def _places(layout: Const) -> Data:
    key = (layout.tensor.shape, layout.label)
    known = PLACES.get(key)
    if known is None:
        assert layout.tensor.data is not None
        known = PLACES[key] = layout.pack(layout.tensor.data).astype(np.int32)
    return known
