"""Results that are concatenated by channels are written where the concatenation has them.

A kernel whose pixels may lie apart (LDY, YC in its parameters) writes a slice of a wider tensor as
well as a tensor of its own: the copy, and its launch, are saved.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from app.engine.clusters import Storage
from app.engine.ir import Launch, Tensor
from app.engine.opencl.texts import parameters
from app.engine.placement import Draft, resolve
from app.engine.residents import uses_of

# What tells the name of a parameter, and those that are asked for.
NAME = re.compile(r"(\w+)(?: (?:MORE|WINDOW)_PARAMS)?(?: EPI_PARAMS)?$")
RESULT, PITCH, FIRST = "y", "LDY", "YC"


class Slice(NamedTuple):
    """A copy of all of x to some channels of y."""

    x: Tensor
    y: Tensor
    start: int


def write_slices(draft: Draft, kept: Iterable[Tensor]) -> None:
    """Let launches write into concatenations what nobody else reads.

    kept: tensors that something else than the draft's steps reads or writes.
    """
    roots = _Roots(draft.views, kept)
    uses = uses_of(draft)
    slices = {at: s for at, step in enumerate(draft.steps) if (s := _slice(step)) is not None}
    gone: set[int] = set()
    written = dict(slices)
    for at, own in slices.items():
        makers = [i for i in uses.get(own.x, ()) if i != at]
        if not (makers and roots.plain(own.x) and roots.whole(own.y) and makers[-1] < at
                and _gathers(own.y, uses[own.y], written)):
            continue
        changed = [_moved(draft.steps[i], own) for i in makers]
        if all(changed):
            for i, launch in zip(makers, changed, strict=True):
                draft.steps[i] = launch or draft.steps[i]
            uses[own.y] = sorted({*uses[own.y], *makers})
            written.update(dict.fromkeys(makers, own))
            gone.add(at)
    draft.steps = [s for i, s in enumerate(draft.steps) if i not in gone]


class _Roots:
    """Which tensors have memory of their own that no other name refers to."""

    def __init__(self, views: Mapping[Tensor, Storage], kept: Iterable[Tensor]) -> None:
        self._views = views
        self._named = Counter(resolve(views, t)[0] for t in views)
        self._kept = {resolve(views, t)[0] for t in kept}

    def plain(self, x: Tensor) -> bool:
        return x not in self._views and not self._named[x] and x not in self._kept

    def whole(self, y: Tensor) -> bool:
        return y not in self._views


def _gathers(y: Tensor, uses: Sequence[int], slices: Mapping[int, Slice]) -> bool:
    """Whether slices are all that is written to y before it is read."""
    own = [at for at in uses if at in slices and slices[at].y is y]
    return all(at in own for at in uses if at <= own[-1])


def _slice(step: Any) -> Slice | None:
    """What a step copies, if that is a float tensor to channels of another."""
    if not isinstance(step, Launch) or (step.source, step.kernel) != ("copy", "copy"):
        return None
    x, y = step.args[:2]
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)) or x.data is not None:
        return None
    numbers = [int(a) for a in step.args[2:]]  # type: ignore[call-overload]
    extents, (begin, *read), (start, *write) = numbers[:5], numbers[5:11], numbers[11:17]
    if x.dtype != "float32" or y.dtype != "float32" or not (x.shape and y.shape):
        return None
    pixels, channels, width = extents[3], x.shape[-1], y.shape[-1]
    rows = [1, 1, 1, pixels, channels]
    fits = (extents == rows and begin == 0 and read[3:] == [channels, 1]
            and write[3:] == [width, 1] and pixels * channels == x.size
            and pixels * width == y.size and pixels > 1 and start + channels <= width)
    return Slice(x, y, start) if fits else None


def argument_places(step: Launch) -> dict[str, int]:
    """Where a kernel's file has its parameters among the arguments, by name."""
    names = [NAME.search(p) for p in parameters(step.source, step.kernel)]
    return {m[1]: i for i, m in enumerate(names) if m is not None}


def _moved(step: Any, own: Slice) -> Launch | None:
    """A launch with y's channels as its result; None if it cannot do that."""
    if not isinstance(step, Launch) or step.parts:
        return None
    places = argument_places(step)
    if not {RESULT, PITCH, FIRST} <= set(places):
        return None
    result, pitch, first = (places[n] for n in (RESULT, PITCH, FIRST))
    args = list(step.args)
    channels, width = own.x.shape[-1], own.y.shape[-1]
    if (args[result] is not own.x or sum(a is own.x for a in args) != 1
            or int(args[pitch]) != channels or int(args[first]) != 0):  # type: ignore[call-overload]
        return None
    args[result], args[pitch], args[first] = own.y, np.int32(width), np.int32(own.start)
    lanes = int(step.defines.get("VW", 1))
    return replace(step, args=tuple(args),
                   even=step.even and width % lanes == 0 and own.start % lanes == 0)
