"""How far one backend's answer is from another's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.tensors import Array, pairs


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What two sound backends may differ by.

    Units:  relative to the largest magnitude of the expected output; absolute in the output's own
            scale; steps of a quantised or integer output. With mean the root mean square of a float
            output's differences counts, not the largest: where many numbers are rounded, some
            pixels at an edge fall on its other side.
    Source: the two TFLite runtimes differ from each other by up to 7 steps on int8 models.
    """

    relative: float = 1e-3
    absolute: float = 1e-5
    steps: float = 7.0
    mean: bool = False

    def allowed(self, expected: Array) -> float:
        """Give the largest difference allowed for one output."""
        if expected.dtype.kind not in "fc":
            return self.steps
        finite = np.abs(expected[np.isfinite(expected)]).astype(np.float64)
        return self.absolute + self.relative * float(finite.max(initial=0.0))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found.

    Units: ratio of the difference to the allowed one; above 1 is wrong.
    """

    ratio: float
    output: str = ""
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Within the tolerance; a NaN never is."""
        return self.ratio <= 1.0


def compare(
    expected: Mapping[str, Array], found: Mapping[str, Array], tolerance: Tolerance
) -> Verdict:
    """Compare two answers of one model, output by output; the worst one is the verdict."""
    worst = Verdict(0.0)
    for name, want in expected.items():
        got = found.get(name)
        if got is None or got.shape != want.shape or got.dtype != want.dtype:
            return Verdict(math.inf, name, "it has another shape or type")
        ratio = _ratio(want, got, tolerance)
        if ratio > worst.ratio:
            worst = Verdict(ratio, name, f"it is {ratio:.3g} times the allowed difference off")
    return worst


def _ratio(want: Array, got: Array, tolerance: Tolerance) -> float:
    if want.dtype.kind in "OSUb":
        return 0.0 if np.array_equal(want, got) else math.inf
    if want.dtype.kind == "c":
        want, got = pairs(want), pairs(got)
    wide_want, wide_got = want.astype(np.float64), got.astype(np.float64)
    strange = ~np.isfinite(wide_want)
    # Infinities and NaNs must stand where they stood.
    if not np.array_equal(wide_want[strange], wide_got[strange], equal_nan=True):
        return math.inf
    difference = np.abs(wide_want[~strange] - wide_got[~strange])
    if not np.isfinite(difference).all():
        return math.inf
    off = float(difference.max(initial=0.0))
    if tolerance.mean and want.dtype.kind == "f" and difference.size:
        off = math.sqrt(float(np.mean(difference * difference)))
    return off / tolerance.allowed(want)


def same_bits(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """Tell whether two answers are equal to the bit."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and (
            np.array_equal(one[name], other[name])
            if one[name].dtype == object
            else one[name].tobytes() == other[name].tobytes()
        )
        for name in one
    )
