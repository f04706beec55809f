"""What TensorFlow's converter leaves to TensorFlow, and numpy does here: pictures, boxes, matrices,
letters over time, counts and rows. Known answers are TensorFlow's (2.21)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.engine.cpu.whole import WholeModel
from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.errors import InvalidInput, UnsupportedOp
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec, single_op
from tests.engine.node_defs import node_def

RNG = np.random.default_rng(13)


def floats(*shape: int, low: float = -1, high: float = 1) -> oracle.Array:
    return RNG.uniform(low, high, shape).astype("f4")


def flex(name: str, inputs: Sequence[Any], outputs: Sequence[Spec], **attributes: Any) -> bytes:
    return single_op(f"Flex{name}", inputs, outputs, custom=node_def(name, **attributes))


def answers(runtime: Runtime, blob: bytes, inputs: list[oracle.Array]) -> list[oracle.Array]:
    """The model's answers, the same from a device's plan and without a device."""
    loaded = LoadedModel(runtime, read(blob))
    try:
        made = loaded.run(inputs)
    finally:
        loaded.close()
    for own, other in zip(made, WholeModel(read(blob)).run(inputs), strict=True):
        np.testing.assert_array_equal(own, other)
    return made


def of(array: Any) -> Spec:
    return Spec(array.shape, "bytes" if array.dtype == object else str(array.dtype))


def check(runtime: Runtime, blob: bytes, inputs: list[oracle.Array],
          expected: Sequence[Any]) -> None:
    for own, right in zip(answers(runtime, blob, inputs), map(np.asarray, expected), strict=True):
        assert own.shape == right.shape
        if own.dtype.kind in "fc":
            np.testing.assert_allclose(own, right, rtol=2e-6, atol=2e-6)
        else:
            np.testing.assert_array_equal(own, right)


# Matrices

def test_inverse_determinant_and_factors(runtime: Runtime) -> None:
    a = floats(3, 4, 4)
    x = a @ a.transpose(0, 2, 1) + 4 * np.eye(4, dtype="f4")
    (inverse,) = answers(runtime, flex("MatrixInverse", [of(x)], [of(x)], adjoint=False), [x])
    np.testing.assert_allclose(inverse @ x, np.broadcast_to(np.eye(4), x.shape), atol=1e-6)
    (low,) = answers(runtime, flex("Cholesky", [of(x)], [of(x)]), [x])
    np.testing.assert_allclose(low @ low.transpose(0, 2, 1), x, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(low, np.tril(low))
    one = Spec((3,))
    sums = [sum(np.prod([m[i, p[i]] for i in range(4)]) * np.linalg.det(np.eye(4)[list(p)])
                for p in itertools.permutations(range(4))) for m in x.astype("f8")]
    check(runtime, flex("MatrixDeterminant", [of(x)], [one]), [x], [sums])
    check(runtime, flex("LogMatrixDeterminant", [of(x)], [one, one]), [-x],
          [np.ones(3), np.log(sums)])


def test_a_matrix_without_an_inverse_is_no_fault(runtime: Runtime) -> None:
    x = np.stack([np.zeros((2, 2)), 2 * np.eye(2)]).astype("f4")
    check(runtime, flex("MatrixInverse", [of(x)], [of(x)]), [x],
          [np.stack([np.full((2, 2), np.nan), np.eye(2) / 2])])


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("adjoint", [False, True])
def test_triangular_solutions(runtime: Runtime, lower: bool, adjoint: bool) -> None:
    a, b = floats(2, 3, 3) + 3 * np.eye(3, dtype="f4"), floats(2, 3, 2)
    blob = flex("MatrixTriangularSolve", [of(a), of(b)], [of(b)], lower=lower, adjoint=adjoint)
    (x,) = answers(runtime, blob, [a, b])
    half = np.tril(a) if lower else np.triu(a)
    np.testing.assert_allclose((half.transpose(0, 2, 1) if adjoint else half) @ x, b, atol=2e-6)


@pytest.mark.parametrize("full", [False, True])
def test_orthogonal_factors(runtime: Runtime, full: bool) -> None:
    x, p = floats(2, 5, 3), 5 if full else 3
    blob = flex("Qr", [of(x)], [Spec((2, 5, p)), Spec((2, p, 3))], full_matrices=full)
    q, r = answers(runtime, blob, [x])
    np.testing.assert_allclose(q @ r, x, atol=2e-6)
    np.testing.assert_allclose(q.transpose(0, 2, 1) @ q, np.broadcast_to(np.eye(p), (2, p, p)),
                               atol=2e-6)
    np.testing.assert_array_equal(r, np.triu(r))


@pytest.mark.parametrize("k", [-2, 0, 1])
def test_diagonals_beside_the_middle(runtime: Runtime, k: int) -> None:
    d = floats(2, 3)
    x = floats(2, 3 + max(-k, 0), 3 + max(k, 0))
    given = [of(d), np.array([k], "i4"), np.array(-1, "i4"), np.array(-1, "i4"),
             np.array(.5, "f4")]
    square = 3 + abs(k)
    rows, columns = np.indices((square, square))
    made = np.full((2, square, square), .5, "f4")
    made[:, columns - rows == k] = d
    check(runtime, flex("MatrixDiagV3", given, [Spec(made.shape)]), [d], [made])
    rows, columns = np.indices(x.shape[1:])
    changed = x.copy()
    changed[:, columns - rows == k] = d
    check(runtime, flex("MatrixSetDiagV3", [of(x), of(d), np.array([k], "i4")], [of(x)]), [x, d],
          [changed])


# Pictures

@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_boxes_cut_from_pictures(runtime: Runtime, method: str) -> None:
    x, which = floats(2, 6, 8, 3), np.array([0, 1, 1], "i4")
    boxes = np.array([[0, 0, 1, 1], [.13, .9, .71, .2], [-.25, .3, 1.2, .9]], "f4")
    expected = np.full((3, 4, 5, 3), .5, "f4")
    for n, (top, left, bottom, right) in enumerate(boxes):
        for i, j in itertools.product(range(4), range(5)):
            y = (top + (bottom - top) * i / 3) * 5
            z = (left + (right - left) * j / 4) * 7
            if not (0 <= y <= 5 and 0 <= z <= 7):
                continue
            own = x[which[n]]
            if method == "nearest":
                expected[n, i, j] = own[int(y + .5), int(z + .5)]
                continue
            a, b = int(y), int(z)
            c, d = min(a + 1, 5), min(b + 1, 7)
            expected[n, i, j] = (own[a, b] * (a + 1 - y) * (b + 1 - z) + own[c, b] * (y - a)
                                 * (b + 1 - z) + own[a, d] * (a + 1 - y) * (z - b)
                                 + own[c, d] * (y - a) * (z - b))
    blob = flex("CropAndResize", [of(x), of(boxes), of(which), np.array([4, 5], "i4")],
                [Spec(expected.shape)], method=method, extrapolation_value=.5)
    check(runtime, blob, [x, boxes, which], [expected])
    with pytest.raises(InvalidInput, match="there are 2"):
        answers(runtime, blob, [x, boxes, which + 1])


def test_boxes_of_several_classes(runtime: Runtime) -> None:
    """Overlaps count within a class; the best of all classes come first."""
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, .9], [1, 1, .5, .5], [0, 0, 2, .1]], "f4")
    scores = np.array([[.9, .1], [.8, .7], [.3, .6], [.05, .2]], "f4")
    limits: list[Any] = [np.array(v, t) for v, t in ((2, "i4"), (5, "i4"), (.5, "f4"), (.1, "f4"))]
    expected = [[boxes[0], boxes[1], boxes[2], boxes[2], np.zeros(4)]], [[.9, .7, .6, .3, 0]], [
        [0, 1, 1, 0, 0]], [4]
    for padded in (False, True):
        size = 4 if padded else 5
        outputs = [Spec((1, size, 4)), Spec((1, size)), Spec((1, size)), Spec((1,), "int32")]
        blob = flex("CombinedNonMaxSuppression",
                    [Spec((1, 4, 1, 4)), Spec((1, 4, 2)), *limits], outputs,
                    pad_per_class=padded, clip_boxes=False)
        check(runtime, blob, [boxes[None, :, None], scores[None]],
              [np.asarray(e)[:, :size] if np.ndim(e) > 1 else e for e in expected])


def test_colours(runtime: Runtime) -> None:
    x = np.array([[[[1, 0, 0], [0, .5, 0]], [[.2, .2, .8], [.25, .25, .25]]]], "f4")
    hsv = np.array([[[[0, 1, 1], [1 / 3, 1, .5]], [[2 / 3, .75, .8], [0, 0, .25]]]], "f4")
    check(runtime, flex("RGBToHSV", [of(x)], [of(x)]), [x], [hsv])
    check(runtime, flex("HSVToRGB", [of(x)], [of(x)]), [hsv], [x])
    one = np.array(1 / 3, "f4")
    check(runtime, flex("AdjustHue", [of(x), one], [of(x)]), [x], [np.roll(x, 1, -1)])
    grey = x.max(-1, keepdims=True) - (x.max(-1, keepdims=True) - x) * .5
    check(runtime, flex("AdjustSaturation", [of(x), np.array(.5, "f4")], [of(x)]), [x], [grey])
    mean = x.mean((1, 2), keepdims=True)
    check(runtime, flex("AdjustContrastv2", [of(x), np.array(1.5, "f4")], [of(x)]), [x],
          [mean + 1.5 * (x - mean)])


@pytest.mark.parametrize(("corners", "half", "expected"), [
    (False, True, [[.2957, 2.25624, 2.22628, 2.17264, 4.08865],
                   [1.27135, .39682, 1.81022, 3.19995, 2.28088]]),
    (False, False, [[0, 2.66351, 1.56129, 2.3378, 5.38419],
                    [1.6875, .76777, 2.90508, 3.02346, .76712]]),
    (True, False, [[0, 2.53125, 1.90625, 1.69531, 5], [1, -.08984, 1.40625, 3.31641, 3]])])
def test_cubic_resizing(runtime: Runtime, corners: bool, half: bool, expected: Any) -> None:
    x = np.array([[0, 3, 1, 5], [2, 2, 4, 0], [1, 0, 3, 3]], "f4").reshape(1, 3, 4, 1)
    blob = flex("ResizeBicubic", [of(x), np.array([2, 5], "i4")], [Spec((1, 2, 5, 1))],
                align_corners=corners, half_pixel_centers=half)
    (made,) = answers(runtime, blob, [x])
    np.testing.assert_allclose(made[0, :, :, 0], expected, atol=1e-5)


def test_windows_maxima_and_their_places(runtime: Runtime) -> None:
    x = RNG.permutation(120).reshape(1, 6, 5, 4).astype("f4")
    outputs = [Spec((1, 3, 3, 4)), Spec((1, 3, 3, 4), "int64")]
    blob = flex("MaxPoolWithArgmax", [of(x)], outputs, ksize=(1, 2, 2, 1), strides=(1, 2, 2, 1),
                padding="SAME", include_batch_in_index=False)
    best, place = answers(runtime, blob, [x])
    wide = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=-1)
    np.testing.assert_array_equal(best, wide.reshape(1, 3, 2, 3, 2, 4).max((2, 4)))
    np.testing.assert_array_equal(x.reshape(-1)[place], best)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_largest_sums_in_windows(runtime: Runtime, padding: str) -> None:
    x, w = floats(1, 5, 6, 2), floats(2, 3, 2)
    pad = ((0, 0), (0, 1), (1, 1), (0, 0)) if padding == "SAME" else ((0, 0),) * 4
    wide = np.pad(x, pad, constant_values=-np.inf)
    views = np.lib.stride_tricks.sliding_window_view(wide, (2, 3), (1, 2))
    expected = (views + w.transpose(2, 0, 1)).max((-2, -1))
    blob = flex("Dilation2D", [of(x), w], [of(expected)], strides=(1, 1, 1, 1),
                rates=(1, 1, 1, 1), padding=padding)
    check(runtime, blob, [x], [expected])


# Letters over time

LENGTHS = np.array([6, 3], "i4")


@pytest.mark.parametrize("merged", [False, True])
def test_the_best_letter_of_each_step(runtime: Runtime, merged: bool) -> None:
    best = np.array([[0, 2], [0, 1], [3, 1], [0, 2], [3, 0], [2, 0]])
    x = floats(6, 2, 4) + 3 * np.eye(4, dtype="f4")[best]
    outputs = [Spec((-1, 2), "int64"), Spec((-1,), "int64"), Spec((2,), "int64"), Spec((2, 1))]
    blob = flex("CTCGreedyDecoder", [of(x), of(LENGTHS)], outputs, merge_repeated=merged,
                blank_index=-1)
    rows = [[0, 0, 2], [2, 1]] if merged else [[0, 0, 0, 2], [2, 1, 1]]
    places = [(b, k) for b, row in enumerate(rows) for k in range(len(row))]
    scores = [[-x[:n, b].max(-1).sum()] for b, n in enumerate(LENGTHS)]
    labels = [k for row in rows for k in row]
    check(runtime, blob, [x, LENGTHS], [places, labels, [2, len(max(rows, key=len))], scores])


def test_the_most_probable_texts(runtime: Runtime) -> None:
    """All ways to write each text, added up one by one."""
    x = floats(4, 1, 3, low=-2, high=2)
    chance = np.exp(x[:, 0]) / np.exp(x[:, 0]).sum(-1, keepdims=True)
    texts: dict[tuple[int, ...], float] = {}
    for way in itertools.product(range(3), repeat=4):
        text = tuple(k for k, _ in itertools.groupby(way) if k != 2)
        texts[text] = texts.get(text, 0) + float(np.prod(chance[range(4), way]))
    ranked = sorted(texts, key=lambda t: -texts[t])[:2]
    outputs = [Spec((-1, 2), "int64"), Spec((-1, 2), "int64"), Spec((-1,), "int64"),
               Spec((-1,), "int64"), Spec((2,), "int64"), Spec((2,), "int64"), Spec((1, 2))]
    blob = flex("CTCBeamSearchDecoder", [of(x), Spec((1,), "int32")], outputs, beam_width=50,
                top_paths=2, merge_repeated=False)
    made = answers(runtime, blob, [x, np.array([4], "i4")])
    assert [tuple(m.tolist()) for m in made[2:4]] == ranked
    np.testing.assert_allclose(made[6], [[np.log(texts[t]) for t in ranked]], rtol=1e-5)


# Counts and rows

@pytest.mark.parametrize("binary", [False, True])
def test_counts(runtime: Runtime, binary: bool) -> None:
    x, weights = RNG.integers(0, 9, (3, 20)).astype("i4"), floats(3, 20, low=.1)
    size = np.array(6, "i4")
    for w in (np.zeros(0, "f4"), weights):
        expected = np.zeros((3, 6), "f4")
        for (row, _), k in np.ndenumerate(x):
            if k < 6:
                expected[row, k] += w[row, _] if w.size else 1
        blob = flex("DenseBincount", [of(x), size, of(w)], [Spec((3, 6))], binary_output=binary)
        check(runtime, blob, [x, w], [expected > 0 if binary else expected])


def test_what_occurs(runtime: Runtime) -> None:
    x = np.array([5, 2, 5, 9, 2, 5], "i4")
    outputs = [Spec((-1,), "int32")] * 3
    check(runtime, flex("UniqueWithCounts", [of(x)], outputs), [x],
          [[5, 2, 9], [0, 1, 0, 2, 1, 0], [3, 2, 1]])
    rows = x.reshape(3, 2)
    check(runtime, flex("UniqueV2", [of(rows), np.array([0], "i4")],
                        [Spec((-1, 2), "int32"), Spec((-1,), "int32")]), [rows[[0, 1, 0]]],
          [rows[:2], [0, 1, 0]])


def test_places_in_order(runtime: Runtime) -> None:
    rows = np.array([[1, 3, 3, 5], [0, 0, 2, 9]], "f4")
    values = np.array([[3, 0, 6], [0, 1, 9]], "f4")
    for name, expected in (("LowerBound", [[1, 0, 4], [0, 2, 3]]),
                           ("UpperBound", [[3, 0, 4], [2, 2, 4]])):
        check(runtime, flex(name, [of(rows), of(values)], [Spec((2, 3), "int32")]),
              [rows, values], [expected])


def test_labels_among_the_best(runtime: Runtime) -> None:
    scores = np.array([[.1, .5, .4], [.1, .5, .4], [.2, .2, .2], [1, 2, np.nan]], "f4")
    labels = np.array([2, 0, 1, 1], "i4")
    blob = flex("InTopKV2", [of(scores), of(labels), np.array(2, "i4")], [Spec((4,), "bool")])
    check(runtime, blob, [scores, labels], [[True, False, True, False]])


def test_rows_of_segments(runtime: Runtime) -> None:
    x, numbers = floats(5, 3), np.array([0, 0, 2, 2, 2], "i4")
    for name, join, empty in (("Mean", np.mean, 0), ("Max", np.max, 0), ("Min", np.min, 0),
                              ("Prod", np.prod, 1)):
        expected = [join(x[:2], 0), np.full(3, empty), join(x[2:], 0)]
        blob = flex(f"Segment{name}", [of(x), of(numbers)], [Spec((-1, 3))])
        check(runtime, blob, [x, numbers], [np.array(expected)])
        with pytest.raises(InvalidInput, match="in order"):
            answers(runtime, blob, [x, numbers[::-1]])
    which = np.array([4, 0, 0, 3, 1], "i4")
    for name, share in (("Sum", 1), ("Mean", 1 / 3), ("SqrtN", 3 ** -.5)):
        first = x[4] + x[0] if name == "Sum" else (x[4] + x[0]) / (2 if name == "Mean" else 2 ** .5)
        expected = [first, np.zeros(3), (x[0] + x[3] + x[1]) * share]
        blob = flex(f"SparseSegment{name}", [of(x), of(which), of(numbers)], [Spec((-1, 3))])
        check(runtime, blob, [x, which, numbers], [np.array(expected)])


def test_parts_by_number(runtime: Runtime) -> None:
    x, parts = floats(5, 2), np.array([2, 0, 2, 2, 0], "i4")
    blob = flex("DynamicPartition", [of(x), of(parts)], [Spec((-1, 2))] * 3)
    check(runtime, blob, [x, parts], [x[[1, 4]], x[:0], x[[0, 2, 3]]])


def test_sparse_matrices(runtime: Runtime) -> None:
    places = np.array([[0, 1], [2, 0], [2, 3]], "i8")
    values, b, extents = floats(3), floats(4, 5), np.array([3, 4], "i8")
    full = np.zeros((3, 4), "f4")
    full[tuple(places.T)] = values
    blob = flex("SparseTensorDenseMatMul", [places, of(values), extents, of(b)], [Spec((3, 5))],
                adjoint_a=False, adjoint_b=False)
    check(runtime, blob, [values, b], [full @ b])
    outputs = [Spec((-1, 2), "int64"), Spec((-1,)), Spec((-1,), "bool"), Spec((-1,), "int64")]
    blob = flex("SparseFillEmptyRows", [places, of(values), np.array([4, 4], "i8"),
                                        np.array(.5, "f4")], outputs)
    check(runtime, blob, [values], [
        [[0, 1], [1, 0], [2, 0], [2, 3], [3, 0]], [values[0], .5, *values[1:], .5],
        [False, True, False, True], [0, 2, 3]])


def test_rows_of_different_lengths(runtime: Runtime) -> None:
    x, default = floats(6), np.array(-1, "f4")
    ends, owners = np.array([0, 2, 2, 6], "i8"), np.array([0, 0, 2, 2, 2, 2], "i8")
    right = np.full((3, 4), -1, "f4")
    right[0, :2], right[2] = x[:2], x[2:]
    for kinds, parts in ((("ROW_SPLITS",), [ends]),
                         (("FIRST_DIM_SIZE", "VALUE_ROWIDS"), [np.array(3, "i8"), owners])):
        for shape, expected in (([-1, -1], right), ([4, 3], np.pad(
                right, ((0, 1), (0, 0)), constant_values=-1)[:, :3])):
            blob = flex("RaggedTensorToTensor", [np.array(shape, "i8"), of(x), default, *parts],
                        [Spec((-1, -1))], row_partition_types=kinds)
            check(runtime, blob, [x], [expected])


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_logarithms_of_sums(runtime: Runtime, exclusive: bool, reverse: bool) -> None:
    x = floats(3, 4, low=-50, high=50)
    turned = x[:, ::-1] if reverse else x
    expected = np.log(np.cumsum(np.exp(turned.astype("f8")), 1))
    if exclusive:
        expected = np.concatenate([np.full((3, 1), -np.inf), expected[:, :-1]], 1)
    blob = flex("CumulativeLogsumexp", [of(x), np.array(1, "i4")], [of(x)], exclusive=exclusive,
                reverse=reverse)
    loaded = LoadedModel(runtime, read(blob))
    (made,) = loaded.run([x])
    assert {r.place for r in loaded.explain()} == {"card"}
    loaded.close()
    oracle.assert_close(made, (expected[:, ::-1] if reverse else expected).astype("f4"), 2e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_elements_some_places_on(runtime: Runtime, axis: int) -> None:
    x, by = floats(4, 5), np.array([-2], "i4")
    blob = flex("Roll", [of(x), of(by), np.array([axis], "i4")], [of(x)])
    check(runtime, blob, [x, by], [np.roll(x, -2, axis)])


def test_numbers_of_a_type_that_numpy_lacks_are_refused(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    (odd,) = graph.op("CAST", [graph.input((3,))], [Spec((3,), "bfloat16")])
    (more,) = graph.op("FlexMul", [odd, odd], [odd.spec], custom=node_def("Mul"))
    graph.outputs(*graph.op("CAST", [more], [Spec((3,))]))
    with pytest.raises(UnsupportedOp, match="type of number"):
        LoadedModel(runtime, read(model.build())).prepare()


def test_random_numbers_of_a_seed(runtime: Runtime) -> None:
    """The numbers are TensorFlow's."""
    seed = np.array([123456789012, -7])
    key, counter = Spec((1,), "uint64"), Spec((2,), "uint64")
    keys = answers(runtime, flex("StatelessRandomGetKeyCounter", [Spec((2,), "int64")],
                                 [key, counter]), [seed])
    assert [k.tolist() for k in keys] == [[3718480216724448637], [0, 10348599065775757963]]
    size, generator = np.array([5], "i4"), np.array(1, "i4")
    for name, expected in (
            ("Uniform", [.739901065826416, .3802443742752075, .725715160369873, .8937839269638062,
                         .5489096641540527]),
            ("Normal", [.5304722189903259, -.5666365027427673, -.4956035017967224,
                        .628945529460907, 1.061497449874878])):
        blob = flex(f"StatelessRandom{name}V2", [size, key, counter, generator], [Spec((5,))])
        check(runtime, blob, keys, [expected])
    blob = flex("StatelessRandomUniformIntV2",
                [size, key, counter, generator, np.array(-3, "i4"), np.array(9, "i4")],
                [Spec((5,), "int32")])
    check(runtime, blob, keys, [[1, 6, -3, 4, -3]])


@pytest.mark.parametrize(("mode", "kind", "sums"), [
    ("CONSTANT", "NEAREST", [-107.0, 1124.0]),
    ("CONSTANT", "BILINEAR", [-85.71, 1077.92]),
    ("REFLECT", "NEAREST", [3574.0, 2930.0]),
    ("REFLECT", "BILINEAR", [3213.19, 2890.83]),
    ("WRAP", "NEAREST", [2637.0, 3491.0]),
    ("WRAP", "BILINEAR", [2330.38, 3375.38]),
    ("NEAREST", "NEAREST", [3575.0, 3467.0]),
    ("NEAREST", "BILINEAR", [3603.16, 3396.51]),
])
def test_pictures_turned_and_moved(runtime: Runtime, mode: str, kind: str, sums: Any) -> None:
    """The sums, each pixel by its number, are those of TensorFlow's answers."""
    x = (np.arange(24) ** 2 % 17).astype("f4").reshape(2, 3, 4, 1)
    turns = np.array([[1.1, .3, -1.5, -.2, .8, 2.2, .02, -.01], [.5, -1, 3, 1, .5, -2, 0, .05]],
                     "f4")
    blob = flex("ImageProjectiveTransformV3", [of(x), of(turns), np.array([5, 6], "i4"),
                                               np.array(-1, "f4")], [Spec((2, 5, 6, 1))],
                fill_mode=mode, interpolation=kind)
    (made,) = answers(runtime, blob, [x, turns])
    np.testing.assert_allclose((made[..., 0] * np.arange(30).reshape(5, 6)).sum((1, 2)), sums,
                               atol=.02)
