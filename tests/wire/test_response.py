"""Answers of the Open Inference Protocol, with tritonclient's own decoder as the oracle."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.tensors import TensorSpec
from app.wire import describe
from app.wire.request import InferRequest, RequestedOutput
from app.wire.response import encode
from tests.wire.test_request import tensors

ASKED = InferRequest(inputs={})


@given(
    outputs=st.lists(st.tuples(tensors(), st.booleans()), min_size=1, max_size=4),
    identifier=st.text(max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_tritonclient_reads_every_answer_to_the_bit(outputs: list[Any], identifier: str) -> None:
    named = {f"y{i}": array for i, (array, _) in enumerate(outputs)}
    # tritonclient refuses to read FP16 from JSON.
    wanted = tuple(
        RequestedOutput(f"y{i}", binary or array.dtype == np.float16)
        for i, (array, binary) in enumerate(outputs)
    )
    answer = encode(InferRequest({}, id=identifier, outputs=wanted), "m", "1", named)
    result = triton.InferenceServerClient.parse_response_body(
        answer.body, header_length=answer.header_length
    )
    assert result.get_response().get("id", "") == identifier
    for name, array in named.items():
        read = result.as_numpy(name)
        if array.dtype == object:
            read = np.vectorize(
                lambda s: s if isinstance(s, bytes) else s.encode(), otypes=[object]
            )(read)
        np.testing.assert_array_equal(read, array)
        assert list(read.shape) == list(array.shape)


def test_all_outputs_come_as_the_default_says() -> None:
    array = np.ones((1, 2), np.float32)
    answer = encode(InferRequest({}, binary_outputs=True), "m", "1", {"a": array, "b": array})
    assert answer.content_type == "application/octet-stream"
    assert answer.header_length is not None
    assert len(answer.body) == answer.header_length + 16


def test_an_output_that_is_not_there_is_named_with_those_that_are() -> None:
    asked = InferRequest({}, outputs=(RequestedOutput("z", False),))
    with pytest.raises(InvalidRequest, match="'z'; it has a, b"):
        encode(asked, "m", "1", {"a": np.ones(1), "b": np.ones(1)})


def test_classification_is_written_as_triton_writes_it() -> None:
    asked = InferRequest({}, outputs=(RequestedOutput("y", False, 2),))
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)
    answer = json.loads(encode(asked, "m", "1", {"y": scores}, ["cat", "dog"]).body)
    (output,) = answer["outputs"]
    assert output["datatype"] == "BYTES"
    assert output["shape"] == [2, 2]
    assert output["data"] == ["0.700000:1:dog", "0.200000:2", "0.500000:0:cat", "0.250000:1:dog"]


def test_nothing_has_no_best_class() -> None:
    asked = InferRequest({}, outputs=(RequestedOutput("y", False, 2),))
    for shape in ((0, 3), (3, 0), (0,)):
        (output,) = json.loads(encode(asked, "m", "1", {"y": np.ones(shape, "i8")}).body)["outputs"]
        assert (output["shape"], output["data"]) == ([*shape[:-1], min(2, shape[-1])], [])


def test_bytes_that_are_no_text_need_the_binary_extension() -> None:
    array = np.array([b"\xff\x00"], dtype=object)
    with pytest.raises(InvalidRequest, match="binary_data"):
        encode(ASKED, "m", "1", {"y": array})
    asked = InferRequest({}, outputs=(RequestedOutput("y", True),))
    assert encode(asked, "m", "1", {"y": array}).body.endswith(b"\x02\0\0\0\xff\x00")


def test_strided_and_foreign_order_arrays_are_written_row_major() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    asked = InferRequest({}, outputs=(RequestedOutput("y", True),))
    answer = encode(asked, "m", "1", {"y": array})
    assert answer.header_length is not None
    read = np.frombuffer(answer.body[answer.header_length :], "<f4").reshape(3, 2)
    np.testing.assert_array_equal(read, array)


SPECS = (TensorSpec("x", (1, 4), "float32"),), (TensorSpec("y", (1, 3), "uint8"),)


def test_metadata_shows_the_batch_dimension_as_free() -> None:
    shown = describe.metadata("m", ["1", "2"], "tflite", *SPECS, batched=True)
    assert shown["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert shown["outputs"] == [{"name": "y", "datatype": "UINT8", "shape": [-1, 3]}]
    fixed = describe.metadata("m", ["1"], "tflite", *SPECS, batched=False)
    assert fixed["inputs"][0]["shape"] == [1, 4]


def test_config_leaves_the_batch_dimension_out_when_there_is_one() -> None:
    batching = describe.BatchingConfig(8, (4, 8), 0.002, joined=True)
    policy = {"latest": {"num_versions": 1}}
    shown = describe.config("m", "tflite", "tflite", *SPECS, batching, policy)
    assert shown["input"][0]["dims"] == [4]
    assert shown["input"][0]["data_type"] == "TYPE_FP32"
    assert shown["dynamic_batching"] == {
        "preferred_batch_size": [4, 8],
        "max_queue_delay_microseconds": 2000,
    }
    plain = describe.config("m", "t", "opencl", *SPECS, describe.BatchingConfig(), policy)
    assert plain["input"][0]["dims"] == [1, 4]
    assert "dynamic_batching" not in plain
    assert plain["instance_group"][0]["kind"] == "KIND_GPU"


def test_statistics_have_every_duration_that_perf_analyzer_reads() -> None:
    model = describe.Statistics(
        "m", "1", 5, 3, 2, {"success": describe.Duration(3, 9)}, {2: describe.Duration(1, 7)}
    )
    (shown,) = describe.statistics([model])["model_stats"]
    assert set(shown["inference_stats"]) == set(describe.DURATIONS)
    assert shown["inference_stats"]["success"] == {"count": 3, "ns": 9}
    assert shown["batch_stats"][0]["compute_infer"] == {"count": 1, "ns": 7}
