"""Convolutions by weights that the model computes answer as by the same weights in the file."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from app.engine.ir import Const
from app.engine.loaded import LoadedModel
from app.engine.ops import computed
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.tensors import Quantization
from bench.kernels.plans import launches, plan_blob
from tests.engine import oracle
from tests.engine.builder import Spec, single_op

SAME = {"padding": "SAME", "strideH": 1, "strideW": 1}
VOLUME = {**SAME, "strideD": 1, "dilationDFactor": 1, "dilationHFactor": 1, "dilationWFactor": 1}
# Operation, extents of data, weights and result, options.
CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...], Any]] = {
    "odd": ("CONV_2D", (2, 9, 8, 5), (7, 3, 3, 5), (2, 9, 8, 7), SAME),
    "wide": ("CONV_2D", (1, 9, 9, 16), (24, 3, 3, 16), (1, 9, 9, 24), SAME),
    "points": ("CONV_2D", (1, 9, 8, 5), (33, 1, 1, 5), (1, 9, 8, 33), SAME),
    "groups": ("CONV_2D", (1, 9, 8, 12), (18, 3, 3, 4), (1, 9, 8, 18), SAME),
    "strides": ("CONV_2D", (1, 9, 8, 5), (7, 3, 2, 5), (1, 4, 4, 7),
                {"padding": "VALID", "strideH": 2, "strideW": 2,
                 "fusedActivationFunction": "RELU"}),
    "depthwise": ("DEPTHWISE_CONV_2D", (1, 9, 8, 5), (1, 3, 3, 5), (1, 9, 8, 5),
                  {**SAME, "depthMultiplier": 1}),
    "multiplied": ("DEPTHWISE_CONV_2D", (1, 9, 8, 5), (1, 3, 3, 10), (1, 9, 8, 10),
                   {**SAME, "depthMultiplier": 2}),
    "transposed": ("TRANSPOSE_CONV", (1, 5, 4, 6), (7, 3, 3, 6), (1, 10, 8, 7),
                   {"padding": "SAME", "strideH": 2, "strideW": 2}),
    "volume": ("CONV_3D", (1, 5, 6, 7, 3), (2, 3, 3, 3, 8), (1, 5, 6, 7, 8), VOLUME),
    "volume transposed": ("CONV_3D_TRANSPOSE", (1, 3, 4, 5, 6), (2, 3, 3, 4, 6), (1, 3, 4, 5, 4),
                          VOLUME),
}


def blob(name: str, weights: Any, x: Spec, y: Spec) -> bytes:
    op, options = CASES[name][0], CASES[name][4]
    inputs = [weights, x] if "TRANSPOSE" in op else [x, weights]
    extents = [np.array(y.shape, "i4")] if "TRANSPOSE" in op else []
    bias: list[Any] = [] if "TRANSPOSE" in op else [np.linspace(-1, 1, y.shape[-1], dtype="f4")]
    if x.dtype == "int8":
        bias = [(np.arange(y.shape[-1], dtype="i4"), Quantization((0.0002,), (0,)))]
    return single_op(op, [*extents, *inputs, *bias], [y], options)


def check(runtime: Runtime, name: str, specs: tuple[Spec, Spec, Spec], fp16: bool = False) -> None:
    x, w, y = specs
    rng = np.random.default_rng(3)
    data, weights = (oracle.random_array(rng, s.shape, s.dtype) for s in (x, w))
    constant = (weights, w.quant) if w.quant else weights
    (expected,) = oracle.run(blob(name, constant, x, y), [data])
    model = LoadedModel(runtime, read(blob(name, w, x, y)), fp16_storage=fp16)
    given = [weights, data] if "TRANSPOSE" in CASES[name][0] else [data, weights]
    try:
        (actual,) = model.run(given)
        assert not [p for p in model.prepare().plan.places if p.where == "host"]
    finally:
        model.close()
    oracle.assert_same(actual, expected)


@pytest.mark.parametrize("name", CASES)
def test_computed_weights(runtime: Runtime, name: str) -> None:
    x, w, y = (Spec(shape) for shape in CASES[name][1:4])
    check(runtime, name, (x, w, y))


def test_computed_weights_are_never_halved(runtime: Runtime) -> None:
    x, w, y = (Spec(shape) for shape in CASES["wide"][1:4])
    check(runtime, "wide", (x, w, y), fp16=True)


def test_computed_weights_of_integers(runtime: Runtime) -> None:
    shapes, steps = CASES["odd"][1:4], ((0.02, 3), (0.01, 0), (0.2, -4))
    x, w, y = (Spec(shape, "int8", Quantization((scale,), (zero,)))
               for shape, (scale, zero) in zip(shapes, steps, strict=True))
    check(runtime, "odd", (x, w, y))


def test_plans_share_the_tables_of_their_layouts() -> None:
    shapes = [Spec(shape) for shape in CASES["wide"][1:4]]
    made = [plan_blob(blob("wide", shapes[1], shapes[0], shapes[2])) for _ in range(2)]
    tables = [[a.tensor.data for s in launches(p) if s.kernel == "pick" for a in s.args
               if isinstance(a, Const)] for p in made]
    assert tables[0]
    assert [id(t) for t in tables[0]] == [id(t) for t in tables[1]]
    del made, tables
    gc.collect()
    assert not [key for key in computed.PLACES if key[0] == shapes[1].shape]
