"""What integer products read as bytes is written as bytes by what makes it, where that can.

A launch with an epilogue has every value in a register before it stores it; to read them all once
more, only to make bytes of them, takes longer than to store the bytes beside the floats, or in
their place where nobody else reads those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from app.engine.ir import Launch, Tensor
from app.engine.placement import Draft, resolve
from app.engine.residents import uses_of
from app.engine.slices import PITCH, RESULT, argument_places

# Kernels that store a result by KEEP.
MAKERS = {"dots", "conv", "depthwise", "elementwise"}
PARAMS = ", __global uchar* restrict bytes, int zero"
STORE = " BYTES_STORE(v, bytes + idx, zero);"
# Where the arguments of kernels/bytes.cl are.
LINE, HEIGHT, PADDED, WIDTH, ZERO = 3, 2, 5, 6, 10
# A window is read four bytes at a time: only what ends there needs nothing behind it.
WORD = 4


def write_bytes(draft: Draft, kept: Iterable[Tensor]) -> None:
    """Let launches write the bytes of their results; equal bytes are made once.

    kept: tensors that something else than the draft's steps reads or writes.
    """
    steps, outside = draft.steps, {resolve(draft.views, t)[0] for t in kept}
    aliased = {resolve(draft.views, t)[0] for t in draft.views}
    uses = uses_of(draft)
    gone = _shared(steps, uses)
    for at, step in enumerate(steps):
        if at in gone or not _flat(step):
            continue
        assert isinstance(step, Launch)
        x = step.args[0]
        if not isinstance(x, Tensor) or x in draft.views or x in aliased or not x.shape or (
                x.shape[-1] % WORD):
            continue
        others = [i for i in uses[x] if i != at and i not in gone]
        makers = [i for i in others if i < at and _makes(steps[i], x)]
        if len(makers) != 1 or makers[0] != others[0]:
            continue
        alone = len(others) == 1 and x not in outside
        steps[makers[0]] = _with_bytes(steps[makers[0]], step, alone)
        gone.add(at)
    draft.steps = [s for i, s in enumerate(steps) if i not in gone]


def _flat(step: Any) -> bool:
    """Whether a step makes bytes of a tensor without padding."""
    return (isinstance(step, Launch) and step.kernel == "bytes"
            and _numbers(step, HEIGHT, LINE) == _numbers(step, PADDED, WIDTH))


def _numbers(step: Launch, *places: int) -> tuple[int, ...]:
    return tuple(int(step.args[p]) for p in places)  # type: ignore[call-overload]


def _shared(steps: list[Any], uses: dict[Tensor, list[int]]) -> set[int]:
    """Let what reads equal bytes read the first of them; the steps that made the others."""
    first: dict[Any, Tensor] = {}
    gone: set[int] = set()
    for at, step in enumerate(steps):
        if not (isinstance(step, Launch) and step.kernel == "bytes"):
            continue
        x, made = step.args[:2]
        assert isinstance(made, Tensor)
        known = first.setdefault((x, *_numbers(step, *range(2, len(step.args)))), made)
        if known is not made:
            gone.add(at)
            for i in uses[made]:
                steps[i] = replace(steps[i], args=tuple(known if a is made else a
                                                        for a in steps[i].args))
    return gone


def _makes(step: Any, x: Tensor) -> bool:
    if not isinstance(step, Launch) or step.kernel not in MAKERS:
        return False
    places = argument_places(step)
    if [i for i, a in enumerate(step.args) if a is x] != [places[RESULT]]:
        return False
    if PITCH not in places:
        return True
    pitch, outputs, groups = _numbers(step, *(places[n] for n in (PITCH, "GN", "GROUPS")))
    # Else it is a slice of x.
    return pitch == outputs * groups


def _with_bytes(maker: Any, step: Launch, alone: bool) -> Launch:
    """The launch that also, or only, stores what a step would make of its result."""
    made, defines, args = step.args[1], dict(maker.defines), list(maker.args)
    defines["EPI_PARAMS"] = f"{defines['EPI_PARAMS']}{PARAMS}"
    defines["EPILOGUE"] = f"{defines['EPILOGUE']}{STORE}"
    if alone:
        defines["BYTES_ONLY"] = 1
        args[argument_places(maker)[RESULT]] = made
    args += [made, np.int32(_numbers(step, ZERO)[0])]
    launch: Launch = replace(maker, args=tuple(args), defines=defines)
    return launch
