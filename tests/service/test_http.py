"""The REST surface: the request that callers send today, and what goes wrong with others."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from app import schemas
from app.blueprints.errors import STATUS
from app.errors import ServingError
from tests.service import tiny
from tests.service.live import Server

SEED = {"model_name": "plus-one", "input_data": [[1, 2, 3, 4]]}
JSON = {"Content-Type": "application/json"}


def first(answer: requests.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return next(iter(answer.json()["outputs"].values()))


def problem(answer: requests.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:rx580-inference:problem:")
    assert body["title"]
    assert body["error"] == body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    detail: str = body["detail"]
    return detail


def test_the_request_that_callers_send_today(shared: Server) -> None:
    answer = shared.post("/inference", json=SEED)
    output = first(answer)
    assert output == {"shape": [1, 4], "dtype": "float32", "data": [[2, 3, 4, 5]]}
    body = answer.json()
    # Written by hand on the way that is short.
    assert list(body) == list(schemas.InferenceAnswer().fields)
    assert (body["model_name"], body["version"]) == ("plus-one", "1")
    assert body["backend"] == "tflite"
    assert body["device"].startswith("CPU (")
    assert body["queue_seconds"] >= 0
    assert body["compute_seconds"] > 0


def test_an_unknown_model_lists_the_models_there_are(shared: Server) -> None:
    detail = problem(shared.infer("your_model", [[1, 2, 3, 4]]), 404)
    assert "'your_model'" in detail
    assert "plus-one" in detail


def test_the_name_may_be_in_the_path(shared: Server) -> None:
    data = {"input_data": [[1, 2, 3, 4]]}
    for path in ("/models/plus-one/infer", "/models/plus-one/versions/1/infer"):
        assert first(shared.post(path, json=data))["data"] == [[2, 3, 4, 5]]
    problem(shared.post("/models/plus-one/infer", json={**SEED, "model_name": "pair"}), 422)


def test_the_query_may_name_model_and_version_too(shared: Server) -> None:
    data = {"input_data": [[1, 2, 3, 4]]}
    assert first(shared.post("/models/plus-one/infer?version=1", json=data))
    assert first(shared.post("/inference?model_name=plus-one", json=data))
    for path, status, says in (
        ("/models/plus-one/infer?version=7", 404, "no version '7'"),
        ("/models/plus-one/infer?verison=1", 422, "'verison'"),
        ("/inference?model_name=pair", 422, "'pair'"),
    ):
        detail = problem(shared.post(path, json={**data, "model_name": "plus-one"}), status)
        assert says in detail


@pytest.mark.parametrize("version", ["1", 1])
def test_the_version_may_be_text_or_number(shared: Server, version: object) -> None:
    assert first(shared.infer("plus-one", [[0] * 4], version=version))["data"] == [[1] * 4]
    assert "it has 1" in problem(shared.infer("plus-one", [[0] * 4], version="7"), 404)


def test_inputs_by_name(shared: Server) -> None:
    answer = shared.infer("pair", {"t0": [[1, 2, 3]], "t1": [[4, 5, 6]]})
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["outputs"]
    assert [o["data"] for o in outputs.values()] == [[[5, 7, 9]], [[4, 10, 18]]]
    detail = problem(shared.infer("pair", [[1, 2, 3]]), 422)
    assert "'t0'" in detail
    assert "'t1'" in detail
    assert "t1" in problem(shared.infer("pair", {"t0": [[1, 2, 3]]}), 422)
    assert "t9" in problem(shared.infer("pair", {"t0": [[1] * 3], "t1": [[1] * 3], "t9": 1}), 422)


def test_a_batch_larger_than_the_models_own(shared: Server) -> None:
    rows = np.arange(40, dtype=float).reshape(10, 4)
    assert first(shared.infer("plus-one", rows.tolist()))["data"] == (rows + 1).tolist()
    rows = np.arange(18, dtype=float).reshape(6, 3)
    assert first(shared.infer("batches", rows.tolist()))["data"] == (rows + 1).tolist()
    assert first(shared.infer("free", rows.tolist()))["data"] == (rows + 1).tolist()
    assert "[2, 3]" in problem(shared.infer("batches", rows[:3].tolist()), 422)
    assert "which has no values" in problem(shared.infer("free", [[]]), 422)
    both = {"t0": rows.tolist(), "t1": rows.tolist()}
    product = shared.infer("pair", both).json()["outputs"]["t3"]["data"]
    assert product == (rows * rows).tolist()
    detail = problem(shared.infer("pair", {"t0": [[1] * 3] * 2, "t1": [[1] * 3]}), 422)
    assert "same number" in detail


def test_a_lone_example_needs_no_batch_dimension(shared: Server) -> None:
    assert first(shared.infer("plus-one", [1, 2, 3, 4]))["data"] == [[2, 3, 4, 5]]


BAD: list[tuple[str, str, int, str]] = [
    ("plus-one", "[[1,2,3]]", 422, "[1, 4]"),
    ("plus-one", "[[1,2,3,4],[1,2,3]]", 422, "ragged"),
    ("plus-one", "[[1,2],[3],[4]]", 422, "ragged"),
    ("plus-one", "[]", 422, "[1, 4]"),
    ("plus-one", '"1234"', 422, "list"),
    ("plus-one", "null", 422, "null"),
    ("plus-one", "7", 422, "[1, 4]"),
    ("plus-one", '[["1",2,3,4]]', 422, "number"),
    ("plus-one", "[[true,2,3,4]]", 422, "number"),
    ("plus-one", "[[NaN,2,3,4]]", 400, "neither NaN"),
    ("plus-one", "[[Infinity,2,3,4]]", 400, "JSON"),
    ("plus-one", "[[1e39,2,3,4]]", 422, "float32"),
    ("plus-one", "[[1e999,2,3,4]]", 400, "JSON"),
    ("from-uint8", "[[300,2,3,4]]", 422, "uint8"),
    ("from-uint8", "[[-1,2,3,4]]", 422, "uint8"),
    ("from-int8", "[[1.5,2,3,4]]", 422, "int8"),
    ("from-int32", "[[2147483648,2,3,4]]", 422, "int32"),
    ("from-int64", "[[99999999999999999999,2,3,4]]", 400, "JSON"),
    ("from-bool", "[[2,0,0,1]]", 422, "bool"),
    ("through-complex64", "[[1,2,3,4]]", 422, "pair"),
    ("through-complex64", "[[[1],[2],[3],[4]]]", 422, "[real, imaginary]"),
    ("plus-one", "[" * 40 + "1" + "]" * 40, 422, "deep"),
    ("plus-one", "[" * 3000 + "]" * 3000, 400, "JSON"),
]


@pytest.mark.parametrize(("model", "data", "status", "word"), BAD)
def test_data_that_does_not_fit(
    shared: Server, model: str, data: str, status: int, word: str
) -> None:
    body = f'{{"model_name": "{model}", "input_data": {data}}}'
    detail = problem(shared.post("/inference", data=body, headers=JSON), status)
    assert word.lower() in detail.lower()


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("from-uint8", [[0, 255, 1.0, 4]]),
        ("from-int8", [[-128, 127, 0, 1]]),
        ("from-int64", [[-(2**53), 2**53, 0, 1]]),
        ("from-bool", [[True, False, 1, 0]]),
        ("through-complex64", [[[1, -2], [0.5, 0], [0, 0], [3, 4]]]),
    ],
)
def test_every_type_takes_what_it_holds(shared: Server, model: str, data: list[Any]) -> None:
    expected = np.array(data, np.float32).tolist()
    found = np.array(first(shared.infer(model, data))["data"], np.float32)
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ("", 400, "empty"),
        ("{", 400, "JSON"),
        ("[1]", 422, "object"),
        ("{}", 422, "model_name"),
        ('{"model_name": "plus-one"}', 422, "input_data"),
        ('{"model_name": 5, "input_data": [1]}', 422, "model_name"),
        ('{"model_name": "a b", "input_data": [1]}', 422, "model_name"),
        ('{"model_name": "plus-one", "input_data": [[1,2,3,4]], "extra": 1}', 422, "extra"),
        ('{"model_name": "pair", "model_name": "plus-one", "input_data": [1]}', 400, "more than"),
        ('{"model_name": "plus-one", "input_data": [[1,2,3,4]]} x', 400, "JSON"),
        ('{"model_name": "plus-one", "version": [1], "input_data": [1]}', 422, "version"),
        ('\ufeff{"model_name": "no", "input_data": [1]}', 404, "no"),
        ('{"model_name": "\\ud800", "input_data": [1]}', 400, "JSON"),
    ],
)
def test_a_body_that_is_no_request(shared: Server, body: str, status: int, word: str) -> None:
    answer = shared.post("/inference", data=body.encode(), headers=JSON)
    assert word in problem(answer, status)


@pytest.mark.parametrize(
    "kind", [None, "application/json; charset=utf-8", "text/plain", "application/x+json",
             "application/x-www-form-urlencoded"],
)  # fmt: skip
def test_the_content_type_may_be_missing(shared: Server, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert first(shared.post("/inference", data=json.dumps(SEED), headers=headers))


def test_a_form_of_many_parts_is_refused_as_that(shared: Server) -> None:
    many = {f"field-{number}": (None, "x") for number in range(1100)}
    assert "1000 parts" in problem(shared.post("/models/plus-one/infer", files=many), 413)


def test_a_refusal_does_not_repeat_all_of_a_long_request(shared: Server) -> None:
    long = shared.infer("pair", {"x" * 1_000_000: [1]})
    assert long.status_code == 422
    assert len(long.content) < 20_000


def test_other_types_and_codings_are_refused(shared: Server) -> None:
    xml = shared.post("/inference", data="<a/>", headers={"Content-Type": "application/xml"})
    assert "application/json" in problem(xml, 415)
    body, coded = json.dumps(SEED).encode(), {**JSON, "Content-Encoding": "gzip"}
    assert first(shared.post("/inference", data=gzip.compress(body), headers=coded))
    problem(shared.post("/inference", data=body, headers=coded), 400)
    coded["Content-Encoding"] = "br"
    problem(shared.post("/inference", data=body, headers=coded), 415)


def test_paths_and_methods(shared: Server) -> None:
    problem(shared.get("/nothing"), 404)
    answer = shared.get("/inference")
    assert "POST" in problem(answer, 405)
    assert "POST" in answer.headers["Allow"]
    for path in ("/health", "/models", "/metrics", "/models/plus-one"):
        head = requests.head(shared.url + path, timeout=10)
        assert head.status_code == 200
        assert head.content == b""
        options = requests.options(shared.url + path, timeout=10)
        assert options.status_code == 200
        assert "GET" in options.headers["Allow"]


def test_request_ids(shared: Server) -> None:
    given = shared.get("/health", headers={"X-Request-Id": "abc-123"})
    assert given.headers["X-Request-Id"] == "abc-123"
    for bad in ("", "x" * 200, "a b"):
        made = shared.get("/health", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert re.fullmatch(r"[0-9a-f]{32}", made)


def test_deadlines(shared: Server) -> None:
    late = shared.post("/inference", json=SEED, headers={"X-Request-Timeout": "0"})
    problem(late, 504)
    for bad in ("soon", "-1", "nan", "1e9", "٣"):
        headers = {"X-Request-Timeout": bad.encode()}
        problem(shared.post("/inference", json=SEED, headers=headers), 400)
    for seconds in ("2.5", repr(10 / 3)):
        headers = {"X-Request-Timeout": seconds}
        assert first(shared.post("/inference", json=SEED, headers=headers))


def raw(server: Server, request: bytes) -> tuple[bytes, bytes]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    "request_line",
    [b"GET / HTTP/9.9", b"BROKEN", b"GET /" + b"x" * 9000 + b" HTTP/1.1", b"G\xffT / HTTP/1.1"],
)
def test_what_gunicorn_refuses_is_a_problem_too(shared: Server, request_line: bytes) -> None:
    head, body = raw(shared, request_line + b"\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4")
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] in (400, 414)


def test_outputs_that_are_not_finite_are_null(shared: Server, folder: Path) -> None:
    answer = shared.infer("pair", {"t0": [[3e38, 1, 1]], "t1": [[3e38, 1, 1]]})
    output = answer.json()["outputs"]["t2"]
    assert output["data"] == [[None, 2, 2]]
    assert output["non_finite"] == 1


def test_health_and_models_describe_the_server(shared: Server) -> None:
    health = shared.get("/health").json()
    assert health["status"] == "ok"
    assert health["workers"] == {"alive": 3, "serving": 3, "expected": 3}
    assert health["models"]["failed"] == 0
    assert health["uptime_seconds"] > 0
    assert shared.get("/health/live").status_code == 200
    models = {model["name"]: model for model in shared.get("/models").json()["models"]}
    (version,) = models["from-int8"]["versions"]
    assert version["state"] == "ready"
    assert version["inputs"][0]["dtype"] == "int8"
    assert version["outputs"][0]["shape"] == [1, 4]
    assert version["memory_bytes"] > 0
    assert version["load_seconds"] > 0
    assert "timed at the first load" in version["reason"]
    assert len(version["workers"]) == 3
    one = shared.get("/models/from-int8/versions/1").json()
    assert one["sha256"] == version["sha256"]
    problem(shared.get("/models/none"), 404)
    problem(shared.get("/models/from-int8/versions/9"), 404)
    problem(shared.get("/actions/none"), 404)
    text = shared.get("/metrics").text
    assert "rx580_http_requests_total" in text


def test_every_error_has_a_status() -> None:
    def tree(kind: type[ServingError]) -> Iterator[type[ServingError]]:
        yield kind
        for below in kind.__subclasses__():
            yield from tree(below)

    assert {kind for kind in tree(ServingError) if kind.__module__ == "app.errors"} == set(STATUS)
    assert len({kind.code for kind in STATUS}) == len(STATUS)


def test_uploads_fix_the_backend_and_repeat(folder: Path) -> None:
    with Server(folder, workers=2) as server:
        assert server.upload("m", "1", tiny.add(1), backend="tflite").status_code == 200
        first_time = server.model("m")["versions"][0]
        assert first_time["backend_wanted"] == "tflite"
        # The same bytes again are no change.
        assert server.upload("m", "1", tiny.add(1), backend="tflite").status_code == 200
        assert server.model("m")["versions"][0]["workers"] == first_time["workers"]
        problem(server.upload("m", "1", tiny.add(1), backend="cuda"), 422)
        for version in ("2", "10", "9"):
            assert server.upload("m", version, tiny.add(float(version))).status_code == 200
        assert server.model("m")["default_version"] == "10"
        assert first(server.infer("m", [[0] * 4]))["data"] == [[10] * 4]
        assert server.delete("/models/m/versions/10").status_code == 200
        assert first(server.infer("m", [[0] * 4]))["data"] == [[9] * 4]
        assert not (folder / "models/m/10").exists()
        problem(server.delete("/models/m/versions/10"), 404)
        problem(server.post("/models/none/load"), 404)
        problem(server.post("/models/m/load", json={"version": "77"}), 404)
        for bad in (b"[", b"5", b'{"version": "9", "version": "2"}'):
            problem(server.post("/models/m/load", data=bad), 400)
        coded = {"Content-Encoding": "gzip"}
        zipped = gzip.compress(b'{"version": "2"}')
        assert server.post("/models/m/load", data=zipped, headers=coded).status_code == 200
        sent = server.put("/models/m/versions/3", data=zipped, headers=coded)
        assert "Content-Encoding" in problem(sent, 415)
