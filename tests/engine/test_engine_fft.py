"""Spectra equal TFLite's."""

from __future__ import annotations

import numpy as np
import pytest

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.engine_check import assert_op_same
from tests.engine.node_defs import node_def

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


@pytest.mark.parametrize(("given", "length"), [(40, 40), (9, 15), (12, 5), (3, 1)], ids=str)
@pytest.mark.parametrize("part", ["REAL", "IMAG"])
def test_a_length_that_tflite_does_not_take(runtime: Runtime, given: int, length: int,
                                            part: str) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (5, 1, given)).astype("f4")
    model = LoadedModel(runtime, read(spectrum(x.shape, (1, length), part)))
    try:
        (actual,) = model.run([x])
        assert {r.place for r in model.explain()} == {"card"}
    finally:
        model.close()
    expected = np.fft.rfft(x, length)
    oracle.assert_close(actual, (expected.real if part == "REAL" else expected.imag).astype("f4"),
                        2e-6 if length > 1 else 1e-4)


def test_the_cosine_transform_of_tensorflow(runtime: Runtime) -> None:
    """tf.signal.mfccs_from_log_mel_spectrograms, which needs a slice of complex numbers."""
    turns = np.exp(-1j * np.pi * np.arange(20) / 40).astype("c8")
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 1, 20))
    (padded,) = graph.op("PAD", [x, graph.const(np.array([[0, 0], [0, 0], [0, 20]], "i4"))],
                         [Spec((2, 1, 40))])
    (whole,) = graph.op("RFFT2D", [padded, graph.const(np.array([1, 40], "i4"))],
                        [Spec((2, 1, 21), "complex64")])
    bounds = [graph.const(np.array(b, "i4")) for b in ([0, 0, 0], [0, 0, -1], [1, 1, 1])]
    custom = node_def("StridedSlice", begin_mask=7, end_mask=3, shrink_axis_mask=0)
    (part,) = graph.op("FlexStridedSlice", [whole, *bounds], [Spec((2, 1, 20), "complex64")],
                       custom=custom)
    (turned,) = graph.op("MUL", [part, graph.const(turns)], [Spec((2, 1, 20), "complex64")], {})
    graph.outputs(*graph.op("REAL", [turned], [Spec((2, 1, 20))]))
    data = np.random.default_rng(2).uniform(-1, 1, (2, 1, 20)).astype("f4")
    loaded = LoadedModel(runtime, read(model.build()))
    try:
        (actual,) = loaded.run([data])
        assert "CPU" not in {r.place for r in loaded.explain()}
    finally:
        loaded.close()
    angles = np.pi * np.outer(np.arange(20), 2 * np.arange(20) + 1) / 40
    oracle.assert_close(actual, (data.astype("f8") @ np.cos(angles).T).astype("f4"))


@pytest.mark.parametrize(("given", "length"), [(30, 32), (5, 12), (3, 1100)], ids=str)
def test_the_spectrum_of_tensorflow(runtime: Runtime, given: int, length: int) -> None:
    """FlexRFFT, and a cast that keeps the real part; rows of free number."""
    model = ModelBuilder()
    graph = model.graph()
    (whole,) = graph.op("FlexRFFT", [graph.input((-1, -1, given)),
                                     graph.const(np.array([length], "i4"))],
                        [Spec((-1, -1, length // 2 + 1), "complex64")], custom=b"")
    graph.outputs(*graph.op("CAST", [whole], [Spec((-1, -1, length // 2 + 1))],
                            {"inDataType": "complex64", "outDataType": "float32"}))
    x = np.random.default_rng(4).uniform(-1, 1, (2, 3, given)).astype("f4")
    loaded = LoadedModel(runtime, read(model.build()))
    try:
        (actual,) = loaded.run([x])
        places = {p.where for p in loaded.prepare([x.shape]).plan.places}
    finally:
        loaded.close()
    oracle.assert_close(actual, np.fft.rfft(x, length).real.astype("f4"))
    assert ("host" in places) == (length == 1100)
