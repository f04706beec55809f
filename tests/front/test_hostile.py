"""Clients that mean harm, or do not know what they speak to: a clear answer, and nobody waits."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest

from tests.front.test_connections import V2, answer, connected, post
from tests.service.live import Server

INFER = "/v2/models/m/infer"
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300)


@pytest.mark.parametrize(
    ("wire", "status", "words"),
    [
        (TLS_HELLO, 400, "plain http://"),
        (b"\x00\x01\x02", 400, "CR LF"),
        (b"post / HTTP/1.1\r\n\r\n", 400, "in capitals"),
        (b"GET / HTTP/2.0\r\n\r\n", 400, "HTTP/1.1"),
        (b"GET / HTTP/3.0\r\n\r\n", 400, "is 3.0; HTTP/1.1"),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 9 80\r\nGET / HTTP/1.1\r\n", 400, "PROXY protocol"),
        (b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + bytes(12), 400, "turn it off at the proxy"),
        (b"GET /health HTTP/1.1\r\n\r\n", 400, "like 'Host: localhost:8000'"),
        (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "like 'Host: localhost:8000'"),
        (b"POST /inference HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400, "HTTP/1.1 has it once"),
        (b"GET /health\r\n\r\n", 400, "POST /inference HTTP/1.1"),
        (b"GET /" + b"x" * 5000, 414, "4094 bytes"),
        (post(INFER, V2, "Content-Length: 3"), 400, "CONTENT-LENGTH"),
        (post(INFER, V2, "Transfer-Encoding: chunked"), 400, "one whole number"),
        (post(INFER, V2, "Host: y"), 400, "once"),
        (post(INFER, V2, "X: a\r\n b"), 400, "second line"),
        (post(INFER, V2, "X : a"), 400, "cannot name a header field"),
        (post(INFER, V2, "X: a\0b"), 400, "control characters"),
        (post(INFER, V2, "X: " + "y" * 9000), 431, "8190 bytes"),
        (post(INFER, V2, *[f"X{n}: " + "y" * 8000 for n in range(9)]), 431, "65536 in all"),
        (post(INFER, V2, "Expect: 200-ok"), 417, "100-continue"),
        (post(INFER, V2, "Inference-Header-Content-Length: \xb2\xb3"), 400, "whole number"),
        (
            b"POST /inference HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
            b"0\r\n\r\n",
            501, "Content-Encoding",
        ),
    ],
)  # fmt: skip
def test_what_is_no_request_is_answered_at_once_and_in_words(
    narrow: Server, wire: bytes, status: int, words: str
) -> None:
    # Neither the end of the connection nor anything more comes from the client.
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(wire)
        found, fields, body = answer(stream)
    assert found == status
    assert fields["content-type"] == "application/problem+json"
    assert words in json.loads(body)["detail"]
    assert "Traceback" not in narrow.text()


def test_who_speaks_http2_is_told_in_its_own_frames(narrow: Server) -> None:
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        settings, frame = stream.read(9), stream.read(9)
        payload = stream.read(int.from_bytes(frame[:3]))
        assert stream.read() == b""
    assert settings == bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    assert frame[3:] == bytes((7, 0, 0, 0, 0, 0))
    assert payload[:8] == bytes((0, 0, 0, 0, 0, 0, 0, 13))  # HTTP_1_1_REQUIRED
    assert b"this port speaks HTTP/1.1" in payload


def test_a_head_without_an_end_is_refused(narrow: Server) -> None:
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"X: " + b"y" * 1000 + b"\r\n")
        assert answer(stream)[0] == 431


def test_one_of_several_options_closes_the_connection(narrow: Server) -> None:
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(post(INFER, V2, "Connection: TE, Close", "TE: trailers"))
        status, fields, _ = answer(stream)
        assert (status, fields["connection"], stream.read()) == (200, "close", b"")


def test_thousands_of_requests_that_have_come_at_once_are_all_answered(narrow: Server) -> None:
    """What comes behind a body in chunks is read in large pieces; each refusal begins the next."""
    bad = post(INFER, b"a", "X-Request-Timeout: never")
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(
            f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        time.sleep(0.2)
        wire = b"%x\r\n%b\r\n0\r\n\r\n" % (len(V2), V2) + bad * 2000
        sender = threading.Thread(target=connection.sendall, args=(wire,))
        sender.start()
        statuses = [answer(stream)[0] for _ in range(2001)]
        sender.join()
    assert statuses == [200] + [400] * 2000


def test_who_sends_without_end_behind_a_refusal_keeps_nobody_waiting(narrow: Server) -> None:
    stop = threading.Event()

    def flood() -> None:
        block = bytes(1 << 20)
        with contextlib.suppress(OSError), connected(narrow) as connection:
            connection.sendall(b"nonsense\r\n")
            while not stop.is_set():
                connection.sendall(block)
        ended.append(stop.is_set())

    ended: list[bool] = []
    floods = [threading.Thread(target=flood) for _ in range(2)]
    for thread in floods:
        thread.start()
    try:
        for _ in range(20):
            assert narrow.get("/health/live", timeout=10).status_code == 200
        for thread in floods:
            thread.join(15)
        assert ended == [False, False], "their connections were not closed"
    finally:
        stop.set()


def test_websockets_are_refused_in_words(narrow: Server) -> None:
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=20) as connection:
        connection.sendall(
            b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        with connection.makefile("rb") as stream:
            status, _, body = answer(stream)
    assert status == 400
    assert "WebSocket" in json.loads(body)["detail"]


@pytest.mark.parametrize("field", ["SCRIPT_NAME: /health", "PATH_INFO: /metrics"])
def test_no_header_changes_the_path(narrow: Server, field: str) -> None:
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(f"GET /health/live HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n".encode())
        status, _, body = answer(stream)
    assert (status, json.loads(body)["status"]) == (200, "live")


@pytest.mark.parametrize(
    ("line", "host", "version"),
    [
        ("HTTP/1.0", None, "HTTP/1.0"), ("HTTP/1.1", "", "HTTP/1.1"),
        ("HTTP/1.1", "[::1]:8000", "HTTP/1.1"), ("HTTP/1.1", "my_app.svc:80", "HTTP/1.1"),
        ("HTTP/1.2", "localhost", "HTTP/1.1"),
    ],
)  # fmt: skip
def test_who_is_asked_may_be_said_in_every_way(
    narrow: Server, line: str, host: str | None, version: str
) -> None:
    field = "" if host is None else f"Host: {host}\r\n"
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(f"GET /health/live {line}\r\n{field}\r\n".encode())
        assert stream.readline().decode().startswith(f"{version} 200 ")
