"""Triton's own client, unmodified, against two workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.service import tiny
from tests.service.live import Server
from tests.serving.conftest import DTYPES

X = np.array([[1, 2, 3, 4]], np.float32)


@pytest.fixture
def client(protocol: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{protocol.port}", concurrency=4) as made:
        yield made


def tensor(name: str, array: np.ndarray[Any, Any], binary: bool = True) -> Any:
    made = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def names(client: Any, model: str) -> tuple[list[str], list[str]]:
    shown = client.get_model_metadata(model)
    return [t["name"] for t in shown["inputs"]], [t["name"] for t in shown["outputs"]]


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("plus-one")
    assert client.is_model_ready("plus-one", "2")
    assert not client.is_model_ready("plus-one", "3")
    assert not client.is_model_ready("nobody")
    server = client.get_server_metadata()
    assert {"binary_tensor_data", "model_repository", "statistics", "model_configuration"} <= set(
        server["extensions"]
    )
    shown = client.get_model_metadata("plus-one")
    assert shown["versions"] == ["1", "2"]
    assert [(t["datatype"], t["shape"]) for t in shown["inputs"]] == [("FP32", [-1, 4])]


def test_configuration_is_what_perf_analyzer_reads(client: Any) -> None:
    shown = client.get_model_config("plus-one", "1")
    assert shown["max_batch_size"] > 1
    assert shown["input"][0]["dims"] == [4]
    assert shown["input"][0]["data_type"] == "TYPE_FP32"


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("version", ["", "1"])
def test_infer(client: Any, binary_in: bool, binary_out: bool, version: str) -> None:
    (given,), (got,) = names(client, "plus-one")
    result = client.infer(
        "plus-one",
        [tensor(given, X, binary_in)],
        version,
        outputs=[triton.InferRequestedOutput(got, binary_data=binary_out)],
        request_id="id-7",
        priority=1,
        timeout=5_000_000,
        parameters={"note": "x"},
    )
    np.testing.assert_array_equal(result.as_numpy(got), X + (1 if version else 2))
    shown = result.get_response()
    assert (shown["id"], shown["model_version"]) == ("id-7", version or "2")


def test_all_outputs_of_several_inputs_and_a_batch(client: Any) -> None:
    inputs, outputs = names(client, "pair")
    a, b = np.random.default_rng(1).random((2, 5, 3), np.float32)
    result = client.infer("pair", [tensor(inputs[0], a), tensor(inputs[1], b, False)])
    found = [result.as_numpy(name) for name in outputs]
    np.testing.assert_array_equal(found[0], a + b)
    np.testing.assert_array_equal(found[1], a * b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("binary", [True, False])
def test_every_type_both_ways(client: Any, dtype: str, binary: bool) -> None:
    binary = binary or dtype == "float16"
    x = np.array([[0, 1, 1, 0]]).astype(dtype)
    (given,), (got,) = names(client, f"from-{dtype}")
    result = client.infer(f"from-{dtype}", [tensor(given, x, binary)])
    np.testing.assert_array_equal(result.as_numpy(got), x.astype(np.float32))
    (given,), (got,) = names(client, f"to-{dtype}")
    result = client.infer(
        f"to-{dtype}",
        [tensor(given, x.astype(np.float32), binary)],
        outputs=[triton.InferRequestedOutput(got, binary_data=binary)],
    )
    np.testing.assert_array_equal(result.as_numpy(got), x)
    assert result.as_numpy(got).dtype == x.dtype


@pytest.mark.parametrize("sent", ["gzip", "deflate"])
@pytest.mark.parametrize("asked", [None, "gzip", "deflate"])
def test_compression(client: Any, sent: str, asked: str | None) -> None:
    (given,), (got,) = names(client, "plus-one")
    x = np.zeros((500, 4), np.float32)
    result = client.infer(
        "plus-one", [tensor(given, x)], request_compression_algorithm=sent,
        response_compression_algorithm=asked,
    )  # fmt: skip
    np.testing.assert_array_equal(result.as_numpy(got), x + 2)


def test_async(client: Any) -> None:
    (given,), (got,) = names(client, "plus-one")
    waiting = [client.async_infer("plus-one", [tensor(given, X + i)]) for i in range(20)]
    for i, one in enumerate(waiting):
        np.testing.assert_array_equal(one.get_result().as_numpy(got), X + i + 2)


def test_classification(client: Any) -> None:
    (given,), (got,) = names(client, "plus-one")
    wanted = triton.InferRequestedOutput(got, class_count=2)
    result = client.infer("plus-one", [tensor(given, X)], outputs=[wanted])
    assert result.as_numpy(got).tolist() == [[b"6.000000:3", b"5.000000:2"]]


def test_statistics_count_what_all_workers_did(client: Any, protocol: Server) -> None:
    inputs, _ = names(client, "pair")

    def count() -> tuple[int, int, int]:
        (shown,) = client.get_inference_statistics("pair")["model_stats"]
        success = shown["inference_stats"]["success"]["count"]
        return success, shown["inference_count"], shown["execution_count"]

    before = count()
    x = np.ones((2, 3), np.float32)
    for _ in range(30):
        # A new connection each time reaches both workers.
        with triton.InferenceServerClient(f"127.0.0.1:{protocol.port}") as other:
            other.infer("pair", [tensor(name, x) for name in inputs])
    after = count()
    assert [b - a for a, b in zip(before, after, strict=True)] == [30, 60, 30]
    assert {row["name"] for row in client.get_inference_statistics()["model_stats"]} >= {"pair"}


def test_index_load_and_unload(client: Any, protocol: Server) -> None:
    assert protocol.upload("fleeting", "1", tiny.add(3)).status_code == 200

    def state() -> str:
        rows = client.get_model_repository_index()
        (row,) = [row for row in rows if row["name"] == "fleeting"]
        return str(row["state"])

    assert state() == "READY"
    client.unload_model("fleeting")
    assert state() == "UNAVAILABLE"
    for _ in range(6):
        with triton.InferenceServerClient(f"127.0.0.1:{protocol.port}") as other:
            assert not other.is_model_ready("fleeting")
    client.load_model("fleeting")
    assert state() == "READY"
    for _ in range(6):
        with triton.InferenceServerClient(f"127.0.0.1:{protocol.port}") as other:
            assert other.is_model_ready("fleeting")
    ready = requests.post(protocol.url + "/v2/repository/index", json={"ready": True}).json()
    assert {row["state"] for row in ready} == {"READY"}


@pytest.mark.parametrize(
    ("model", "array", "says"),
    [
        ("nobody", X, "there is no model"),
        ("plus-one", X[:, :3], r"shape \[1, 4\]"),
        ("plus-one", X.astype(np.int32), "must be float32"),
    ],
)
def test_refusals_reach_the_caller_in_words(
    client: Any, model: str, array: np.ndarray[Any, Any], says: str
) -> None:
    given = "t0" if model == "nobody" else names(client, model)[0][0]
    with pytest.raises(InferenceServerException, match=says):
        client.infer(model, [tensor(given, array)])


SHARED = "shared memory is not offered"
# Of each method: what it is called with, and the words of its refusal if it has one.
METHODS: dict[str, tuple[tuple[Any, ...], str | None]] = {
    "is_server_live": ((), None),
    "is_server_ready": ((), None),
    "is_model_ready": (("plus-one", "1"), None),
    "get_server_metadata": ((), None),
    "get_model_metadata": (("plus-one", "1"), None),
    "get_model_config": (("plus-one", "1"), None),
    "get_model_repository_index": ((), None),
    "get_inference_statistics": ((), None),
    "load_model": (("plus-one", None, None, '{"backend": "x"}'), "model.yaml"),
    "unload_model": (("nobody",), "no model"),
    "update_trace_settings": (("plus-one", {"trace_rate": "1"}), "traces are not offered"),
    "get_trace_settings": ((), "traces are not offered"),
    "update_log_settings": (({"log_verbose_level": 1},), "LOG_LEVEL"),
    "get_log_settings": ((), "LOG_LEVEL"),
    "get_system_shared_memory_status": ((), SHARED),
    "register_system_shared_memory": (("region", "/region", 16), SHARED),
    "unregister_system_shared_memory": (("region",), SHARED),
    "get_cuda_shared_memory_status": ((), SHARED),
    "register_cuda_shared_memory": (("region", b"handle", 0, 16), SHARED),
    "unregister_cuda_shared_memory": ((), SHARED),
}
ELSEWHERE = {"infer", "async_infer", "generate_request_body", "parse_response_body"}
NOT_SENT = {"close", "plugin", "register_plugin", "unregister_plugin"}


def test_every_method_is_answered_or_refused_in_words(client: Any) -> None:
    public = {name for name in dir(client) if not name.startswith("_")}
    assert set(METHODS) == public - ELSEWHERE - NOT_SENT

    for name, (arguments, refusal) in METHODS.items():
        call = getattr(client, name)
        if refusal is None:
            assert call(*arguments)
        else:
            with pytest.raises(InferenceServerException, match=refusal):
                call(*arguments)


def test_shared_memory_is_refused_in_words(client: Any) -> None:
    given = triton.InferInput(names(client, "plus-one")[0][0], [1, 4], "FP32")
    given.set_shared_memory("region", 16)
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer("plus-one", [given])


def test_an_unknown_output_is_refused_before_it_is_computed(client: Any) -> None:
    (given,), _ = names(client, "plus-one")
    with pytest.raises(InferenceServerException, match="no output 'zz'"):
        client.infer(
            "plus-one", [tensor(given, X)], outputs=[triton.InferRequestedOutput("zz")]
        )


def test_a_deadline_that_is_over_is_a_timeout(client: Any) -> None:
    (given,), _ = names(client, "plus-one")
    with pytest.raises(InferenceServerException, match=r"time|deadline"):
        client.infer("plus-one", [tensor(given, X)], timeout=1)
