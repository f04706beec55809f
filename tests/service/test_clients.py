"""What clients and proxies do unless they are told otherwise."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess

import pytest
import requests
from urllib3 import encode_multipart_formdata

from tests.service import tiny
from tests.service.live import ROOT, Server

PNG = (ROOT / "models/digits/example.png").read_bytes()
ASKED = {"model_name": "plus-one", "input_data": [[1, 2, 3, 4]]}


@pytest.mark.parametrize("target", ["/", "*"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_proxy_may_ask_whether_the_server_is_there(
    shared: Server, target: str, version: str
) -> None:
    """HAProxy's `option httpchk` without a path is OPTIONS / HTTP/1.0."""
    with socket.create_connection(("127.0.0.1", shared.port), 30) as client:
        fields = "Host: x\r\nConnection: close\r\n" if version == "1.1" else ""
        client.sendall(f"OPTIONS {target} HTTP/{version}\r\n{fields}\r\n".encode())
        answer = client.makefile("rb").read().decode()
    assert answer.partition(" ")[2].startswith("204 ")
    assert "Allow: DELETE, GET, HEAD, OPTIONS, POST, PUT\r\n" in answer


def test_json_may_be_called_bytes(shared: Server) -> None:
    """As aiohttp and other clients do that are given bytes."""
    headers = {"Content-Type": "application/octet-stream"}
    body = json.dumps(ASKED).encode()
    answer = shared.post("/inference", data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    packed = headers | {"Content-Encoding": "gzip"}
    assert shared.post("/inference", data=gzip.compress(body), headers=packed).status_code == 200


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "application/json"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (PNG, "Content-Type: image/png"),
        (b"\xff\xd8\xff\xe0" + PNG, "Content-Type: image/jpeg"),
        (gzip.compress(json.dumps(ASKED).encode()), "Content-Encoding: gzip"),
    ],
)
def test_what_is_no_json_is_told_what_it_is(
    shared: Server, kind: str | None, body: bytes, words: str
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = shared.post("/models/plus-one/infer", data=body, headers=headers)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


def test_a_compressed_form_is_refused_as_that(shared: Server) -> None:
    form, kind = encode_multipart_formdata({"image": ("a.png", PNG, "image/png")})
    for body in (form, gzip.compress(form)):
        answer = shared.post(
            "/models/plus-one/infer", data=body,
            headers={"Content-Type": kind, "Content-Encoding": "gzip"},
        )  # fmt: skip
        assert answer.status_code == 415
        assert "Content-Encoding 'gzip'" in answer.json()["detail"]


def test_the_name_of_a_file_is_no_version(shared: Server) -> None:
    """`curl -T model.tflite http://…/versions/` puts the name behind the slash."""
    answer = shared.put("/models/other/versions/model.tflite", data=tiny.add(1))
    assert answer.status_code == 400
    assert "/models/other/versions/1" in answer.json()["detail"]


def test_a_slash_too_many_is_pointed_at(shared: Server) -> None:
    answer = shared.post("/models/plus-one/infer/", json=ASKED)
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith("leave out the '/' at its end")
    assert "leave out" not in requests.get(f"{shared.url}/nothing/", timeout=30).json()["detail"]


@pytest.mark.parametrize(
    ("host", "url"),
    [("localhost", "localhost"), ("::1", "[::1]"), ("::", "[::]"), ("[::1]", "[::1]")],
)
def test_make_serve_says_an_address_that_works(host: str, url: str) -> None:
    said = subprocess.run(
        ["make", "--dry-run", "serve", f"HOST={host}", "PORT=8123"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"on http://{url}:8123 " in said
    assert f"http://{url}:8123/models" in said


def test_other_servers_ways_are_pointed_to_this_ones(shared: Server) -> None:
    """A client of TensorFlow Serving, and a datatype that the protocol does not have."""
    answer = shared.post("/v1/models/plus-one:predict", json={"instances": [[1, 2, 3, 4]]})
    assert answer.status_code == 404
    assert "POST /models/NAME/infer" in answer.json()["detail"]
    tensor = {"name": "t0", "shape": [1, 4], "data": [1, 2, 3, 4]}
    for datatype, words in (("BF16", "'BF16'"), (None, "None"), (["FP32"], "that is no string")):
        asked = {"inputs": [tensor | {"datatype": datatype}]}
        refused = shared.post("/v2/models/plus-one/infer", json=asked)
        assert refused.status_code == 422
        assert f"datatype {words}; allowed are BOOL, UINT8," in refused.json()["detail"]
