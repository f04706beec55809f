"""Small launches that follow each other run as one, on CPUs: a driver takes longer to start one
than it takes to run.

A chain is one work-item, which does what its parts' work-items would do, in their order. On a
card that would leave all lanes but one idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from app.engine.ir import Const, Launch, Scratch, Tensor
from app.engine.profile import DeviceProfile

# What starting a kernel costs, and what one core does meanwhile (PoCL, AVX2 and AVX-512), by dot
# products of integers where it can.
# Units: seconds, FLOP/s, bytes/s.
START = 3e-6
FLOPS = 5e10
DOTS = 3e11
BYTES = 5e10
# Starts that one part may last, on a device of one core: of more cores it leaves all but one idle.
PART = 10
# A chain is a program of its own, which the compiler takes seconds for: it must save this share of
# the time of its plan.
SHARE = 0.1
# A kernel's arguments fit into 1024 bytes on every device.
POINTERS = 100


def chained(steps: Sequence[Any], profile: DeviceProfile) -> list[Any]:
    """The steps with chains in the place of small launches that follow each other."""
    if not profile.is_cpu:
        return list(steps)
    made: list[Any] = []
    for small, group in groupby(steps, lambda step: _small(step, profile)):
        run = list(group)
        made += map(_chain, _cut(run)) if small else run
    saved = START * (len(steps) - len(made))
    total = sum(START + seconds(s) for s in steps if isinstance(s, Launch)) if saved else 0.0
    return made if saved >= SHARE * total else list(steps)


def _small(step: Any, profile: DeviceProfile) -> bool:
    most = PART * START / profile.compute_units
    return (isinstance(step, Launch) and _computing(step) <= most and seconds(step) <= most
            and set(step.local_size) == {1}
            and all(isinstance(a, Tensor | Const | Scratch | np.int32 | np.float32)
                    for a in step.args))


def seconds(launch: Launch) -> float:
    """What one core of a CPU takes for a launch, about."""
    moved = sum(a.tensor.nbytes if isinstance(a, Const) else a.nbytes for a in launch.args
                if isinstance(a, Tensor | Const | Scratch))
    return _computing(launch) + moved / BYTES


def _computing(launch: Launch) -> float:
    return launch.flops / (DOTS if launch.source == "dots" else FLOPS)


def _cut(run: Sequence[Launch]) -> list[list[Launch]]:
    """A run in pieces that do not have too many constants."""
    pieces: list[list[Launch]] = [[]]
    constants: set[Any] = set()
    for launch in run:
        own = {(a.tensor, a.label) if isinstance(a, Const) else a for a in launch.args
               if isinstance(a, Const) or (isinstance(a, Tensor) and a.data is not None)}
        if pieces[-1] and len(constants | own) > POINTERS:
            pieces.append([])
            constants = set()
        constants |= own
        pieces[-1].append(launch)
    return pieces


def _chain(parts: Sequence[Launch]) -> Launch:
    if len(parts) == 1:
        return parts[0]
    args = tuple(dict.fromkeys(a for p in parts for a in p.args if not isinstance(a, np.generic)))
    return Launch("chain", "chain", args, (1,), (1,), {}, sum(p.flops for p in parts),
                  tuple(parts))
