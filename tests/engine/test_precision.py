"""Numbers kept as float16: half the memory, answers as close as float16 allows."""

from __future__ import annotations

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
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


@pytest.mark.parametrize("runtime", ["rx580"], indirect=True)
def test_cards_keep_activations_as_float16_too(runtime: Runtime) -> None:
    blob = (NETS / "unet_float32.tflite").read_bytes()
    inputs = oracle.random_inputs(blob)
    models = [LoadedModel(runtime, read(blob), fp16_storage=wanted) for wanted in (False, True)]
    (exact,), (ours,) = (model.run(inputs) for model in models)
    full, half = (model.prepare([a.shape for a in inputs]).plan for model in models)
    assert half.arena_bytes < 0.6 * full.arena_bytes
    away = float(np.sqrt(np.mean((ours - exact).astype("f8") ** 2)))
    assert 0 < away <= 2e-3 * oracle.spread(exact)


@pytest.mark.parametrize("runtime", ["rx580"], indirect=True)
def test_a_batch_of_halves_is_its_rows(runtime: Runtime) -> None:
    blob = (NETS / "mobile_float32.tflite").read_bytes()
    model = LoadedModel(runtime, read(blob), fp16_storage=True)
    rows = [oracle.random_inputs(blob, seed) for seed in range(3)]
    together = model.run([np.concatenate(own) for own in zip(*rows, strict=True)])
    for position, row in enumerate(rows):
        for ours, alone in zip(together, model.run(row), strict=True):
            # Products are added in another order for another number of rows.
            oracle.assert_close(ours[position:position + 1], alone, 5e-3)
