"""Every kernel on shapes so small and odd that a checker of memory accesses gets through them.

tests/engine/safety/test_oclgrind.py runs this file under oclgrind, answers included; only there
is it quick enough for every change.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers

from app.engine.planner import Plan
from app.engine.profile import RX_580, DeviceProfile
from app.engine.runtime import Runtime
from app.tensors import Quantization
from bench.kernels.plans import launches, plan_blob
from tests.engine import oracle
from tests.engine.builder import Spec, single_op
from tests.engine.corpus import NETS
from tests.engine.engine_check import assert_op_same, run_engine
from tests.engine.examples import rest

# The op tests run the same kernels on other devices.
CHECKED = pytest.mark.parallel if "ENGINE_TEST_DEVICE" in os.environ else pytest.mark.slow
KERNELS = Path(__file__).parents[3] / "app/engine/kernels"
CPU = DeviceProfile("a CPU", "cpu", 2, 4096, 1 << 15, 1 << 30, 1 << 32, 128, 16)
DOTS = replace(CPU, dots=True)
SAME = {"padding": "SAME", "strideH": 1, "strideW": 1}
VALID = {"padding": "VALID", "strideH": 2, "strideW": 2}
RELU = {"fusedActivationFunction": "RELU6"}
QUANT = Quantization((0.05,), (3,))


def f4(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).uniform(-1, 1, shape).astype("f4")


def i4(*values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, "i4")


def spec(*shape: int, dtype: str = "float32") -> Spec:
    return Spec(shape, dtype, QUANT if dtype == "int8" else None)


def i1(*shape: int) -> tuple[np.ndarray[Any, Any], Quantization]:
    values = np.random.default_rng(9).integers(-127, 128, shape)
    return values.astype("i1"), Quantization((0.02,), (0,))


def biases(count: int) -> tuple[np.ndarray[Any, Any], Quantization]:
    return np.arange(count, dtype="i4"), Quantization((0.001,), (0,))


Case = tuple[str, list[Any], list[Spec], dict[str, Any] | None]
CASES: dict[str, Case] = {
    "conv 3x3": ("CONV_2D", [spec(1, 5, 7, 3), f4(5, 3, 3, 3), f4(5)], [spec(1, 5, 7, 5)], SAME),
    "conv 3x3 of 4": ("CONV_2D", [spec(2, 5, 4, 8), f4(9, 3, 2, 8), f4(9)], [spec(2, 2, 2, 9)],
                      {**VALID, **RELU}),
    "conv of a small image": ("CONV_2D", [spec(1, 3, 3, 32), f4(40, 3, 3, 32), f4(40)],
                              [spec(1, 3, 3, 40)], SAME),
    "conv 1x1": ("CONV_2D", [spec(1, 3, 7, 12), f4(21, 1, 1, 12), f4(21)], [spec(1, 3, 7, 21)],
                 SAME),
    "conv deep": ("CONV_2D", [spec(1, 3, 3, 72), f4(3, 1, 1, 72), f4(3)], [spec(1, 3, 3, 3)], SAME),
    "conv grouped": ("CONV_2D", [spec(1, 4, 3, 4), f4(6, 2, 2, 2), f4(6)], [spec(1, 4, 3, 6)],
                     SAME),
    "conv of tiles": ("CONV_2D", [spec(1, 13, 7, 24), f4(9, 3, 3, 24), f4(9)],
                      [spec(1, 13, 7, 9)], SAME),
    "conv dilated": ("CONV_2D", [spec(1, 6, 7, 5), f4(1, 3, 2, 5), f4(1)], [spec(1, 6, 7, 1)],
                     {**SAME, "dilationHFactor": 2, "dilationWFactor": 3}),
    "depthwise": ("DEPTHWISE_CONV_2D", [spec(1, 5, 6, 7), f4(1, 3, 3, 7), f4(7)],
                  [spec(1, 5, 6, 7)], {**SAME, "depthMultiplier": 1, **RELU}),
    "depthwise along a column": ("DEPTHWISE_CONV_2D", [spec(1, 19, 1, 6), f4(1, 15, 1, 6), f4(6)],
                                 [spec(1, 19, 1, 6)], {**SAME, "depthMultiplier": 1}),
    "depthwise strided": ("DEPTHWISE_CONV_2D", [spec(1, 7, 7, 16), f4(1, 3, 2, 16), f4(16)],
                          [spec(1, 3, 3, 16)], {**VALID, "depthMultiplier": 1}),
    "depthwise times 2": ("DEPTHWISE_CONV_2D", [spec(1, 3, 4, 3), f4(1, 3, 3, 6), f4(6)],
                          [spec(1, 3, 4, 6)], {**SAME, "depthMultiplier": 2}),
    "transposed": ("TRANSPOSE_CONV", [i4(1, 6, 4, 5), f4(5, 3, 3, 3), spec(1, 3, 2, 3)],
                   [spec(1, 6, 4, 5)], {"padding": "SAME", "strideH": 2, "strideW": 2}),
    "volume": ("CONV_3D", [spec(1, 3, 4, 5, 2), f4(2, 3, 3, 2, 5), f4(5)], [spec(1, 3, 4, 5, 5)],
               {**SAME, "strideD": 1}),
    "volume transposed": ("CONV_3D_TRANSPOSE", [i4(1, 4, 4, 6, 5), f4(3, 3, 2, 5, 2),
                                                spec(1, 2, 2, 3, 2)], [spec(1, 4, 4, 6, 5)],
                          {"padding": "SAME", "strideD": 2, "strideH": 2, "strideW": 2}),
    "dense": ("FULLY_CONNECTED", [spec(1, 70), f4(5, 70), f4(5)], [spec(1, 5)], {}),
    "dense of 4": ("FULLY_CONNECTED", [spec(3, 24), f4(7, 24), f4(7)], [spec(3, 7)], RELU),
    "dense rows": ("FULLY_CONNECTED", [spec(9, 10), f4(6, 10), f4(6)], [spec(9, 6)], {}),
    "matmul": ("BATCH_MATMUL", [spec(2, 5, 7), spec(2, 7, 6)], [spec(2, 5, 6)], {}),
    "matmul deep": ("BATCH_MATMUL", [spec(3, 72), spec(3, 72)], [spec(3, 3)], {"adjY": True}),
    "max pool": ("MAX_POOL_2D", [spec(1, 5, 5, 6)], [spec(1, 3, 3, 6)],
                 {"padding": "SAME", "strideH": 2, "strideW": 2, "filterHeight": 3,
                  "filterWidth": 2}),
    "mean of an image": ("MEAN", [spec(2, 5, 7, 6), i4(1, 2)], [spec(2, 6)], {"keepDims": False}),
    "mean of rows": ("MEAN", [spec(3, 70), i4(1)], [spec(3, 1)], {"keepDims": True}),
    "max of all": ("REDUCE_MAX", [spec(3, 5, 7), i4(0, 1, 2)], [spec()], {"keepDims": False}),
    "sum of integers": ("SUM", [spec(3, 5, 7, dtype="int32"), i4(0, 2)], [spec(5, dtype="int32")],
                        {"keepDims": False}),
    "softmax": ("SOFTMAX", [spec(3, 70)], [spec(3, 70)], {"beta": 1.0}),
    "log softmax": ("LOG_SOFTMAX", [spec(2, 9)], [spec(2, 9)], {}),
    "length": ("L2_NORMALIZATION", [spec(2, 9)], [spec(2, 9)], {}),
    "neighbours": ("LOCAL_RESPONSE_NORMALIZATION", [spec(1, 2, 3, 7)], [spec(1, 2, 3, 7)],
                   {"radius": 2, "bias": 1.0, "alpha": 0.5, "beta": 0.75}),
    "unary": ("TANH", [spec(3, 7)], [spec(3, 7)], None),
    "channels": ("ADD", [spec(2, 3, 5), f4(5)], [spec(2, 3, 5)], RELU),
    "broadcast": ("MUL", [spec(3, 1, 5), spec(4, 1)], [spec(3, 4, 5)], {}),
    "integers": ("ADD", [spec(3, 5, dtype="int32"), spec(5, dtype="int32")],
                 [spec(3, 5, dtype="int32")], {}),
    "compare": ("GREATER", [spec(3, 5), spec(5)], [spec(3, 5, dtype="bool")], {}),
    "bilinear": ("RESIZE_BILINEAR", [spec(1, 3, 4, 5), i4(7, 5)], [spec(1, 7, 5, 5)], {}),
    "nearest": ("RESIZE_NEAREST_NEIGHBOR", [spec(1, 3, 4, 5), i4(7, 5)], [spec(1, 7, 5, 5)], {}),
    "concat": ("CONCATENATION", [spec(2, 3), spec(2, 4)], [spec(2, 7)], {"axis": 1}),
    "pad": ("PAD", [spec(2, 3), i4([1, 0], [2, 1])], [spec(3, 6)], None),
    "transpose": ("TRANSPOSE", [spec(2, 3, 5), i4(2, 0, 1)], [spec(5, 2, 3)], {}),
    "reverse": ("REVERSE_V2", [spec(3, 5), i4(1)], [spec(3, 5)], {}),
    "gather": ("GATHER", [spec(5, 3), i4(4, 0, 2)], [spec(3, 3)], {"axis": 0}),
    "sequences": ("REVERSE_SEQUENCE", [spec(3, 2, 4), i4(4, 1, 0)], [spec(3, 2, 4)],
                  {"seqDim": 2, "batchDim": 0}),
    "gather points": ("GATHER_ND", [spec(4, 3, 2), i4([1, 2], [3, 0])], [spec(2, 2)], {}),
    "windows": ("REDUCE_WINDOW", [spec(4, 5), np.float32(0), *[np.array(v, "i8") for v in (
        [2, 2], [1, 2], [1, 1])]], [spec(3, 2)], {"reduceFunction": 1}),
    "scatter": ("SCATTER_ND", [i4([3], [1], [3]), spec(3, 5), i4(4, 5)], [spec(4, 5)], {}),
    "update": ("DYNAMIC_UPDATE_SLICE", [spec(3, 5), spec(2, 3), spec(2, dtype="int32")],
               [spec(3, 5)], None),
    "one hot": ("ONE_HOT", [spec(5, dtype="int32"), np.array(8, "i4"), np.array(2, "f4"),
                            np.array(-1, "f4")], [spec(5, 8)], {"axis": -1}),
    "arg max": ("ARG_MAX", [spec(3, 7), np.array(1, "i4")], [spec(3, dtype="int64")],
                {"outputType": "int64"}),
    "running sum": ("CUMSUM", [spec(3, 5), np.array(1, "i4")], [spec(3, 5)], {}),
    "largest": ("TOPK_V2", [spec(3, 9), np.array(2, "i4")], [spec(3, 2), spec(3, 2, dtype="int32")],
                {}),
    "cast": ("CAST", [spec(3, 7)], [spec(3, 7, dtype="int32")],
             {"inDataType": "float32", "outDataType": "int32"}),
    "spectrum": ("RFFT2D", [spec(3, 3, 7), i4(4, 8)], [spec(3, 4, 5, dtype="complex64")], {}),
    "dense by matrix": ("FULLY_CONNECTED", [spec(3, 5), spec(7, 5), f4(7)], [spec(3, 7)], RELU),
    "conv by matrix": ("CONV_2D", [spec(1, 4, 5, 3), spec(5, 3, 2, 3), f4(5)],
                       [spec(1, 4, 5, 5)], SAME),
    "quantised conv": ("CONV_2D", [spec(1, 4, 5, 3, dtype="int8"),
                                   (np.arange(-48, 42, dtype="i1").reshape(5, 3, 2, 3),
                                    Quantization((0.02,), (0,))),
                                   (np.arange(5, dtype="i4"), Quantization((0.001,), (0,)))],
                       [spec(1, 4, 5, 5, dtype="int8")], SAME),
    "quantised conv of 9": ("CONV_2D", [spec(2, 4, 5, 3, dtype="int8"), i1(9, 3, 2, 3), biases(9)],
                            [spec(2, 4, 5, 9, dtype="int8")], SAME),
    "quantised conv dilated": ("CONV_2D", [spec(1, 6, 7, 5, dtype="int8"), i1(21, 3, 2, 5),
                                           biases(21)], [spec(1, 6, 7, 21, dtype="int8")],
                               {**SAME, "dilationHFactor": 2, "dilationWFactor": 3}),
    "quantised conv without signs": (
        "CONV_2D", [Spec((1, 4, 5, 3), "uint8", QUANT),
                    (np.arange(162, dtype="u1").reshape(9, 3, 2, 3), Quantization((0.02,), (99,))),
                    biases(9)], [Spec((1, 4, 5, 9), "uint8", QUANT)], SAME),
    "quantised dense": ("FULLY_CONNECTED", [spec(3, 9, dtype="int8"), i1(17, 9), biases(17)],
                        [spec(3, 17, dtype="int8")], {}),
    "quantised transposed": ("TRANSPOSE_CONV", [i4(1, 6, 4, 9), i1(9, 3, 3, 3),
                                                spec(1, 3, 2, 3, dtype="int8"), biases(9)],
                             [spec(1, 6, 4, 9, dtype="int8")],
                             {"padding": "SAME", "strideH": 2, "strideW": 2}),
    "hybrid dense of 9": ("FULLY_CONNECTED", [spec(3, 13), i1(9, 13), f4(9)], [spec(3, 9)], {}),
    "hybrid conv of 9": ("CONV_2D", [spec(2, 5, 4, 5), i1(9, 3, 3, 5), f4(9)], [spec(2, 5, 4, 9)],
                         SAME),
    "hybrid dense": ("FULLY_CONNECTED",
                     [spec(3, 12), (np.arange(-42, 42, dtype="i1").reshape(7, 12),
                                    Quantization((0.02,), (0,))), f4(7)], [spec(3, 7)], {}),
    "hybrid conv": ("CONV_2D",
                    [spec(2, 21, 20, 5), (np.arange(-7, 8, dtype="i1").reshape(3, 1, 1, 5),
                                          Quantization((0.02,), (0,))), f4(3)],
                    [spec(2, 21, 20, 3)], SAME),
}


# Tests that oclgrind watches beside this file, because TFLite does not know their ops, or knows
# them as several: kernels.
ELSEWHERE = {
    "test_engine_dense_pairs.py": {"dense_pair"},
    "test_engine_mediapipe.py": {"landmarks_matrix", "pool_argmax", "transform_bilinear",
                                 "transform_landmarks", "unpool"},
}
# What a runtime begins with that has dot products.
TRIAL = {"dots_trial"}
# What has a test of its own below.
WINOGRAD = {"winograd_in", "winograd_out"}
# Small nets for the kernels that only a pass asks for.
SMALL_NETS = ("lstm_float32", "text_float32")
LAYERS = {"lstm that looks at its cell": ("UNIDIRECTIONAL_SEQUENCE_LSTM",
                                          rest.LSTM_FORMS["peepholes"]),
          "oldest lstm": ("LSTM", rest.CASES["LSTM"])}


POOL = struct.pack("<6i", 1, 2, 2, 2, 2, 0)
CROP = bytes(flexbuffers.Dumps({
    "left_rotation_idx": 0, "right_rotation_idx": 1, "target_rotation_radians": 0.3,
    "output_height": 6, "output_width": 5, "scale_x": 1.5, "scale_y": 1.5, "subset_idxs": [2, 3]}))
# Custom ops that no TFLite runtime here has: op, inputs, outputs, options.
CUSTOM: dict[str, tuple[str, list[Spec], list[Spec], bytes]] = {
    "pool": ("MaxPoolingWithArgmax2D", [spec(1, 5, 4, 3)], [spec(1, 3, 2, 3)] * 2, POOL),
    "unpool": ("MaxUnpooling2D", [spec(1, 3, 2, 3)] * 2, [spec(1, 6, 4, 3)], POOL),
    "matrix": ("Landmarks2TransformMatrix", [spec(1, 5, 3)], [spec(1, 4, 4)], CROP),
    "points": ("TransformLandmarks", [spec(1, 5, 3), spec(1, 4, 4)], [spec(1, 5, 3)], b""),
    "resample": ("TransformTensorBilinear", [spec(1, 5, 4, 3), spec(1, 4, 4)],
                 [spec(1, 6, 5, 3)], CROP),
}


def blob_of(name: str) -> bytes:
    if name in CUSTOM:
        kind, ins, outs, custom = CUSTOM[name]
        return single_op(kind, ins, outs, custom=custom)
    if name in LAYERS:
        kind, case = LAYERS[name]
        return case.blob(kind)
    if name in SMALL_NETS:
        return (NETS / f"{name}.tflite").read_bytes()
    op, inputs, outputs, options = CASES[name]
    return single_op(op, inputs, outputs, options)


@CHECKED
@pytest.mark.parametrize("name", [*CASES, *SMALL_NETS, *LAYERS])
def test_small_shapes(runtime: Runtime, name: str) -> None:
    blob = blob_of(name)
    assert_op_same(runtime, blob, oracle.random_inputs(blob),
                   plain=name.startswith(("quantised", "hybrid")))


def kernels_of(plan: Plan) -> set[str]:
    """The kernels of its launches, and of those that a chain runs in their place."""
    return {part.kernel for launch in launches(plan) for part in (launch.parts or (launch,))}


@CHECKED
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(("extents", "padding"), [((2, 3, 6), "SAME"), ((1, 7, 4), "VALID"),
                                                  ((1, 1, 3), "SAME")])
def test_small_winograd(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tile: int,
                        extents: tuple[int, int, int], padding: str) -> None:
    n, h, w = extents
    rows, columns = (h, w) if padding == "SAME" else (h - 2, w - 2)
    blob = single_op("CONV_2D", [spec(n, h, w, 17), f4(18, 3, 3, 17), f4(18)],
                     [spec(n, rows, columns, 18)], {**SAME, "padding": padding, **RELU})
    monkeypatch.setitem(runtime.device.profile.choices.measured,
                        f"3x3 {n}x{rows}x{columns}x17x18", (tile,))
    made = plan_blob(blob, profile=runtime.device.profile)
    assert kernels_of(made) >= WINOGRAD
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@CHECKED
@pytest.mark.parametrize("name", CUSTOM)
def test_small_custom_ops(runtime: Runtime, name: str) -> None:
    rng = np.random.default_rng(8)
    inputs = [rng.uniform(0, 3, given.shape).astype("f4") for given in CUSTOM[name][1]]
    assert all(np.isfinite(y).all() for y in run_engine(runtime, blob_of(name), inputs))


def test_the_cases_use_every_kernel() -> None:
    names = (*CASES, *SMALL_NETS, *CUSTOM)
    used = set().union(*(kernels_of(plan_blob(blob_of(name), profile=profile))
                         for name in names for profile in (CPU, DOTS, RX_580)))
    text = "\n".join(path.read_text("utf-8") for path in KERNELS.glob("*.cl"))
    there = set(re.findall(r"void (\w+)\s*\(__(?:global|read_only)", text))
    missing = there - used - TRIAL - WINOGRAD - set().union(*ELSEWHERE.values())
    assert not missing, f"add a case for {sorted(missing)}"
