"""The short way for inference answers exactly what the long way through Flask answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.service.live import Server

GOOD = {"inputs": [{"name": "t0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
CASES: list[tuple[str, bytes, dict[str, str]]] = [
    ("plus-one", json.dumps(GOOD).encode(), {}),
    ("plus-one", json.dumps(GOOD | {"id": "7"}).encode(), {"X-Request-Id": "abc"}),
    ("plus-one/versions/1", json.dumps(GOOD).encode(), {"Accept-Encoding": "gzip"}),
    ("plus-one/versions/9", json.dumps(GOOD).encode(), {}),
    ("nobody", json.dumps(GOOD).encode(), {}),
    ("plus-one", b"{", {}),
    ("plus-one", b"[]", {"Content-Encoding": "br"}),
    ("plus-one", json.dumps(GOOD).encode(), {"X-Request-Timeout": "soon"}),
    ("plus-one", json.dumps(GOOD).encode(), {"X-Request-Timeout": "0.0"}),
    ("plus-one", json.dumps(GOOD).encode(), {"Inference-Header-Content-Length": "x"}),
]
VARYING = ("date", "x-request-id", "connection")


def shown(answer: requests.Response) -> Any:
    body = answer.json()
    body.pop("request_id", None)
    headers = {k.lower(): v for k, v in answer.headers.items() if k.lower() not in VARYING}
    return answer.status_code, body, {**headers, "content-length": ""}


@pytest.mark.parametrize(("path", "body", "headers"), CASES)
def test_both_ways_give_the_same_answer(
    protocol: Server, path: str, body: bytes, headers: dict[str, str]
) -> None:
    def chunks() -> Iterator[bytes]:
        yield body

    url = f"{protocol.url}/v2/models/{path}/infer"
    # A body in chunks has no Content-Length, and is left to Flask.
    short = requests.post(url, data=body, headers=headers, timeout=30)
    long = requests.post(url, data=chunks(), headers=headers, timeout=30)
    assert shown(short) == shown(long)
    if "X-Request-Id" in headers:
        assert short.headers["X-Request-Id"] == headers["X-Request-Id"]


def test_a_body_that_is_too_large_is_refused(tmp_path: Any) -> None:
    with Server(tmp_path, workers=1, MAX_BODY_MB="0.01") as server:
        answer = requests.post(
            server.url + "/v2/models/m/infer", data=b"x" * 20_000, timeout=30
        )
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"
