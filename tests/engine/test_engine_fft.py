"""Spectra equal TFLite's."""

from __future__ import annotations

import numpy as np
import pytest

from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.engine_check import assert_op_same

SHAPES = [((3, 1, 16), (1, 16)), ((5, 1, 400), (1, 512)), ((2, 8, 8), (8, 8)), ((1, 5, 9), (4, 8)),
          ((2, 3, 3), (8, 16)), ((1, 2), (1, 2)), ((2, 3, 1, 64), (1, 32)),
          ((1, 1, 5000), (1, 8192)), ((17, 1, 4), (1, 4)), ((1, 16, 2), (16, 2))]


def spectrum(shape: tuple[int, ...], lengths: tuple[int, int], part: str) -> bytes:
    """A model that gives one part of a spectrum; TFLite's outputs are no complex numbers here."""
    model = ModelBuilder()
    graph = model.graph()
    out = (*shape[:-2], lengths[0], lengths[1] // 2 + 1)
    (y,) = graph.op("RFFT2D", [graph.input(shape), graph.const(np.array(lengths, "i4"))],
                    [Spec(out, "complex64")])
    graph.outputs(*graph.op(part, [y], [Spec(out)]))
    return model.build()


@pytest.mark.parametrize("part", ["REAL", "IMAG", "COMPLEX_ABS"])
@pytest.mark.parametrize(("shape", "lengths"), SHAPES, ids=str)
def test_spectrum(runtime: Runtime, shape: tuple[int, ...], lengths: tuple[int, int],
                  part: str) -> None:
    blob = spectrum(shape, lengths, part)
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("part", ["REAL", "IMAG"])
def test_a_tone_among_nothing_else(runtime: Runtime, part: str) -> None:
    blob = spectrum((1, 1, 1024), (1, 1024), part)
    x = np.cos(2 * np.pi * 37 * np.arange(1024) / 1024 + 0.3).astype("f4").reshape(1, 1, 1024)
    assert_op_same(runtime, blob, [x])


@pytest.mark.parametrize("axes", [[0, 2, 1], [1, 0, 2]])
def test_complex_numbers_move(runtime: Runtime, axes: list[int]) -> None:
    model = ModelBuilder()
    graph = model.graph()
    (y,) = graph.op("RFFT2D", [graph.input((3, 4, 8)), graph.const(np.array([4, 8], "i4"))],
                    [Spec((3, 4, 5), "complex64")])
    turned = Spec(tuple((3, 4, 5)[a] for a in axes), "complex64")
    (z,) = graph.op("TRANSPOSE", [y, graph.const(np.array(axes, "i4"))], [turned])
    graph.outputs(*graph.op("IMAG", [z], [Spec(turned.shape)]))
    blob = model.build()
    try:
        oracle.run(blob, oracle.random_inputs(blob))
    except oracle.Refused:
        pytest.skip("TFLite does not turn complex numbers")
    assert_op_same(runtime, blob, oracle.random_inputs(blob))
