"""Requests of the Open Inference Protocol, with tritonclient's own encoder as the oracle."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tritonclient.utils import np_to_triton_dtype

from app.errors import InvalidRequest, ServingError
from app.wire import dtypes
from app.wire.lists import Document
from app.wire.request import parse

NUMERIC = [row.numpy for row in dtypes.BY_NUMPY.values() if row.numpy not in ("bytes", "bool")]
SHAPES = arrays.array_shapes(max_dims=4, max_side=6)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)
KEYS = st.sampled_from(["name", "shape", "datatype", "data", "parameters", "id"])


@st.composite
def tensors(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    dtype = draw(st.sampled_from([*NUMERIC, "bool", "bytes"]))
    shape = draw(SHAPES)
    if dtype == "bytes":
        text = draw(arrays.arrays(object, shape, elements=st.text(max_size=5)))
        return np.vectorize(lambda s: s.encode(), otypes=[object])(text)
    finite = {"allow_nan": False, "allow_infinity": False} if "float" in dtype else {}
    return draw(arrays.arrays(dtype, shape, elements=finite or None))


def as_triton(name: str, array: np.ndarray[Any, Any], binary: bool) -> Any:
    tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def v2(**tensor: Any) -> bytes:
    given = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]} | tensor
    return json.dumps({"inputs": [given]}).encode()


@given(batch=st.lists(st.tuples(tensors(), st.booleans()), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_tritonclient_writes_is_read_to_the_bit(batch: list[Any]) -> None:
    # tritonclient refuses to write FP16 as JSON.
    sent = {f"x{i}": (a, b or a.dtype == np.float16) for i, (a, b) in enumerate(batch)}
    body, size = triton.InferenceServerClient.generate_request_body(
        [as_triton(name, array, binary) for name, (array, binary) in sent.items()]
    )
    request = parse(bytes(body), None if size is None else str(size))
    assert list(request.inputs) == list(sent)
    for name, (array, _) in sent.items():
        read = request.inputs[name]
        assert (read.shape, read.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(read, array)


@given(array=arrays.arrays(st.sampled_from(NUMERIC), SHAPES), nested=st.booleans())
@settings(max_examples=150, deadline=None)
def test_json_lists_are_read_flat_and_nested(array: Any, nested: bool) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=-1.0)
    wire = dtypes.BY_NUMPY[array.dtype.name].wire
    data = array.tolist() if nested else array.ravel().tolist()
    read = parse(v2(shape=list(array.shape), datatype=wire, data=data)).inputs["x"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_a_binary_tensor_is_a_view_of_the_body() -> None:
    array = np.arange(1000, dtype=np.float32)
    body, size = triton.InferenceServerClient.generate_request_body([as_triton("x", array, True)])
    body = bytes(body)
    read = parse(body, str(size)).inputs["x"]
    assert np.shares_memory(read, np.frombuffer(body, dtype=np.uint8))


@given(
    rows=st.integers(2, 40),
    columns=st.integers(2, 40),
    victim=st.integers(0, 39),
    change=st.sampled_from(["drop", "add", "nest", "scalar", "move"]),
)
@settings(max_examples=150, deadline=None)
def test_one_irregular_list_among_many_is_refused(
    rows: int, columns: int, victim: int, change: str
) -> None:
    data: list[Any] = [[float(i + j) for j in range(columns)] for i in range(rows)]
    row = victim % rows
    if change == "move":
        data[(row + 1) % rows].append(data[row].pop())
    elif change == "nest":
        data[row][-1] = [data[row][-1]]
    elif change == "scalar":
        data[row] = 1.0
    else:
        data[row] = data[row][:-1] if change == "drop" else [*data[row], 1.0]
    with pytest.raises(InvalidRequest):
        parse(v2(shape=[rows, columns], data=data))


def test_lists_in_strings_do_not_vouch_for_a_ragged_tensor() -> None:
    good = [[1.0] * 10 for _ in range(10)]
    ragged = [[1.0] * 10 for _ in range(8)] + [[1.0] * 11, [1.0] * 9]
    body = v2(shape=[10, 10], data=ragged, parameters={"note": f'"data":{json.dumps(good)}'})
    with pytest.raises(InvalidRequest, match="ragged"):
        parse(body)


@given(junk=JUNK)
@settings(max_examples=200, deadline=None)
def test_any_json_is_read_or_refused_as_the_callers_fault(junk: Any) -> None:
    for body in (junk, {"inputs": junk}, {"inputs": [junk]}, {"inputs": [], "id": junk}):
        with pytest.raises(InvalidRequest):
            parse(json.dumps(body).encode())


@given(
    tensor=st.dictionaries(KEYS, JUNK),
    extra=st.dictionaries(st.sampled_from(["outputs", "parameters", "id"]), JUNK),
    header=st.none() | st.text(max_size=5),
)
@settings(max_examples=300, deadline=None)
def test_a_request_with_junk_anywhere_never_raises_anything_else(
    tensor: Any, extra: Any, header: str | None
) -> None:
    good = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
    for body in ({"inputs": [good | tensor]} | extra, {"inputs": [tensor]} | extra):
        try:
            parse(json.dumps(body).encode(), header)
        except InvalidRequest:
            continue


@given(raw=st.binary(max_size=200), header=st.none() | st.integers(-3, 300).map(str))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_as_the_callers_fault(raw: bytes, header: str | None) -> None:
    with pytest.raises(ServingError):
        parse(raw, header)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_binary_requests_never_raise_anything_else(data: st.DataObject) -> None:
    array = data.draw(tensors())
    body, size = triton.InferenceServerClient.generate_request_body([as_triton("x", array, True)])
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(
                st.integers(0, 7)
            )
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        parse(
            bytes(damaged[:cut]), str(data.draw(st.sampled_from([size, size - 1, size + 1, cut])))
        )
    except InvalidRequest:
        return


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        ({"shape": [3]}, "declares shape"),
        ({"shape": [-1]}, "none negative"),
        ({"shape": [2**70]}, "not valid JSON"),
        ({"shape": [2**62, 4], "data": [1]}, "declares shape"),
        ({"shape": [2**31, 0, 2**31], "data": []}, "no memory"),
        ({"shape": [2**31, 0, 2**31], "data": None, "parameters": {"binary_data_size": 0}},
         "no memory"),
        ({"shape": [True, 2]}, "none negative"),
        ({"shape": "2"}, "none negative"),
        ({"datatype": "FP31"}, "allowed are BOOL"),
        ({"datatype": "INT8", "data": [1, 128]}, "outside the range"),
        ({"datatype": "UINT8", "data": [1, -1]}, "range|fit"),
        ({"datatype": "UINT64", "data": [1, -1]}, "outside the range of uint64"),
        ({"datatype": "INT64", "data": [1, 1.5]}, "fit int64"),
        ({"datatype": "FP32", "data": [1, 1e39]}, "outside the range"),
        ({"datatype": "FP32", "data": [1, True]}, "numbers"),
        ({"datatype": "FP32", "data": [1, None]}, "numbers"),
        ({"datatype": "BOOL", "data": [True, 2]}, "true or false"),
        ({"datatype": "BYTES", "data": ["a", 1]}, "strings"),
        ({"data": {"a": 1}}, "a list"),
        ({"parameters": {"binary_data_size": 8}}, "send one"),
        ({"data": None, "parameters": {"binary_data_size": 8}}, "only 0 bytes"),
        ({"parameters": {"shared_memory_region": "r"}}, "shared memory"),
        ({"parameters": []}, "must be an object"),
        ({"name": 7}, '"name"'),
    ],
)
def test_a_wrong_tensor_is_explained(tensor: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        parse(v2(**tensor))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (v2(data=None, parameters={"binary_data_size": 8}) + b"\xc8" * 8,
         "not valid UTF-8; say in Inference-Header-Content-Length"),
        (v2(data=None, parameters={"binary_data_size": 8}) + bytes(8), "Inference-Header-Content"),
        (b"\x89PNG\r\n\x1a\n", "pictures are sent to /models/"),
        (b"\xff\xd8\xff\xe0", "pictures are sent to /models/"),
        (b"--b\r\nContent-Disposition: form-data", "pictures are sent to /models/"),
        (gzip.compress(v2()), "Content-Encoding"),
        (v2().decode().encode("utf-16-le"), "sent in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_told_what_it_looks_like(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        parse(body)


@pytest.mark.parametrize("value", ["", "0", "-1", "1e1", "99999", "x", "١", " "])
def test_a_wrong_header_length_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="Inference-Header-Content-Length"):
        parse(v2(), value)


def test_bytes_that_belong_to_nobody_are_refused() -> None:
    body = v2()
    with pytest.raises(InvalidRequest, match="belong to no input"):
        parse(body + b"1234", str(len(body)))


def test_a_name_that_comes_twice_is_refused_wherever_it_matters() -> None:
    good = '{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}'
    for bad in (
        f'{{"inputs": [{good}], "inputs": [{good}]}}',
        f'{{"inputs": [{good[:-1]}, "data": [2]}}]}}',
    ):
        with pytest.raises(InvalidRequest, match="more than once"):
            parse(bad.encode())


@pytest.mark.parametrize("depth", [33, 900, 1020, 5000])
def test_deep_nesting_is_refused_not_followed(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for body in (
        deep,
        f'{{"inputs": {deep}}}',
        f'{{"inputs": [{{"name": "x", "shape": {deep}}}]}}',
        f'{{"inputs": [{{"name": "x", "shape": [1], "datatype": "FP32", "data": {deep}}}]}}',
        f'{{"inputs": [{{"name": "x", "shape": [1], "datatype": "BYTES", "data": {deep}}}]}}',
        f'{{"parameters": {{"a": {deep}}}, "inputs": []}}',
    ):
        with pytest.raises(InvalidRequest):
            parse(body.encode())


def test_parameters_of_the_request() -> None:
    body = json.dumps(
        json.loads(v2())
        | {
            "id": "7",
            "parameters": {"priority": 2, "timeout": 1500000, "binary_data_output": True},
            "outputs": [
                {"name": "a"},
                {"name": "b", "parameters": {"binary_data": False, "classification": 3}},
            ],
        }
    ).encode()
    request = parse(body)
    assert (request.id, request.priority, request.timeout) == ("7", 2, 1.5)
    assert request.outputs is not None
    assert [(o.binary, o.classes) for o in request.outputs] == [(True, 0), (False, 3)]


def test_a_request_that_is_part_of_a_sequence_is_refused() -> None:
    inputs = [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]
    alone = {"inputs": inputs, "parameters": {"sequence_id": 0, "sequence_start": True}}
    assert parse(json.dumps(alone).encode()).inputs
    for number in (7, "seven"):
        part = {"inputs": inputs, "parameters": {"sequence_id": number}}
        with pytest.raises(InvalidRequest, match="all steps of a sequence"):
            parse(json.dumps(part).encode())


def test_whole_floats_are_integers_to_an_integer_tensor() -> None:
    read = parse(v2(datatype="INT32", data=[1.0, 2.0])).inputs["x"]
    assert read.tolist() == [1, 2]
    assert read.dtype == np.int32


def test_a_bare_number_has_no_dimension() -> None:
    document = Document(b'{"a": 3}')
    assert document.array(document.root["a"], "float32", "a").shape == ()
