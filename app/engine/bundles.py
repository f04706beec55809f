"""Small copies that wait for nobody run in one launch: starting one costs more than it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from app.engine.clusters import Storage
from app.engine.ir import Arg, Launch, Scratch, Tensor
from app.engine.ops.movement import TYPES, chunks
from app.engine.placement import resolve
from app.engine.profile import DeviceProfile

# What a copy may move to be called small, and how many one launch takes. A card starts many
# wavefronts that have nothing to do in the time of one launch.
SMALL_BYTES = {"cpu": 64 << 10, "gpu": 512 << 10}
MOST = 8
# Steps that a copy is brought forward at most.
REACH = 256
# numpy's name of each element type of the kernel.
NUMPY = {kernel: name for name, kernel in TYPES.items()}


class Touch(NamedTuple):
    """Bytes of one piece of memory that a step may read or write."""

    root: Tensor | Scratch
    begin: int
    end: int
    writes: bool

    def bars(self, other: Touch) -> bool:
        """Whether the order of the two matters."""
        return (self.root is other.root and (self.writes or other.writes)
                and self.begin < other.end and other.begin < self.end)


@dataclass(slots=True)
class _Step:
    step: Any
    touches: list[Touch] | None
    kind: str = ""
    copies: list[Launch] = field(default_factory=list)


def bundled(steps: Sequence[Any], views: Mapping[Tensor, Storage],
            profile: DeviceProfile) -> list[Any]:
    """The steps with small copies brought forward to the nearest launch of copies that they may
    join."""
    done: list[_Step] = []
    for step in steps:
        own = _described(step, views, profile)
        bundle = _place_for(own, done) if own.copies else None
        if bundle is None or bundle.touches is None or own.touches is None:
            done.append(own)
        else:
            bundle.copies += own.copies
            bundle.touches += own.touches
    return [_launch(s.copies, profile) if len(s.copies) > 1 else s.step for s in done]


def _place_for(own: _Step, done: Sequence[_Step]) -> _Step | None:
    for earlier in reversed(done[-REACH:]):
        if earlier.touches is None or any(a.bars(b) for a in own.touches or ()
                                          for b in earlier.touches):
            return None
        if earlier.kind == own.kind and len(earlier.copies) < MOST:
            return earlier
    return None


def _described(step: Any, views: Mapping[Tensor, Storage], profile: DeviceProfile) -> _Step:
    if not isinstance(step, Launch):
        return _Step(step, None)
    if step.kernel != "copy" or step.source != "copy":
        # A launch does not tell which of its arguments it writes.
        return _Step(step, [_touch(a, views, True) for a in step.args
                            if isinstance(a, Scratch)
                            or (isinstance(a, Tensor) and a.data is None)])
    source, target = step.args[:2]
    numbers = [int(a) for a in step.args[2:]]  # type: ignore[call-overload]
    extents, read, write = numbers[:5], numbers[5:11], numbers[11:17]
    size = np.dtype(NUMPY[str(step.defines["T"])]).itemsize
    touches = [_span(a, views, a is target, extents, walk, size)
               for a, walk in ((source, read), (target, write))
               if isinstance(a, Scratch) or (isinstance(a, Tensor) and a.data is None)]
    # On CPUs only what lies together is copied quickly beside other copies.
    small = (extents[:3] == [1, 1, 1] and (step.defines["UNIT"] == 1 or not profile.is_cpu)
             and extents[3] * extents[4] * size <= SMALL_BYTES[profile.kind])
    return _Step(step, touches, str(step.defines["T"]), [step]) if small else _Step(step, touches)


def _touch(arg: Tensor | Scratch, views: Mapping[Tensor, Storage], writes: bool) -> Touch:
    if isinstance(arg, Scratch):
        return Touch(arg, 0, arg.nbytes, writes)
    root, offset = resolve(views, arg)
    return Touch(root, offset, offset + arg.nbytes, writes)


def _span(arg: Tensor | Scratch, views: Mapping[Tensor, Storage], writes: bool,
          extents: Sequence[int], walk: Sequence[int], size: int) -> Touch:
    """The bytes between the first and the last element of a box; walk is its offset and its
    strides."""
    whole = _touch(arg, views, writes)
    steps = [(n - 1) * s for n, s in zip(extents, walk[1:], strict=True)]
    begin = walk[0] + sum(s for s in steps if s < 0)
    end = walk[0] + sum(s for s in steps if s > 0) + 1
    return Touch(whole.root, whole.begin + begin * size, whole.begin + end * size, writes)


def _launch(copies: Sequence[Launch], profile: DeviceProfile) -> Launch:
    args: list[Arg] = []
    most = 0
    unit = all(copy.defines["UNIT"] == 1 for copy in copies)
    for copy in copies:
        rows, columns = (int(a) for a in copy.args[5:7])  # type: ignore[call-overload]
        per = copy.args[-1]
        args += [copy.args[0], copy.args[1], *copy.args[5:7], copy.args[7], copy.args[11],
                 copy.args[13], copy.args[17], per]
        args += [] if unit else [copy.args[12], copy.args[18]]
        most = max(most, chunks(rows, columns, int(per)))  # type: ignore[call-overload]
    return Launch("copies", "copies", tuple(args), (most, len(copies)), (profile.group, 1),
                  {"T": copies[0].defines["T"], "COUNT": len(copies), "UNIT": int(unit)})
