"""3D convolutions equal TFLite's."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import Spec, single_op
from tests.engine.engine_check import assert_op_same

EXAMPLES = settings(max_examples=8, deadline=None, derandomize=True)
TRIPLES = st.tuples(*[st.integers(1, 3)] * 3)
PADDING = st.sampled_from(["SAME", "VALID"])
NAMES = ("D", "H", "W")


def options(padding: str, strides: Any, dilation: int = 1) -> dict[str, Any]:
    return {"padding": padding, **{f"stride{n}": s for n, s in zip(NAMES, strides, strict=True)},
            **{f"dilation{n}Factor": dilation for n in NAMES}}


def values(*shape: int) -> oracle.Array:
    return np.random.default_rng(5).uniform(-1, 1, shape).astype("f4")


@EXAMPLES
@given(kernel=TRIPLES, strides=TRIPLES, padding=PADDING, dilation=st.sampled_from([1, 1, 2]),
       channels=st.sampled_from([1, 3, 8]), outputs=st.sampled_from([1, 5, 16]),
       activation=st.sampled_from(["NONE", "RELU6"]))
def test_convolution(runtime: Runtime, kernel: Any, strides: Any, padding: str, dilation: int,
                     channels: int, outputs: int, activation: str) -> None:
    size = (6, 7, 8)
    if dilation > 1:
        strides = (1, 1, 1)
    reach = [(k - 1) * dilation + 1 for k in kernel]
    out = [-(-e // s) if padding == "SAME" else (e - r) // s + 1
           for e, r, s in zip(size, reach, strides, strict=True)]
    blob = single_op("CONV_3D", [Spec((2, *size, channels)), values(*kernel, channels, outputs),
                                 values(outputs)], [Spec((2, *out, outputs))],
                     {**options(padding, strides, dilation),
                      "fusedActivationFunction": activation})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@EXAMPLES
@given(kernel=TRIPLES, strides=TRIPLES, padding=PADDING, channels=st.sampled_from([1, 3]),
       outputs=st.sampled_from([1, 5]), bias=st.booleans())
def test_transposed_convolution(runtime: Runtime, kernel: Any, strides: Any, padding: str,
                                channels: int, outputs: int, bias: bool) -> None:
    size = (2, 3, 4)
    out = [e * s if padding == "SAME" else (e - 1) * s + max(k, s)
           for e, s, k in zip(size, strides, kernel, strict=True)]
    blob = single_op("CONV_3D_TRANSPOSE",
                     [np.array([2, *out, outputs], "i4"), values(*kernel, outputs, channels),
                      Spec((2, *size, channels)), *([values(outputs)] if bias else [])],
                     [Spec((2, *out, outputs))], options(padding, strides))
    assert_op_same(runtime, blob, oracle.random_inputs(blob))
