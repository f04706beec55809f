"""Bodies that are not framed as their headers say: an answer in the 400s, and the server lives."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.live import Server

SEED = json.dumps({"model_name": "plus-one", "input_data": [[1, 2, 3, 4]]}).encode()
FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nabc'
PATHS = {
    b"POST /inference": (b"application/json", SEED),
    b"POST /models/plus-one/infer": (b"multipart/form-data; boundary=x", FORM),
    b"POST /v2/models/plus-one/infer": (b"application/json", SEED),
    b"PUT /models/cut/versions/1": (b"application/octet-stream", b"TFL3" * 50),
    b"POST /models/plus-one/load": (b"application/json", b'{"version": "1"}'),
}


def status(server: Server, request: bytes) -> int:
    """Send raw bytes, end there, and give the status of the first answer; 0 for none."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return int(answer.split(b" ", 2)[1]) if answer else 0


def head(line: bytes, *fields: bytes) -> bytes:
    kind = b"Content-Type: " + PATHS[line][0]
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: x", kind, *fields]) + b"\r\n\r\n"


@pytest.mark.parametrize("line", PATHS)
def test_a_body_that_breaks_off_is_a_bad_request(shared: Server, line: bytes) -> None:
    body = PATHS[line][1]
    assert status(shared, head(line, b"Content-Length: 9000") + body) == 400
    assert status(shared, head(line, b"Transfer-Encoding: chunked") + b"zz\r\n" + body) == 400
    assert status(shared, head(line, b"Transfer-Encoding: chunked") + b"9000\r\n" + body) == 400


@pytest.mark.parametrize("line", PATHS)
@settings(max_examples=25, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.lists(st.sampled_from([
    b"5\r\n", b"hello", b"\r\n", b"0\r\n\r\n", b"0\r\n", b"-1\r\n", b"5;x=y\r\nhello\r\n",
    b"ffffffffffffffff\r\n", b"Bad Trailer\r\n", b"T: \x00\r\n\r\n", b"\n", SEED,
]), max_size=6))
def test_no_chunks_make_a_server_error(shared: Server, line: bytes, body: list[bytes]) -> None:
    answer = status(shared, head(line, b"Transfer-Encoding: chunked") + b"".join(body))
    assert answer in (0, 200) or 400 <= answer < 500


def test_the_server_lives(shared: Server) -> None:
    assert shared.post("/inference", json=json.loads(SEED)).status_code == 200
    assert shared.get("/health").json()["workers"]["alive"] == 3
