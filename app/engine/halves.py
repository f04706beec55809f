"""Activations kept as float16 on a card: half the bytes of whatever memory bounds.

Kernels tell what they can: a pointer to XT, X2T or YT may be one to halves, one to T moves whatever
it points to where MOVES lists its kernel, and operands of epilogues come in both forms. So a tensor
is halved where every launch that touches it can, and no more is asked of an op's author. Kernels
compute in float32 all the same.

float32 stays: what a request brings or takes, what the host touches, states, results that may be
beyond float16's range, what is read by functions that are steep at zero (see sensitive), and every
plan with integer arithmetic, whose results are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from app.engine.epilogue import halved_operands, operands_of
from app.engine.ir import Arg, Const, Graph, Launch, Scratch, Tensor
from app.engine.opencl.texts import parameters
from app.engine.passes.integers import is_quantised
from app.engine.placement import Draft, resolve
from app.engine.profile import DeviceProfile
from app.engine.residents import touched
from app.engine.sensitive import sensitive

Key = Tensor | Scratch
# Types of a pointer that may be one to halves, and the define that makes it one.
TYPED = {"XT": "X_HALF", "X2T": "X2_HALF", "YT": "Y_HALF"}
# Kernels that only move elements of type T: a half moves as its bits.
MOVES = {"copy", "fill", "gather", "gather_nd", "update", "pick", "nearest"}
BITS = "ushort"
POINTER = re.compile(r"(\w+)\s*\*")


@dataclass(slots=True)
class _Classes:
    """Memory that is halved together, as union-find; fixed are those that stay as they are."""

    parents: dict[Key, Key] = field(default_factory=dict)
    fixed: set[Key] = field(default_factory=set)

    def root(self, key: Key) -> Key:
        while (above := self.parents.setdefault(key, key)) is not key:
            self.parents[key] = self.parents[above]
            key = above
        return key

    def tie(self, keys: Sequence[Key]) -> None:
        for key in keys[1:]:
            self.parents[self.root(key)] = self.root(keys[0])

    def halved(self) -> set[Key]:
        fixed = {self.root(key) for key in self.fixed}
        return {key for key in self.parents if self.root(key) not in fixed}


def halve_activations(draft: Draft, graph: Graph, kept: Iterable[Tensor],
                      profile: DeviceProfile) -> None:
    """Change a draft's launches and views to float16 where they may be.

    graph is what was planned, before it was lowered; kept are tensors that something else than
    launches reads or writes: inputs, outputs, states.
    """
    if not profile.fp16_storage or profile.is_cpu or any(
            is_quantised(t) for node in graph.nodes for t in (*node.inputs, *node.outputs)):
        return
    classes = _Classes()

    def memory(arg: Arg) -> Key | None:
        if isinstance(arg, Tensor) and arg.data is None:
            return resolve(draft.views, arg)[0]
        return arg if isinstance(arg, Scratch) else None

    for step in draft.steps:
        if isinstance(step, Launch):
            _learn(classes, step, [memory(a) for a in step.args])
        else:
            classes.fixed |= {m for t in touched(step) if (m := memory(t)) is not None}
    outside = {*kept, *sensitive([p.node for p in draft.places])}
    classes.fixed |= {m for t in outside if (m := memory(t)) is not None}
    for tensor in draft.views:
        # Half of an offset must still be one that a device takes.
        root, offset = resolve(draft.views, tensor)
        if offset % (2 * profile.align) or tensor.dtype != root.dtype:
            classes.fixed.add(root)
    halved = classes.halved()
    tensors: dict[Tensor, Tensor] = {}
    scratches: dict[Scratch, Scratch] = {}

    def half(tensor: Tensor) -> Tensor:
        if memory(tensor) not in halved:
            return tensor
        return tensors.setdefault(tensor, replace(tensor, dtype="float16"))

    def changed(arg: Arg) -> Arg:
        if isinstance(arg, Tensor):
            return half(arg)
        if isinstance(arg, Scratch) and arg in halved:
            return scratches.setdefault(arg, Scratch(-(-arg.nbytes // 2)))
        return arg

    draft.steps = [_halved(s, tuple(map(changed, s.args))) if isinstance(s, Launch) else s
                   for s in draft.steps]
    draft.views = {half(t): (half(root), offset // 2 if memory(t) in halved else offset)
                   for t, (root, offset) in draft.views.items()}


def _learn(classes: _Classes, launch: Launch, memory: Sequence[Key | None]) -> None:
    """What a launch says of the memory of its arguments."""
    kinds = _kinds(launch)
    tied: list[Key] = []
    constant = launch.defines.get("VALUE", 0) not in (0, "0")
    for position, key in enumerate(memory):
        kind = kinds.get(position, "")
        if key is None:
            constant |= kind == "T" and isinstance(launch.args[position], Tensor | Const)
        elif not kind:
            classes.fixed.add(classes.root(key))
        else:
            classes.root(key)
            if kind == "YT" and isinstance(key, Scratch):
                # What is not a result yet.
                classes.fixed.add(key)
            tied += [key] if kind == "T" else []
    classes.tie(tied)
    classes.fixed |= set(tied if constant else ())


def _kinds(launch: Launch) -> dict[int, str]:
    """The arguments that may be halves: a key of TYPED, "T", or the name of an operand."""
    kinds: dict[int, str] = dict(operands_of(launch.defines, len(launch.args)))
    for position, declared in enumerate(parameters(launch.source, launch.kernel)):
        found = POINTER.search(declared)
        if found and (found[1] in TYPED or (
                found[1] == "T" and launch.kernel in MOVES and launch.defines["T"] == "float")):
            kinds[position] = found[1]
    return kinds


def _halved(launch: Launch, args: tuple[Arg, ...]) -> Launch:
    kinds = _kinds(launch)
    own = [kinds[position] for position, arg in enumerate(args) if arg is not launch.args[position]]
    if not own:
        return launch
    # Where a vector begins decides whether one load can bring it.
    defines = {**halved_operands(launch.defines, own),
               "HALVES": launch.defines.get("VW", 1) if launch.even else 1,
               **{TYPED[kind]: 1 for kind in own if kind in TYPED}}
    if "T" in own:
        defines["T"] = BITS
    return replace(launch, args=args, defines=defines)
