"""What newer converters write: narrow weights, scales for blocks, op codes in one field only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from app.engine import subbyte
from app.engine.runtime import Runtime
from app.tensors import Quantization
from tests.engine import oracle
from tests.engine.builder import AlignedBuilder, ModelBuilder, Spec, single_op
from tests.engine.engine_check import assert_op_same


@pytest.mark.parametrize("data", ["float32", "int8"])
@pytest.mark.parametrize(("name", "shape"), [("FULLY_CONNECTED", (7, 15)),
                                             ("CONV_2D", (7, 3, 3, 5))])
def test_int4_weights(runtime: Runtime, name: str, shape: tuple[int, ...], data: str) -> None:
    rng = np.random.default_rng(10)
    scales = tuple(float(s) for s in rng.uniform(0.05, 0.1, 7).astype("f4"))
    x = Quantization((0.05,), (3,)) if data == "int8" else None
    y = Quantization((0.4,), (-5,)) if data == "int8" else None
    weights = (rng.integers(-7, 8, shape).astype("i1"), Quantization(scales, (0,) * 7), "int4")
    bias: Any = rng.uniform(-1, 1, 7).astype("f4")
    if x is not None:
        steps = tuple(float(np.float32(0.05) * np.float32(s)) for s in scales)
        bias = (rng.integers(-50, 50, 7).astype("i4"), Quantization(steps, (0,) * 7))
    full = name == "FULLY_CONNECTED"
    blob = single_op(name, [Spec((2, 15) if full else (1, 6, 6, 5), data, x), weights, bias],
                     [Spec((2, 7) if full else (1, 6, 6, 7), data, y)],
                     {"asymmetricQuantizeInputs": True} if full else
                     {"padding": "SAME", "strideH": 1, "strideW": 1})
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_int2_weights(runtime: Runtime) -> None:
    quant = Quantization((0.05,) * 8, (0,) * 8)
    raw = np.random.default_rng(11).integers(0, 256, (8, 4)).astype("u1")
    blob = single_op("FULLY_CONNECTED", [Spec((2, 16)), (raw, quant, "int2"), None],
                     [Spec((2, 8))], {"asymmetricQuantizeInputs": True})
    assert_op_same(runtime, blob, oracle.random_inputs(blob), plain=True)


def test_int4_weights_with_a_scale_for_each_block(runtime: Runtime) -> None:
    rng = np.random.default_rng(12)
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((3, 64))
    # As converters write them: XNNPACK keeps eight bits of a scale.
    scales = (rng.integers(8, 16, (5, 2)) / 128).astype("f2")
    w = graph.blocks(rng.integers(-7, 8, (5, 64)).astype("i1"), graph.const(scales), 32)
    bias = graph.const(rng.uniform(-1, 1, 5).astype("f4"))
    graph.outputs(*graph.op("FULLY_CONNECTED", [x, w, bias], [Spec((3, 5))], {}))
    blob = model.build()
    # TFLite's own kernel takes no such weights; XNNPACK does.
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


def test_an_op_code_in_the_wide_field_alone(runtime: Runtime) -> None:
    blob = single_op("MUL", [Spec((2, 3)), Spec((2, 3))], [Spec((2, 3))], {})
    model = schema.ModelT.InitFromPackedBuf(bytearray(blob), 0)
    model.operatorCodes[0].deprecatedBuiltinCode = 0
    builder = AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    written = bytes(builder.Output())
    assert_op_same(runtime, written, oracle.random_inputs(written))


@given(data=st.data(), dtype=st.sampled_from(sorted(subbyte.BITS)))
def test_narrow_numbers_survive_packing(data: Any, dtype: str) -> None:
    least = -(1 << (subbyte.BITS[dtype] - 1))
    numbers = data.draw(st.lists(st.integers(least, -least - 1), max_size=17))
    array = np.array(numbers, "i1")
    packed = subbyte.packed(array, dtype)
    assert subbyte.unpacked(packed, array.shape, dtype).tolist() == numbers
    with pytest.raises(ValueError, match="cannot hold"):
        subbyte.unpacked(np.append(packed, np.uint8(0)), array.shape, dtype)
