"""Operations that TensorFlow's converter leaves to TensorFlow, which no runtime here takes: they
equal numpy's, on the device and without one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from app.engine.cpu.whole import WholeModel
from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, Value, single_op
from tests.engine.node_defs import node_def

RNG = np.random.default_rng(11)


def floats(*shape: int) -> oracle.Array:
    return RNG.uniform(-1, 1, shape).astype("f4")


def check(runtime: Runtime, blob: bytes, inputs: list[oracle.Array], expected: oracle.Array,
          on_device: bool = True, anywhere: bool = True) -> None:
    loaded = LoadedModel(runtime, read(blob))
    try:
        (actual,) = loaded.run(inputs)
        assert not on_device or "CPU" not in {r.place for r in loaded.explain()}
    finally:
        loaded.close()
    assert actual.shape == expected.shape
    oracle.assert_close(actual, expected.astype(actual.dtype), 2e-6)
    if not anywhere:
        return
    (alone,) = WholeModel(read(blob)).run(inputs)
    oracle.assert_close(alone, expected.astype(actual.dtype), 2e-6)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_products(runtime: Runtime, exclusive: bool, reverse: bool) -> None:
    x = floats(3, 4, 5)
    for axis in (0, -1):
        blob = single_op("FlexCumprod", [Spec(x.shape), np.array(axis, "i4")], [Spec(x.shape)],
                         custom=node_def("Cumprod", exclusive=exclusive, reverse=reverse))
        turned = np.flip(x, axis) if reverse else x
        expected = np.cumprod(turned, axis)
        if exclusive:
            expected = np.roll(expected, 1, axis)
            np.moveaxis(expected, axis, 0)[0] = 1
        check(runtime, blob, [x], np.flip(expected, axis) if reverse else expected)


@pytest.mark.parametrize("name", ["MaxPool3D", "AvgPool3D"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "strides"), [((2, 3, 2), (2, 2, 1)), ((3, 1, 1), (1, 1, 2)),
                                                 ((1, 2, 2), (1, 2, 2))], ids=str)
def test_pooling_of_volumes(runtime: Runtime, name: str, padding: str, kernel: Any,
                            strides: Any) -> None:
    x = floats(2, 5, 7, 6, 3)
    expected = pooled(x, np.max if name == "MaxPool3D" else np.mean, kernel, strides, padding)
    blob = single_op(f"Flex{name}", [Spec((-1, *x.shape[1:]))], [Spec((-1, *expected.shape[1:]))],
                     custom=node_def(name, ksize=(1, *kernel, 1), strides=(1, *strides, 1),
                                     padding=padding, data_format="NDHWC"))
    check(runtime, blob, [x], expected)


def pooled(x: oracle.Array, join: Any, kernel: Any, strides: Any, padding: str) -> oracle.Array:
    """Window by window, as TensorFlow documents it: what lies in the padding does not count."""
    ranges = []
    for extent, k, s in zip(x.shape[1:4], kernel, strides, strict=True):
        out = -(-extent // s) if padding == "SAME" else (extent - k) // s + 1
        before = max(0, (out - 1) * s + k - extent) // 2 if padding == "SAME" else 0
        ranges.append([slice(max(i * s - before, 0), i * s - before + k) for i in range(out)])
    y = np.empty((x.shape[0], *map(len, ranges), x.shape[4]), "f4")
    for place in itertools.product(*map(range, y.shape[1:4])):
        box = tuple(own[i] for own, i in zip(ranges, place, strict=True))
        y[:, *place] = join(x[:, *box], (1, 2, 3))
    return y


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "strides", "rates"), [
    ((2, 3), (2, 3), (1, 1)), ((3, 3), (2, 1), (1, 1)), ((2, 2), (1, 2), (3, 2)),
    ((9, 9), (1, 1), (1, 1))], ids=str)
def test_patches_of_pictures(runtime: Runtime, padding: str, kernel: Any, strides: Any,
                             rates: Any) -> None:
    x = floats(2, 9, 11, 3)
    reach = [(k - 1) * r + 1 for k, r in zip(kernel, rates, strict=True)]
    out = [-(-e // s) if padding == "SAME" else (e - r) // s + 1
           for e, s, r in zip(x.shape[1:3], strides, reach, strict=True)]
    pads = [max(0, (o - 1) * s + r - e) if padding == "SAME" else 0
            for o, s, r, e in zip(out, strides, reach, x.shape[1:3], strict=True)]
    wide = np.pad(x, [(0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)])
    views = np.lib.stride_tricks.sliding_window_view(wide, reach, (1, 2))
    cut = views[:, ::strides[0], ::strides[1], :, ::rates[0], ::rates[1]]
    expected = cut.transpose(0, 1, 2, 4, 5, 3).reshape(2, *out, -1)
    blob = single_op("FlexExtractImagePatches", [Spec((-1, -1, *x.shape[2:]))],
                     [Spec((-1, -1, *expected.shape[2:]))],
                     custom=node_def("ExtractImagePatches", ksizes=(1, *kernel, 1),
                                     strides=(1, *strides, 1), rates=(1, *rates, 1),
                                     padding=padding))
    check(runtime, blob, [x], expected, on_device=padding == "VALID" or max(kernel) < 9)


def numbers(graph: Any, shape: tuple[int, ...]) -> Value:
    """Two inputs as one tensor of complex numbers."""
    (z,) = graph.op("FlexComplex", [graph.input(shape), graph.input(shape)],
                    [Spec(shape, "complex64")], custom=node_def("Complex"))
    return z  # type: ignore[no-any-return]


@pytest.mark.parametrize("length", [20, 13, 6, 40, 1])
def test_rows_from_spectra(runtime: Runtime, length: int) -> None:
    model = ModelBuilder()
    graph = model.graph()
    z = numbers(graph, (2, 3, 11))
    graph.outputs(*graph.op("FlexIRFFT", [z, graph.const(np.array([length], "i4"))],
                            [Spec((2, 3, length))], custom=node_def("IRFFT")))
    a, b = floats(2, 3, 11), floats(2, 3, 11)
    check(runtime, model.build(), [a, b], np.fft.irfft(a + 1j * b, length))


@pytest.mark.parametrize(("name", "length"), [("FFT", 12), ("IFFT", 15), ("FFT", 600)])
@pytest.mark.parametrize("part", ["REAL", "IMAG"])
def test_spectra_of_complex_numbers(runtime: Runtime, name: str, length: int, part: str) -> None:
    model = ModelBuilder()
    graph = model.graph()
    z = numbers(graph, (3, length))
    (made,) = graph.op(f"Flex{name}", [z], [z.spec], custom=node_def(name))
    graph.outputs(*graph.op(part, [made], [Spec(z.spec.shape)]))
    a, b = floats(3, length), floats(3, length)
    spectrum = (np.fft.fft if name == "FFT" else np.fft.ifft)(a + 1j * b)
    check(runtime, model.build(), [a, b], spectrum.real if part == "REAL" else spectrum.imag,
          on_device=length < 600)


def test_complex_numbers_with_zeros_around_them(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    z = numbers(graph, (2, 3))
    (wide,) = graph.op("FlexPad", [z, graph.const(np.array([[0, 1], [2, 0]], "i4"))],
                       [Spec((3, 5), "complex64")], custom=node_def("Pad"))
    graph.outputs(*graph.op("IMAG", [wide], [Spec((3, 5))]))
    a, b = floats(2, 3), floats(2, 3)
    check(runtime, model.build(), [a, b], np.pad(b, ((0, 1), (2, 0))), anywhere=False)


def test_angles_and_conjugates(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    z = numbers(graph, (4, 5))
    (c,) = graph.op("FlexConj", [z], [z.spec], custom=node_def("Conj"))
    graph.outputs(*graph.op("FlexAngle", [c], [Spec((4, 5))], custom=node_def("Angle")))
    a, b = floats(4, 5), floats(4, 5)
    check(runtime, model.build(), [a, b], -np.arctan2(b, a))


def test_reals_as_complex_numbers(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    (z,) = graph.op("CAST", [graph.input((3, 8))], [Spec((3, 8), "complex64")],
                    {"inDataType": "float32", "outDataType": "complex64"})
    (made,) = graph.op("FlexFFT", [z], [z.spec], custom=node_def("FFT"))
    graph.outputs(*graph.op("IMAG", [made], [Spec((3, 8))]))
    x = floats(3, 8)
    check(runtime, model.build(), [x], np.fft.fft(x).imag)


@pytest.mark.parametrize("name", ["Max", "Min", "Sub"])
def test_updates_at_indices(runtime: Runtime, name: str) -> None:
    x, updates = floats(5, 3), floats(6, 3)
    index = np.array([[4], [0], [4], [1], [0], [4]], "i4")
    expected = x.copy()
    {"Max": np.maximum, "Min": np.minimum, "Sub": np.subtract}[name].at(
        expected, index[:, 0], updates)
    blob = single_op(f"FlexTensorScatter{name}", [Spec(x.shape), index, Spec(updates.shape)],
                     [Spec(x.shape)], custom=node_def(f"TensorScatter{name}"))
    check(runtime, blob, [x, updates], expected)


def test_where_the_largest_is_as_keras_finds_it(runtime: Runtime) -> None:
    """keras.ops.argmax looks for negative zeros by their bits first."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((3, 5))
    (bits,) = graph.op("BITCAST", [x], [Spec((3, 5), "int32")])
    (sign,) = graph.op("FlexBitwiseAnd", [bits, graph.const(np.int32(-2**31))], [bits.spec],
                       custom=node_def("BitwiseAnd"))
    flags = [Spec((3, 5), "bool")]
    (below,) = graph.op("LESS", [sign, graph.const(np.int32(0))], flags, {})
    (zeros,) = graph.op("EQUAL", [x, graph.const(np.float32(0))], flags, {})
    (both,) = graph.op("LOGICAL_AND", [zeros, below], flags)
    (moved,) = graph.op("SELECT_V2", [both, graph.const(np.float32(-1e-38)), x], [x.spec])
    graph.outputs(*graph.op("ARG_MAX", [moved, graph.const(np.int32(-1))], [Spec((3,), "int32")],
                            {"outputType": "int32"}))
    data = np.array([[-0., 0, -1, -2, 0], [1, 3, 2, 3, 0], [-0., -0., -3, -1, -2]], "f4")
    check(runtime, model.build(), [data], np.array([1, 1, 0]))


@pytest.mark.parametrize(("name", "function"), [("BitwiseOr", np.bitwise_or),
                                                ("FloorDiv", np.floor_divide)])
def test_whole_numbers(runtime: Runtime, name: str, function: Any) -> None:
    spec = Spec((3,), "int64")
    blob = single_op(f"Flex{name}", [spec, spec], [spec], custom=node_def(name))
    a, b = np.array([-7, 5, 12]), np.array([5, 3, 9])
    loaded = LoadedModel(runtime, read(blob))
    try:
        (actual,) = loaded.run([a, b])
        assert {r.place for r in loaded.explain()} == {"card"}
    finally:
        loaded.close()
    np.testing.assert_array_equal(actual, function(a, b))


COMPLEX: dict[str, Any] = {
    "AddV2": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b,
    "RealDiv": lambda a, b: a / b, "Pow": lambda a, b: a ** b, "Neg": lambda a, b: -a,
    "Exp": lambda a, b: np.exp(a), "Log": lambda a, b: np.log(a), "Sqrt": lambda a, b: np.sqrt(a),
    "Square": lambda a, b: a * a}
ON_DEVICE = {"AddV2", "Sub", "Mul", "Neg", "Square"}


def of_two(build: Any, shape: tuple[int, ...] = (3, 4)) -> bytes:
    """A model that gives the real part and the imaginary one of what is made of two inputs."""
    model = ModelBuilder()
    graph = model.graph()
    made = build(graph, numbers(graph, shape), numbers(graph, shape))
    parts = [graph.op(part, [made], [Spec(made.spec.shape)])[0] for part in ("REAL", "IMAG")]
    graph.outputs(*graph.op("PACK", parts, [Spec((2, *made.spec.shape))],
                            {"axis": 0, "valuesCount": 2}))
    return model.build()


def checked(runtime: Runtime, build: Any, function: Any, shape: tuple[int, ...] = (3, 4),
            **more: Any) -> None:
    given = [floats(*shape) for _ in range(4)]
    expected = function(given[0] + 1j * given[1], given[2] + 1j * given[3])
    check(runtime, of_two(build, shape), given, np.stack([expected.real, expected.imag]), **more)


@pytest.mark.parametrize("name", COMPLEX)
def test_arithmetic_of_complex_numbers(runtime: Runtime, name: str) -> None:
    single = name in ("Neg", "Exp", "Log", "Sqrt", "Square")
    checked(runtime, lambda graph, a, b: graph.op(
        f"Flex{name}", [a] if single else [a, b], [a.spec], custom=node_def(name))[0],
        COMPLEX[name], on_device=name in ON_DEVICE)


@pytest.mark.parametrize("adjoint", [(False, False), (True, False), (False, True), (True, True)])
def test_products_of_complex_matrices(runtime: Runtime, adjoint: Any) -> None:
    spec = Spec((2, 3, 3), "complex64")

    def turned(x: Any, adj: bool) -> Any:
        return x.conj().swapaxes(-1, -2) if adj else x

    checked(runtime, lambda graph, a, b: graph.op(
        "FlexBatchMatMulV2", [a, b], [spec],
        custom=node_def("BatchMatMulV2", adj_x=adjoint[0], adj_y=adjoint[1]))[0],
        lambda a, b: turned(a, adjoint[0]) @ turned(b, adjoint[1]), (2, 3, 3))
    checked(runtime, lambda graph, a, b: graph.op(
        "FlexMatMul", [a, b], [Spec((3, 3), "complex64")],
        custom=node_def("MatMul", transpose_a=adjoint[0], transpose_b=adjoint[1]))[0],
        lambda a, b: (a.T if adjoint[0] else a) @ (b.T if adjoint[1] else b), (3, 3))


def test_complex_numbers_that_move(runtime: Runtime) -> None:
    def built(graph: Any, a: Value, b: Value) -> Value:
        (both,) = graph.op("FlexConcatV2", [a, b, graph.const(np.int32(1))],
                           [Spec((3, 8), "complex64")], custom=node_def("ConcatV2"))
        (turned,) = graph.op("FlexTranspose", [both, graph.const(np.array([1, 0], "i4"))],
                             [Spec((8, 3), "complex64")], custom=node_def("Transpose"))
        (some,) = graph.op("FlexGatherV2", [turned, graph.const(np.array([6, 1], "i4")),
                                            graph.const(np.int32(0))],
                           [Spec((2, 3), "complex64")], custom=node_def("GatherV2"))
        (packed,) = graph.op("FlexPack", [some, some], [Spec((2, 2, 3), "complex64")],
                             custom=node_def("Pack", axis=1))
        (tiled,) = graph.op("FlexTile", [packed, graph.const(np.array([1, 1, 2], "i4"))],
                            [Spec((2, 2, 6), "complex64")], custom=node_def("Tile"))
        return tiled  # type: ignore[no-any-return]

    def expected(a: Any, b: Any) -> Any:
        some = np.concatenate([a, b], 1).T[[6, 1]]
        return np.tile(np.stack([some, some], 1), 2)

    checked(runtime, built, expected)


@pytest.mark.parametrize("kept", [False, True])
def test_sums_of_complex_numbers(runtime: Runtime, kept: bool) -> None:
    y = Spec((3, 1) if kept else (3,), "complex64")
    for name, function in (("Sum", np.sum), ("Mean", np.mean)):
        checked(runtime, lambda graph, a, b, name=name: graph.op(
            f"Flex{name}", [a, graph.const(np.array([1], "i4"))], [y],
            custom=node_def(name, keep_dims=kept))[0],
            lambda a, b, own=function: own(a, 1, keepdims=kept), on_device=False)


@pytest.mark.parametrize("name", ["FFT2D", "IFFT2D", "FFT3D"])
def test_spectra_of_several_axes(runtime: Runtime, name: str) -> None:
    function = {"FFT2D": np.fft.fft2, "IFFT2D": np.fft.ifft2, "FFT3D": np.fft.fftn}[name]
    shape = (4, 6, 5)
    checked(runtime, lambda graph, a, b: graph.op(f"Flex{name}", [a], [a.spec],
                                                  custom=node_def(name))[0],
            lambda a, b: function(a), shape)


def test_pictures_from_spectra(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    graph.outputs(*graph.op("FlexIRFFT2D", [numbers(graph, (2, 6, 5)),
                                            graph.const(np.array([6, 8], "i4"))],
                            [Spec((2, 6, 8))], custom=node_def("IRFFT2D")))
    a, b = floats(2, 6, 5), floats(2, 6, 5)
    check(runtime, model.build(), [a, b], np.fft.irfft2(a + 1j * b, (6, 8)))


def test_bits(runtime: Runtime) -> None:
    spec = Spec((4,), "int32")
    x = np.array([-7, 0, 5, 1 << 20], "i4")
    check(runtime, single_op("FlexInvert", [spec], [spec], custom=node_def("Invert")), [x], ~x)
    by = np.array([1, 3, 0, 5], "i4")
    blob = single_op("FlexLeftShift", [spec, spec], [spec], custom=node_def("LeftShift"))
    check(runtime, blob, [x, by], x << by)


@pytest.mark.parametrize("narrow", [False, True])
def test_steps_of_training_with_quantisation(runtime: Runtime, narrow: bool) -> None:
    """Per channel; the ends move so that zero is a step."""
    x = floats(50, 3) * 3
    low, high = np.array([-1, -.3, 0], "f4"), np.array([1, 2, 1.5], "f4")
    first = 1 if narrow else 0
    step = (high - low) / (255 - first)
    zero = np.clip(np.rint(first - low / step), first, 255)
    expected = (np.clip(np.rint(x / step + zero), first, 255) - zero) * step
    blob = single_op("FlexFakeQuantWithMinMaxVarsPerChannel", [Spec(x.shape), low, high],
                     [Spec(x.shape)],
                     custom=node_def("FakeQuantWithMinMaxVarsPerChannel", num_bits=8,
                                     narrow_range=narrow))
    check(runtime, blob, [x], expected)


def test_other_numbers_by_matrices(runtime: Runtime) -> None:
    a, b = RNG.uniform(-1, 1, (3, 4)), RNG.uniform(-1, 1, (5, 4))
    blob = single_op("FlexMatMul", [Spec((3, 4), "float64"), Spec((5, 4), "float64")],
                     [Spec((3, 5), "float64")],
                     custom=node_def("MatMul", transpose_a=False, transpose_b=True))
    check(runtime, blob, [a, b], a @ b.T, on_device=False)


def test_products_of_spectra(runtime: Runtime) -> None:
    """A layer of a Fourier neural operator: cut, multiplied by each frequency's matrix, filled."""
    w, v = floats(3, 4, 5), floats(3, 4, 5)
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((4, 2, 16))
    (z,) = graph.op("FlexRFFT", [x, graph.const(np.array([16], "i4"))],
                    [Spec((4, 2, 9), "complex64")], custom=node_def("RFFT"))
    (turned,) = graph.op("FlexTranspose", [z, graph.const(np.array([2, 1, 0], "i4"))],
                         [Spec((9, 2, 4), "complex64")], custom=node_def("Transpose"))
    (low,) = graph.op("FlexStridedSlice", [turned, *(graph.const(np.array(k, "i4")) for k in (
        [0], [3], [1]))], [Spec((3, 2, 4), "complex64")], custom=node_def(
            "StridedSlice", begin_mask=0, end_mask=0))
    (weights,) = graph.op("FlexComplex", [graph.const(w), graph.const(v)],
                          [Spec(w.shape, "complex64")], custom=node_def("Complex"))
    (made,) = graph.op("FlexBatchMatMulV2", [low, weights], [Spec((3, 2, 5), "complex64")],
                       custom=node_def("BatchMatMulV2", adj_x=False, adj_y=False))
    (back,) = graph.op("FlexTranspose", [made, graph.const(np.array([2, 1, 0], "i4"))],
                       [Spec((5, 2, 3), "complex64")], custom=node_def("Transpose"))
    (wide,) = graph.op("FlexPad", [back, graph.const(np.array([[0, 0], [0, 0], [0, 6]], "i4"))],
                       [Spec((5, 2, 9), "complex64")], custom=node_def("Pad"))
    graph.outputs(*graph.op("FlexIRFFT", [wide, graph.const(np.array([16], "i4"))],
                            [Spec((5, 2, 16))], custom=node_def("IRFFT")))
    data = floats(4, 2, 16)
    spectrum = np.einsum("cbf,fco->obf", np.fft.rfft(data)[:, :, :3], w + 1j * v)
    check(runtime, model.build(), [data], np.fft.irfft(spectrum, 16))


HALVES = RNG.uniform(-1, 1, (3, 5)).astype("f2")
WHOLE = RNG.integers(-9, 10, (3, 5))
OTHER_NUMBERS: dict[str, tuple[oracle.Array, Any]] = {
    "Abs": (WHOLE, np.abs), "Relu6": (WHOLE.astype("i4"), lambda x: np.clip(x, 0, 6)),
    "Relu": (HALVES, lambda x: np.maximum(x, 0)), "Sin": (HALVES.astype("f8"), np.sin),
    "Cos": (HALVES.astype("f8"), np.cos), "Tanh": (HALVES.astype("f8"), np.tanh),
    "Sigmoid": (HALVES.astype("f8"), lambda x: 1 / (1 + np.exp(-x))),
    "Rsqrt": (1 + np.abs(HALVES.astype("f8")), lambda x: 1 / np.sqrt(x)),
}


@pytest.mark.parametrize("name", OTHER_NUMBERS)
def test_functions_of_types_that_tflite_has_them_not_for(runtime: Runtime, name: str) -> None:
    x, function = OTHER_NUMBERS[name]
    blob = single_op(f"Flex{name}", [Spec(x.shape, x.dtype.name)], [Spec(x.shape, x.dtype.name)],
                     custom=node_def(name))
    check(runtime, blob, [x], function(x), on_device=False)


@pytest.mark.parametrize(("name", "function"), [("Maximum", np.maximum), ("Minimum", np.minimum)])
def test_the_larger_of_doubles(runtime: Runtime, name: str, function: Any) -> None:
    a, b = RNG.uniform(-1, 1, (3, 5)), RNG.uniform(-1, 1, 5)
    blob = single_op(f"Flex{name}", [Spec(v.shape, "float64") for v in (a, b)],
                     [Spec(a.shape, "float64")], custom=node_def(name))
    check(runtime, blob, [a, b], function(a, b), on_device=False)


@pytest.mark.parametrize(("name", "function", "kept"), [
    ("Max", np.max, True), ("Min", np.min, False), ("Prod", np.prod, False)])
def test_extremes_of_bytes(runtime: Runtime, name: str, function: Any, kept: bool) -> None:
    x = RNG.integers(0, 3, (4, 3)).astype("u1")
    expected = function(x, axis=1, keepdims=kept)
    blob = single_op(f"Flex{name}", [Spec(x.shape, "uint8"), np.array([1], "i4")],
                     [Spec(expected.shape, "uint8")], custom=node_def(name, keep_dims=kept))
    check(runtime, blob, [x], expected, on_device=False)


@pytest.mark.parametrize(("name", "function"), [("ArgMax", np.argmax), ("ArgMin", np.argmin)])
def test_places_in_wide_integers(runtime: Runtime, name: str, function: Any) -> None:
    expected = function(WHOLE, 1)
    blob = single_op(f"Flex{name}", [Spec(WHOLE.shape, "int64"), np.array(1, "i4")],
                     [Spec(expected.shape, "int64")], custom=node_def(name))
    check(runtime, blob, [WHOLE], expected, on_device=False)


def test_nearest_pixels_of_bytes(runtime: Runtime) -> None:
    x = RNG.integers(0, 256, (1, 4, 6, 3)).astype("u1")
    blob = single_op("FlexResizeNearestNeighbor",
                     [Spec(x.shape, "uint8"), np.array([2, 3], "i4")],
                     [Spec((1, 2, 3, 3), "uint8")],
                     custom=node_def("ResizeNearestNeighbor", half_pixel_centers=True))
    check(runtime, blob, [x], x[:, 1::2, 1::2])
