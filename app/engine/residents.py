"""Variables that live in the arena: a step's result becomes the next step's input."""

from __future__ import annotations

from collections.abc import Sequence

from app.engine.ir import Launch, Scratch, Tensor
from app.engine.ops.movement import copy_launch, dense
from app.engine.passes.states import State
from app.engine.placement import Draft, StateCall, resolve
from app.engine.profile import DeviceProfile
from app.engine.segments import HostCall


def keep_states(draft: Draft, states: Sequence[State], profile: DeviceProfile) -> bool:
    """Let every variable's new value lie where the old one was read, or copy it there at the end.

    False, and nothing done, if the host has a part in the steps or variables exchange values.
    """
    on_device = used_on_device(draft)
    befores = {s.before for s in states}
    changed = [s for s in states if s.after is not s.before]
    roots = [resolve(draft.views, s.after)[0] for s in changed]
    if (not all(isinstance(step, Launch) for step in draft.steps) or not befores <= on_device
            or any(r in befores or r not in on_device for r in roots)):
        return False
    used: set[Tensor] = set()
    for state, root in zip(changed, roots, strict=True):
        same = resolve(draft.views, state.after) == (root, 0) and root.nbytes == state.before.nbytes
        if same and root not in used and _follows(draft, state.before, root):
            draft.views[root] = (state.before, 0)
        else:
            strides = dense(state.after.shape)
            draft.steps.append(copy_launch(state.after, state.before, state.after.shape, strides,
                                           strides, profile))
        used.add(root)
    return True


def _follows(draft: Draft, before: Tensor, root: Tensor) -> bool:
    """Whether the new value is only made when nobody reads the old one any more."""
    touches = [{resolve(draft.views, t)[0] for t in touched(s) if isinstance(t, Tensor)}
               for s in draft.steps]
    reads = [i for i, own in enumerate(touches) if before in own]
    makes = [i for i, own in enumerate(touches) if root in own]
    return not reads or reads[-1] < makes[0]


def used_on_device(draft: Draft) -> frozenset[Tensor]:
    """The tensors that kernels touch."""
    used = {a for s in draft.steps if isinstance(s, Launch) for a in s.args
            if isinstance(a, Tensor) and a.data is None}
    return frozenset(resolve(draft.views, t)[0] for t in used)


def uses_of(draft: Draft) -> dict[Tensor, list[int]]:
    """The steps, by number, that touch each piece of memory; constants have none."""
    uses: dict[Tensor, list[int]] = {}
    for at, step in enumerate(draft.steps):
        for root in {resolve(draft.views, t)[0] for t in touched(step)
                     if isinstance(t, Tensor) and t.data is None}:
            uses.setdefault(root, []).append(at)
    return uses


def touched(step: Launch | HostCall | StateCall) -> tuple[Tensor | Scratch, ...]:
    """Everything in the arena that a step reads or writes, constants included."""
    if isinstance(step, HostCall):
        return (*step.inputs, *step.outputs)
    if isinstance(step, StateCall):
        return (*step.node.reads, *step.node.outputs)
    return tuple(a for a in step.args if isinstance(a, Tensor | Scratch))
