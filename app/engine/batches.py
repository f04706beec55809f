"""Several of a model's own batches at once: larger plans where they give the same answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.engine.ir import Data
from app.errors import InvalidInput, ServingError

Run = Callable[[Sequence[Data]], list[Data]]
# Inputs of so many batches, and how many of them are to run as one.
Ready = Callable[[Sequence[Data], int, int], bool]
# Batches of one plan; larger requests are cut into these, so that few plans serve all sizes.
SIZES = (16, 8, 4, 2, 1)
TOLERANCE = 1e-4


class Batcher:
    """Runs many batches of one model through plans of a few sizes.

    ready tells whether so many batches as are given may run as one already: making a plan can
    take a compiler many seconds, in which smaller ones do as well.

    Whether a model may be stretched is not written in the file: a reshape or a sum may mix the
    rows. So the first stretched answer is compared with row by row answers, once per model.
    """

    def __init__(self, run: Run, ready: Ready = lambda inputs, runs, size: True) -> None:
        self._run, self._ready = run, ready
        self._stretches: bool | None = None

    def apart(self, two: Sequence[Data]) -> bool:
        """Tell whether two batches give the same answers together as one by one."""
        if self._stretches is None:
            self._stretches = self._compare(two)
        return self._stretches

    def run(self, inputs: Sequence[Data], runs: int) -> list[Data]:
        """Run `runs` batches.

        Shapes: dimension 0 of every input is runs times the model's own; that of every result is
                stretched likewise, or results are stacked where they have no batch.
        """
        if runs == 1:
            return self._run(inputs)
        two, own = _part(inputs, 0, 2, runs), inputs[0].shape[0] // runs
        stretches = ((self._stretches is not None or self._ready(inputs, runs, 2))
                     and self.apart(two))
        done, parts = 0, []
        while done < runs:
            size = self._size(inputs, runs, runs - done) if stretches else 1
            parts.append(self._run(_part(inputs, done, done + size, runs)))
            done += size
        if not all(_by_row(result, own) for result in parts[0]):
            # How they are joined must not depend on what is ready.
            self.apart(two)
        return [self._join([p[i] for p in parts], own) for i in range(len(parts[0]))]

    def _size(self, inputs: Sequence[Data], runs: int, left: int) -> int:
        """The largest size that is ready, or 1; the largest that fits is made ready meanwhile."""
        return next(s for s in SIZES
                    if s == 1 or (s <= left and self._ready(inputs, runs, s)))

    def _compare(self, two: Sequence[Data]) -> bool:
        single = [self._run(_part(two, i, i + 1, 2)) for i in range(2)]
        try:
            both = self._run(two)
        except (InvalidInput, ServingError):
            return False
        return all(_same(b, np.concatenate([x, y])) if x.ndim else False
                   for b, x, y in zip(both, *single, strict=True))

    def _join(self, parts: list[Data], own: int) -> Data:
        together = self._stretches or _by_row(parts[0], own)
        return np.concatenate(parts) if together else np.stack(parts)


def _by_row(result: Data, own: int) -> bool:
    return result.ndim > 0 and result.shape[0] == own


def _part(inputs: Sequence[Data], begin: int, end: int, runs: int) -> list[Data]:
    return [a[begin * (a.shape[0] // runs):end * (a.shape[0] // runs)] for a in inputs]


def _same(actual: Data, expected: Data) -> bool:
    if actual.shape != expected.shape:
        return False
    if actual.dtype.kind != "f":
        return bool(np.abs(actual.astype("i8") - expected.astype("i8")).max(initial=0) <= 1)
    finite = expected[np.isfinite(expected)]
    room = TOLERANCE * float(np.ptp(finite)) if finite.size else 0.0
    return bool(np.allclose(actual, expected, rtol=1e-4, atol=room, equal_nan=True))
