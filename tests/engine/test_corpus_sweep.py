"""Every published model that can be had, whole, on what it was made for: as TFLite answers."""

from __future__ import annotations

import numpy as np
import pytest

from app.engine.cpu.whole import WholeModel
from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.engine.trials import default_shapes
from tests.engine import oracle
from tests.engine.corpus import SAMPLE, CorpusModel
from tests.engine.corpus_more import ALL
from tests.engine.real_inputs import real_inputs

OWN = pytest.mark.parametrize("runtime", ["own"], indirect=True)
CARD = pytest.mark.parametrize("runtime", ["rx580"], indirect=True)
QUICK = {m.name for m in SAMPLE}
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ALL]
STEPS = 4
# Of the output's range, root mean square: what numbers kept as float16 may cost.
HALF_TOLERANCE = 3e-2


@OWN
@pytest.mark.parametrize("name", EVERY)
def test_a_published_model(runtime: Runtime, name: str) -> None:
    check(runtime, ALL[name])


@CARD
@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_published_model_in_the_cards_shape(runtime: Runtime, name: str) -> None:
    check(runtime, ALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_published_model_with_numbers_as_float16(runtime: Runtime, name: str) -> None:
    blob = ALL[name].blob()
    full, half = (LoadedModel(runtime, read(blob), fp16_storage=wanted) for wanted in (False, True))
    try:
        inputs = inputs_of(ALL[name], full)
        for ours, exact in zip(half.run(inputs), full.run(inputs), strict=True):
            if exact.dtype.kind == "f":
                away = float(np.sqrt(np.mean((ours - exact).astype("f8") ** 2)))
                assert away <= HALF_TOLERANCE * oracle.spread(exact)
        assert half.nbytes <= full.nbytes
    finally:
        full.close()
        half.close()


def inputs_of(model: CorpusModel, loaded: LoadedModel) -> list[oracle.Array]:
    graph = loaded.model.graphs[0]
    return real_inputs(model, default_shapes(graph), [t.dtype for t in graph.inputs])


def check(runtime: Runtime, model: CorpusModel) -> None:
    blob = model.blob()
    loaded = LoadedModel(runtime, read(blob))
    try:
        inputs = inputs_of(model, loaded)
        if model.stateful:
            check_steps(loaded, blob, inputs)
            return
        outputs = loaded.run(inputs)
    finally:
        loaded.close()
    if model.runs_on:
        oracle.assert_model_same(blob, inputs, outputs)
        return
    # TFLite's kernels where it has them, numpy where not: nothing of the card's.
    for actual, expected in zip(outputs, WholeModel(read(blob)).run(inputs), strict=True):
        oracle.assert_close(actual, expected)


def check_steps(loaded: LoadedModel, blob: bytes, first: list[oracle.Array]) -> None:
    rng = np.random.default_rng(9)
    steps = [first, *([oracle.random_array(rng, x.shape, x.dtype) for x in first]
                      for _ in range(STEPS - 1))]
    judges = [oracle.run_steps(blob, steps, runtime) for runtime in oracle.available()]
    for step, outputs in enumerate(loaded.run_steps(steps)):
        for position, actual in enumerate(outputs):
            answers = [judge[step][position].astype("f8") for judge in judges]
            gap = max(np.abs(a - answers[-1]).max() for a in answers)
            nearest = min(np.abs(actual.astype("f8") - a).max() for a in answers)
            assert nearest <= max(gap, 1.0)
