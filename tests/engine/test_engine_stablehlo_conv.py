"""StableHLO's convolution, which no runtime here takes, equals its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.errors import UnsupportedOp
from tests.engine import oracle
from tests.engine.builder import Spec, single_op

# Layouts by letter: images N, channels C (O of weights), places x, y, z.
CASES: dict[str, dict[str, Any]] = {
    "volumes apart": {"x": (2, 3, 4, 3, 5), "w": (3, 4, 3, 2, 3), "lhs": (2, 1, 3),
                      "pads": ((1, 1), (0, 1), (2, 2)), "layouts": ("NCxyz", "COxyz", "NOxyz")},
    "volumes": {"x": (1, 5, 4, 6, 2), "w": (2, 2, 3, 2, 3), "strides": (2, 1, 2),
                "layouts": ("NxyzC", "xyzCO", "NxyzO")},
    "pictures apart": {"x": (2, 5, 6, 3), "w": (4, 3, 2, 3), "lhs": (2, 2), "rhs": (1, 2),
                       "pads": ((2, 1), (0, 3)), "layouts": ("NxyC", "OxyC", "NxyO")},
    "groups": {"x": (1, 4, 7, 8), "w": (6, 2, 3, 3), "strides": (2, 1), "groups": 2,
               "pads": ((1, 1), (1, 1)), "layouts": ("NCxy", "OCxy", "NOxy")},
}


def options(case: dict[str, Any]) -> dict[str, Any]:
    places = [a for a in case["layouts"][0] if a in "xyz"]
    ones = (1,) * len(places)
    x, w, y = case["layouts"]

    def at(layout: str) -> list[int]:
        return [layout.index(a) for a in places]

    return {"windowStrides": case.get("strides", ones), "lhsDilation": case.get("lhs", ones),
            "padding": np.ravel(case.get("pads", ((0, 0),) * len(ones))).tolist(),
            "rhsDilation": case.get("rhs", ones), "windowReversal": [False] * len(ones),
            "inputBatchDimension": x.index("N"), "inputFeatureDimension": x.index("C"),
            "inputSpatialDimensions": at(x), "kernelInputFeatureDimension": w.index("C"),
            "kernelOutputFeatureDimension": w.index("O"), "kernelSpatialDimensions": at(w),
            "outputBatchDimension": y.index("N"), "outputFeatureDimension": y.index("O"),
            "outputSpatialDimensions": at(y), "featureGroupCount": case.get("groups", 1),
            "batchGroupCount": case.get("batches", 1)}


def convolved(case: dict[str, Any], x: oracle.Array, w: oracle.Array) -> oracle.Array:
    layouts = case["layouts"]
    places = [a for a in layouts[0] if a in "xyz"]
    ones = (1,) * len(places)
    order = "".join(places)
    x = np.einsum(f"{layouts[0]}->NC{order}", x).astype("f8")
    w = np.einsum(f"{layouts[1]}->OC{order}", w).astype("f8")
    apart, rates = case.get("lhs", ones), case.get("rhs", ones)
    wide = np.zeros((*x.shape[:2], *((e - 1) * a + 1 for e, a in zip(x.shape[2:], apart,
                                                                     strict=True))))
    wide[:, :, *(slice(None, None, a) for a in apart)] = x
    wide = np.pad(wide, [(0, 0), (0, 0), *case.get("pads", ((0, 0),) * len(ones))])
    axes = tuple(range(2, 2 + len(ones)))
    reach = [(k - 1) * r + 1 for k, r in zip(w.shape[2:], rates, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(wide, reach, axes)
    views = views[:, :, *(slice(None, None, s) for s in case.get("strides", ones)),
                  *(slice(None, None, r) for r in rates)]
    inner, groups = "abc"[:len(ones)], case.get("groups", 1)
    parts = [np.einsum(f"NC{order}{inner},OC{inner}->NO{order}", v, k)
             for v, k in zip(np.split(views, groups, 1), np.split(w, groups), strict=True)]
    return np.einsum(f"NO{order}->{layouts[2]}", np.concatenate(parts, 1)).astype("f4")


@pytest.mark.parametrize("name", CASES)
def test_convolutions(runtime: Runtime, name: str) -> None:
    case, rng = CASES[name], np.random.default_rng(5)
    x, w = (rng.uniform(-1, 1, case[k]).astype("f4") for k in ("x", "w"))
    expected = convolved(case, x, w)
    blob = single_op("STABLEHLO_CONVOLUTION", [Spec(x.shape), w], [Spec(expected.shape)],
                     options(case))
    loaded = LoadedModel(runtime, read(blob))
    try:
        (actual,) = loaded.run([x])
        assert {r.place for r in loaded.explain()} == {"card"}
    finally:
        loaded.close()
    oracle.assert_close(actual, expected, 1e-6)


def test_a_form_that_nobody_knows_is_refused(runtime: Runtime) -> None:
    case = {**CASES["groups"], "batches": 2}
    blob = single_op("STABLEHLO_CONVOLUTION", [Spec(case["x"]), np.zeros(case["w"], "f4")],
                     [Spec((1, 6, 2, 8))], options(case))
    with pytest.raises(UnsupportedOp, match="STABLEHLO_CONVOLUTION"):
        LoadedModel(runtime, read(blob)).prepare()
