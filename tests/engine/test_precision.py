"""Weights kept as float16: half the memory, answers as close as float16 allows."""

from __future__ import annotations

import numpy as np
import pytest

from app.engine.reader import read
from app.engine.runtime import LoadedModel, Runtime
from tests.engine import oracle
from tests.engine.builder import Spec, single_op
from tests.engine.corpus import NETS


@pytest.mark.parametrize("net", ["unet_float32", "text_float32"])
def test_half_weights(runtime: Runtime, net: str) -> None:
    blob = (NETS / f"{net}.tflite").read_bytes()
    inputs = oracle.random_inputs(blob)
    full, half = (LoadedModel(runtime, read(blob), fp16_storage=wanted) for wanted in (False, True))
    for ours, exact in zip(half.run(inputs), full.run(inputs), strict=True):
        oracle.assert_close(ours, exact, tolerance=5e-3)
    assert half.nbytes < full.nbytes


@pytest.mark.parametrize("outputs", [1, 33])
def test_weights_too_large_for_float16_stay_float32(runtime: Runtime, outputs: int) -> None:
    weights = np.full((outputs, 8), 1e6, "f4")
    blob = single_op("FULLY_CONNECTED", [Spec((1, 8)), weights, None], [Spec((1, outputs))])
    inputs = oracle.random_inputs(blob)
    (y,) = LoadedModel(runtime, read(blob), fp16_storage=True).run(inputs)
    oracle.assert_close(y, oracle.run(blob, inputs)[0])
