"""Whole nets: within the float tolerance, or as near to TFLite as its two runtimes are."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.engine.runtime import Runtime
from tests.engine import opwise, oracle
from tests.engine.corpus import CORPUS, nets
from tests.engine.engine_check import run_engine

OWN = pytest.mark.parametrize("runtime", ["own"], indirect=True)
CARD = pytest.mark.parametrize("runtime", ["rx580"], indirect=True)
NETS = nets()
# Each form of number and each net is in the others.
SLOW = {"bidirectional_dynamic", "gru_dynamic", "gru_float16", "lstm_dynamic", "mobile_dynamic",
        "text_dynamic", "vit_float16"}


@OWN
@pytest.mark.parametrize("path", [
    pytest.param(path, marks=[pytest.mark.slow] if path.stem in SLOW else []) for path in NETS],
    ids=lambda p: p.stem)
def test_small_nets(runtime: Runtime, path: Path) -> None:
    check_whole(runtime, path)


@CARD
@pytest.mark.slow
@pytest.mark.parametrize("path", NETS, ids=lambda p: p.stem)
def test_small_nets_in_the_cards_shape(runtime: Runtime, path: Path) -> None:
    check_whole(runtime, path)


def check_whole(runtime: Runtime, path: Path) -> None:
    blob = path.read_bytes()
    inputs = oracle.random_inputs(blob, seed=1)
    oracle.assert_model_same(blob, inputs, run_engine(runtime, blob, inputs))


@OWN
@pytest.mark.slow
@pytest.mark.parametrize("path", NETS, ids=lambda p: p.stem)
def test_small_nets_in_batches(runtime: Runtime, path: Path) -> None:
    blob = path.read_bytes()
    inputs = oracle.random_inputs(blob, seed=2, free=3)
    oracle.assert_model_same(blob, inputs, run_engine(runtime, blob, inputs))


@OWN
def test_an_int8_net_op_by_op(runtime: Runtime) -> None:
    (path,) = (p for p in nets("int8") if p.stem == "unet_int8")
    check_op_by_op(runtime, path.read_bytes())


@OWN
@pytest.mark.slow
@pytest.mark.parametrize("name", ["text_int8", "vit_int8", "gru_unrolled_int8",
                                  "efficientnet_lite0"])
def test_more_int8_models_op_by_op(runtime: Runtime, name: str) -> None:
    if name in CORPUS:
        check_op_by_op(runtime, CORPUS[name].blob())
    else:
        (path,) = (p for p in nets() if p.stem == name)
        check_op_by_op(runtime, path.read_bytes())


def check_op_by_op(runtime: Runtime, blob: bytes) -> None:
    inputs = oracle.random_inputs(blob, seed=1)
    seen: dict[str, float] = {}
    for step in opwise.steps(blob, inputs):
        answers = run_engine(runtime, step.blob, step.inputs)
        for actual, expected in zip(answers, step.outputs, strict=True):
            gap = opwise.apart(actual, expected)
            seen[step.name] = max(seen.get(step.name, 0.0), gap)
            allowed = 1.0 if expected.dtype.kind in "iu" else oracle.FLOAT_TOLERANCE
            assert gap <= allowed, f"{step.name} (operator {step.index}) is {gap} away"
    assert len(seen) > 3
