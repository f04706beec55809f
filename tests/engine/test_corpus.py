"""The corpus can be had, and the runtimes take of it what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import oracle
from tests.engine.corpus import CORPUS, SAMPLE, CorpusModel, nets


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


@pytest.mark.parametrize("path", nets(), ids=lambda p: p.stem)
def test_the_small_nets_run_and_answer_alike(path: Path) -> None:
    blob = path.read_bytes()
    inputs = oracle.random_inputs(blob, seed=1)
    answers = [oracle.run(blob, inputs, runtime) for runtime in oracle.available()]
    for answer, first in zip(answers[-1], answers[0], strict=True):
        if path.stem.endswith(("float32", "float16")):
            oracle.assert_close(answer, first)
        elif path.stem.endswith("int8"):
            oracle.assert_within_steps(answer, first, steps=12)
    assert path.stat().st_size < 200_000
