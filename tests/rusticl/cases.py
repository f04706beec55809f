"""Models, inputs and TFLite's answers for a place where there is no TFLite."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.engine import oracle
from tests.engine.corpus import CORPUS
from tests.engine.safety.test_small_halves import EVERY, between_halves, exact
from tests.engine.safety.test_small_shapes import CASES, SMALL_NETS, blob_of
from tests.rusticl.inside import HALVES

# llvmpipe does half a GFLOP a second: the small models of the corpus.
MODELS = ("face_detection_short_range", "embedding_model", "oww_alexa")


def write_cases(folder: Path, models: Iterable[str] = MODELS) -> list[str]:
    """Write one model.tflite and one .npz per case; give the names."""
    written = []
    for name in (*CASES, *SMALL_NETS):
        blob = blob_of(name)
        plain = name.startswith(("quantised", "hybrid"))
        written.append(_write(folder, name, blob, oracle.random_inputs(blob), plain))
    for name, case in EVERY.items():
        blob = between_halves(case)
        inputs = [exact(a) for a in oracle.random_inputs(blob)]
        written.append(_write(folder, f"{HALVES} {name}", blob, inputs, False))
    for name in models:
        blob = CORPUS[name].blob()
        written.append(_write(folder, name, blob, CORPUS[name].inputs(blob), False))
    return written


def _write(folder: Path, name: str, blob: bytes, inputs: list[oracle.Array], plain: bool) -> str:
    file = name.replace(" ", "_")
    (folder / f"{file}.tflite").write_bytes(blob)
    answers = oracle.run(blob, inputs, plain=plain)
    arrays = {f"in{i}": a for i, a in enumerate(inputs)}
    np.savez(folder / f"{file}.npz", **arrays, **{f"out{i}": a for i, a in enumerate(answers)})
    return file
