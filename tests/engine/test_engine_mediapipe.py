"""MediaPipe's custom ops: against ai-edge-litert where it has them, else against plain loops."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.registry import HOSTS
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import Spec, single_op
from tests.engine.corpus import CORPUS
from tests.engine.engine_check import assert_op_same, run_engine
from tests.engine.safety.test_small_shapes import CUSTOM, blob_of

RNG = np.random.default_rng(21)


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), [
    (4, 2, 2, 1), (5, 3, 2, 1), (4, 3, 1, 2), (3, 4, 3, 1)])
def test_convolution_2d_transpose_bias(runtime: Runtime, size: int, kernel: int, stride: int,
                                       padding: int) -> None:
    total = max(0, kernel - (size - 1) % stride - 1) if padding == 1 else 0
    out = stride * (size - 1) + kernel - total
    blob = single_op("Convolution2DTransposeBias",
                     [Spec((1, size, size, 8)), RNG.uniform(-1, 1, (6, kernel, kernel, 8))
                      .astype("f4"), RNG.uniform(-1, 1, 6).astype("f4")],
                     [Spec((1, out, out, 6))], custom=struct.pack("<3i", padding, stride, stride))
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_pooling_there_and_back(runtime: Runtime) -> None:
    options = struct.pack("<6i", 1, 2, 2, 2, 2, 0)
    x = RNG.uniform(-1, 1, (1, 6, 8, 3)).astype("f4")
    pooled = Spec((1, 3, 4, 3))
    blob = single_op("MaxPoolingWithArgmax2D", [Spec(x.shape)], [pooled, pooled], custom=options)
    y, places = run_engine(runtime, blob, [x])
    windows = x.reshape(1, 3, 2, 4, 2, 3).transpose(0, 1, 3, 5, 2, 4).reshape(1, 3, 4, 3, 4)
    np.testing.assert_array_equal(y, windows.max(-1))
    np.testing.assert_allclose(places, windows.argmax(-1) + 0.1, rtol=1e-6)

    back = single_op("MaxUnpooling2D", [pooled, pooled], [Spec(x.shape)], custom=options)
    (spread,) = run_engine(runtime, back, [y, places])
    top = np.repeat(np.repeat(y, 2, 1), 2, 2)
    np.testing.assert_array_equal(spread, np.where(x == top, x, 0))


def matrix_options(subset: list[int]) -> bytes:
    return bytes(flexbuffers.Dumps({
        "left_rotation_idx": 0, "right_rotation_idx": 3, "target_rotation_radians": 0.3,
        "output_height": 16, "output_width": 12, "scale_x": 1.5, "scale_y": 1.25,
        "subset_idxs": subset}))


def crop_matrix(x: Any, subset: list[int]) -> Any:
    """shift(centre) * turn(-angle) * scale * shift(-size/2), by matrices."""
    angle = 0.3 - np.arctan2(x[3, 1] - x[0, 1], x[3, 0] - x[0, 0])

    def turn(a: float) -> Any:
        return np.array([[np.cos(a), -np.sin(a), 0, 0], [np.sin(a), np.cos(a), 0, 0],
                         [0, 0, 1, 0], [0, 0, 0, 1]])

    def shift(u: float, v: float) -> Any:
        moved = np.eye(4)
        moved[:2, 3] = u, v
        return moved

    points = x[subset, :2] @ turn(angle)[:2, :2].T
    low, high = points.min(0), points.max(0)
    centre = turn(-angle)[:2, :2] @ ((low + high) / 2)
    scales = np.diag([1.5 * (high - low)[0] / 12, 1.25 * (high - low)[1] / 16, 1, 1])
    return shift(*centre) @ turn(-angle) @ scales @ shift(-6, -8)


def test_matrix_from_landmarks(runtime: Runtime) -> None:
    x = RNG.uniform(0, 40, (1, 9, 3)).astype("f4")
    subset = [1, 2, 4, 5, 7, 8]
    blob = single_op("Landmarks2TransformMatrix", [Spec(x.shape)], [Spec((1, 4, 4))],
                     custom=matrix_options(subset))
    (matrix,) = run_engine(runtime, blob, [x])
    np.testing.assert_allclose(matrix[0], crop_matrix(x[0], subset), atol=2e-4)


def test_points_and_images_through_a_matrix(runtime: Runtime) -> None:
    matrix = np.eye(4, dtype="f4")[None].copy()
    matrix[0, :2] = [0.83, -0.21, 0, 2.57], [0.31, 0.94, 0, -1.03]
    points = RNG.uniform(-3, 9, (1, 7, 3)).astype("f4")
    blob = single_op("TransformLandmarks", [Spec(points.shape), Spec((1, 4, 4))],
                     [Spec(points.shape)], custom=b"")
    (moved,) = run_engine(runtime, blob, [points, matrix])
    flat = np.concatenate([points[0, :, :2], np.zeros((7, 1)), np.ones((7, 1))], 1)
    np.testing.assert_allclose(moved[0, :, :2], flat @ matrix[0, :2].T, atol=1e-5)
    np.testing.assert_array_equal(moved[..., 2], points[..., 2])

    image = RNG.uniform(-1, 1, (1, 9, 11, 5)).astype("f4")
    blob = single_op("TransformTensorBilinear", [Spec(image.shape), Spec((1, 4, 4))],
                     [Spec((1, 6, 8, 5))], custom=bytes(
                         flexbuffers.Dumps({"output_height": 6, "output_width": 8})))
    (sampled,) = run_engine(runtime, blob, [image, matrix])
    np.testing.assert_allclose(sampled[0], resampled(image[0], matrix[0], 6, 8), atol=1e-5)


def resampled(image: Any, matrix: Any, height: int, width: int) -> Any:
    """Bilinear samples at matrix * (j + 1/2, i + 1/2) - 1/2; zero outside."""
    out = np.zeros((height, width, image.shape[2]))
    padded = np.pad(image, ((0, 1), (0, 1), (0, 0)))
    for i in range(height):
        for j in range(width):
            u, v = matrix[:2] @ [j + 0.5, i + 0.5, 0, 1] - 0.5
            if 0 <= u <= image.shape[1] - 1 and 0 <= v <= image.shape[0] - 1:
                w, h = int(u), int(v)
                a, b = u - w, v - h
                rows = (1 - a) * padded[h:h + 2, w] + a * padded[h:h + 2, w + 1]
                out[i, j] = (1 - b) * rows[0] + b * rows[1]
    return out


@pytest.mark.parametrize("runtime", ["own"], indirect=True)
def test_segmentation_equals_ai_edge_litert(runtime: Runtime) -> None:
    model = CORPUS["selfie_segmentation"]
    inputs = model.inputs(model.blob())
    for actual, expected in zip(run_engine(runtime, model.blob(), inputs),
                                oracle.run(model.blob(), inputs), strict=True):
        oracle.assert_close(actual, expected)


@pytest.mark.parametrize("name", CUSTOM)
def test_the_kernels_answer_as_the_numpy_versions_do(runtime: Runtime, name: str) -> None:
    blob = blob_of(name)
    rng = np.random.default_rng(8)
    inputs = [rng.uniform(0, 3, given.shape).astype("f4") for given in CUSTOM[name][1]]
    model = LoadedModel(runtime, read(blob))
    try:
        outputs = model.run(inputs)
    finally:
        model.close()
    (node,) = read(blob).graphs[0].nodes
    for actual, expected in zip(outputs, HOSTS[node.op](node, inputs), strict=True):
        oracle.assert_close(actual, expected, 1e-5)
