"""Several of a model's own batches at once: larger plans where they give the same answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from app.engine.blame import BROKEN
from app.engine.ir import Data
from app.engine.trials import drawn
from app.errors import InvalidInput, ServingError
from app.tensors import together

log = logging.getLogger("app.engine")

# Inputs, and how many of the model's own batches they are.
Run = Callable[[Sequence[Data], int], list[Data]]
# Inputs of so many batches, and how many of them are to run as one.
Ready = Callable[[Sequence[Data], int, int], bool]
# Batches of one plan; larger requests are cut into these, so that few plans serve all sizes.
SIZES = (16, 8, 4, 2, 1)
TOLERANCE = 1e-4
# Weight of the newest time in the running estimates.
NEW = 0.2
# A larger size is taken unless a smaller one is faster by more than clocks are wrong.
FASTER = 0.95
# So often the largest is taken all the same: its time may have been another model's fault. Odd, or
# it might always fall on the second half of a request.
AGAIN = 61


class Costs:
    """What a batch costs in plans of each size, by the clock: a card is faster with more at once,
    but caches hold only so many."""

    def __init__(self) -> None:
        # Units: seconds a batch; None while the size has run only once, which is slower.
        self._seconds: dict[int, float | None] = {}
        self._chosen = 0

    def choose(self, sizes: Sequence[int]) -> int:
        """The best of some sizes, given from the largest on; one that is not known goes first."""
        self._chosen += 1
        best, least = sizes[0], self._seconds.get(sizes[0])
        if least is None or self._chosen % AGAIN == 0:
            return best
        for size in sizes[1:]:
            seconds = self._seconds.get(size)
            if seconds is None:
                return size
            if seconds < FASTER * least:
                best, least = size, seconds
        return best

    def learn(self, size: int, seconds: float) -> None:
        """Take in how long one plan of that size took."""
        known = self._seconds.get(size)
        if known is None:
            self._seconds[size] = seconds / size if size in self._seconds else None
        else:
            self._seconds[size] = known + NEW * (seconds / size - known)


class Batcher:
    """Runs many batches of one model through plans of a few sizes.

    ready tells whether so many batches as are given may run as one already: making a plan can
    take a compiler many seconds, in which smaller ones do as well.

    Whether a model may be stretched is not written in the file: a reshape or a sum may mix the
    rows. So stretched answers are compared with row by row answers, once for each size, which has
    kernels of its own: to numbers drawn at random, and to the first that are asked for.
    """

    def __init__(self, run: Run, ready: Ready = lambda inputs, runs, size: True) -> None:
        self._run, self._ready = run, ready
        self._agrees: dict[int, bool] = {}
        self._costs = Costs()

    def apart(self, several: Sequence[Data], count: int = 2) -> bool:
        """Tell whether so many batches give the same answers together as one by one."""
        if count not in self._agrees:
            self._agrees[count] = self._compare(several, count)
            if not self._agrees[count] and self._agrees.get(2):
                log.warning("%d batches at once do not get the answers that 2 get; they run in "
                            "smaller sizes: see the driver's version", count)
        return self._agrees[count]

    def run(self, inputs: Sequence[Data], runs: int) -> list[Data]:
        """Run `runs` batches.

        Shapes: dimension 0 of every input is runs times the model's own; that of every result is
                stretched likewise, or results are stacked where they have no batch.
        Raises: InvalidInput if each batch has results of its own shape.
        """
        if runs == 1:
            return self._run(inputs, 1)
        two, own = _part(inputs, 0, 2, runs), inputs[0].shape[0] // runs
        stretches = (2 in self._agrees or self._ready(inputs, runs, 2)) and self.apart(two)
        done, parts = 0, []
        while done < runs:
            size = self._size(inputs, runs, runs - done) if stretches else 1
            began = perf_counter()
            parts.append(self._run(_part(inputs, done, done + size, runs), size))
            self._costs.learn(size, perf_counter() - began)
            done += size
        if not all(_by_row(result, own) for result in parts[0]):
            # How they are joined must not depend on what is ready.
            self.apart(two)
        return [self._join([p[i] for p in parts], own) for i in range(len(parts[0]))]

    def _size(self, inputs: Sequence[Data], runs: int, left: int) -> int:
        """The best size that is ready; those that fit and are not are made ready meanwhile."""
        return self._costs.choose([s for s in SIZES if s == 1 or (
            s <= left and self._ready(inputs, runs, s)
            and self.apart(_part(inputs, 0, s, runs), s))])

    def _compare(self, several: Sequence[Data], count: int) -> bool:
        rng = np.random.default_rng(0)
        try:
            # A caller may have sent the same twice, which answers the same however it is mixed.
            if not self._agree([drawn(rng, a.shape, a.dtype.name) for a in several], count):
                return False
        except InvalidInput:
            # What this model takes cannot be drawn.
            pass
        return self._agree(several, count)

    def _agree(self, several: Sequence[Data], count: int) -> bool:
        single = [self._run(_part(several, i, i + 1, count), 1) for i in range(count)]
        try:
            joined = self._run(several, count)
        except (InvalidInput, ServingError, *BROKEN):
            # Made for one at a time.
            return False
        return all(_alike(rows) and _same(both, np.concatenate(rows))
                   for both, *rows in zip(joined, *single, strict=True))

    def _join(self, parts: list[Data], own: int) -> Data:
        if self._agrees.get(2):
            return np.concatenate(parts)
        return together(parts, _by_row(parts[0], own))


def _alike(rows: Sequence[Data]) -> bool:
    """Tell whether results may be rows: data may decide how large each is."""
    return rows[0].ndim > 0 and len({row.shape for row in rows}) == 1


def _by_row(result: Data, own: int) -> bool:
    return result.ndim > 0 and result.shape[0] == own


def _part(inputs: Sequence[Data], begin: int, end: int, runs: int) -> list[Data]:
    return [a[begin * (a.shape[0] // runs):end * (a.shape[0] // runs)] for a in inputs]


def _same(actual: Data, expected: Data) -> bool:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return False
    if actual.dtype.kind == "c":
        # Numbers one by one: of a complex one numpy compares the size alone.
        kind = actual.real.dtype
        actual, expected = (np.ascontiguousarray(a).view(kind) for a in (actual, expected))
    if actual.dtype.kind == "f":
        finite = expected[np.isfinite(expected)]
        room = TOLERANCE * float(np.ptp(finite)) if finite.size else 0.0
        return bool(np.allclose(actual, expected, rtol=1e-4, atol=room, equal_nan=True))
    if actual.dtype.kind in "iu" and actual.dtype.itemsize < 4:
        return bool(np.abs(actual.astype("i8") - expected.astype("i8")).max(initial=0) <= 1)
    # Truths, labels and strings are the same or they are not.
    return bool(np.array_equal(actual, expected))
