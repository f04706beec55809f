"""The corpus can be had, and the runtimes take of it what the table says."""

from __future__ import annotations

import pytest

from tests.engine import oracle
from tests.engine.corpus import CORPUS, SAMPLE, CorpusModel


@pytest.mark.parametrize("name", [m.name for m in SAMPLE])
def test_the_sample_is_there_and_runs(name: str) -> None:
    check(CORPUS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [m.name for m in CORPUS.values() if not m.sample])
def test_the_rest_is_there_and_runs(name: str) -> None:
    check(CORPUS[name])


def check(model: CorpusModel) -> None:
    blob = model.blob()
    for runtime in oracle.available():
        if runtime in model.runs_on:
            assert oracle.run(blob, model.inputs(blob), runtime)
        else:
            with pytest.raises(RuntimeError, match="custom op"):
                oracle.interpreter(blob, runtime).allocate_tensors()
