"""Diagonals of matrices, and sequences in the other order, equal TFLite's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from tests.engine import oracle
from tests.engine.builder import Spec, single_op
from tests.engine.engine_check import assert_op_same

EXAMPLES = settings(max_examples=12, deadline=None, derandomize=True)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 1, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_matrices_of_a_diagonal(runtime: Runtime, shape: tuple[int, ...], dtype: str) -> None:
    blob = single_op("MATRIX_DIAG", [Spec(shape, dtype)], [Spec((*shape, shape[-1]), dtype)])
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 5), (2, 5, 3)], ids=str)
def test_another_diagonal(runtime: Runtime, shape: tuple[int, ...]) -> None:
    blob = single_op("MATRIX_SET_DIAG", [Spec(shape), Spec((*shape[:-2], min(shape[-2:])))],
                     [Spec(shape)])
    assert_op_same(runtime, blob, oracle.random_inputs(blob))


@pytest.mark.parametrize("k", [0, 1, -2, 4])
@pytest.mark.parametrize("shape", [(2, 3, 5), (5, 5)], ids=str)
def test_the_diagonal_of_tensorflow(runtime: Runtime, shape: tuple[int, ...], k: int) -> None:
    x = np.random.default_rng(3).uniform(-1, 1, shape).astype("f4")
    expected = np.diagonal(x, k, -2, -1)
    blob = single_op("FlexMatrixDiagPartV3", [Spec(shape), np.array(k, "i4"), np.float32(0)],
                     [Spec(expected.shape)], custom=b"")
    model = LoadedModel(runtime, read(blob))
    try:
        (actual,) = model.run([x])
        assert {r.place for r in model.explain()} == {"card"}
    finally:
        model.close()
    np.testing.assert_array_equal(actual, expected)


@EXAMPLES
@given(axes=st.permutations(range(3)), dtype=st.sampled_from(["float32", "int32"]),
       kind=st.sampled_from(["int32", "int64"]), data=st.data())
def test_sequences_of_own_lengths(runtime: Runtime, axes: list[int], dtype: str, kind: str,
                                  data: st.DataObject) -> None:
    shape, (lines, places) = (3, 4, 5, 2), axes[:2]
    lengths = data.draw(st.lists(st.integers(1, shape[places]), min_size=shape[lines],
                                 max_size=shape[lines]))
    blob = single_op("REVERSE_SEQUENCE", [Spec(shape, dtype), Spec((shape[lines],), kind)],
                     [Spec(shape, dtype)], {"seqDim": places, "batchDim": lines})
    x, _ = oracle.random_inputs(blob)
    assert_op_same(runtime, blob, [x, np.array(lengths, kind)])
