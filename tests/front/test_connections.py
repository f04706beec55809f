"""How the server treats connections, spoken to over bare sockets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.service import tiny
from tests.service.live import Server

BODY = json.dumps({"model_name": "m", "input_data": [[1, 2, 3, 4]]}).encode()
V2 = json.dumps(
    {"inputs": [{"name": "t0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
).encode()
POSTS = {"/inference": BODY, "/models/m/infer": BODY, "/v2/models/m/infer": V2}


def post(path: str, body: bytes, *fields: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@contextlib.contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        yield connection


def answer(stream: socket.SocketIO) -> tuple[int, dict[str, str], bytes]:
    """Read one answer that says its length."""
    status = int(stream.readline().split()[1])
    fields: dict[str, str] = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        fields[name.lower()] = value.strip()
    return status, fields, stream.read(int(fields.get("content-length", 0)))


@pytest.mark.parametrize("path", POSTS)
def test_requests_in_one_piece_are_answered_in_order(narrow: Server, path: str) -> None:
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        wire = [
            post(path, POSTS[path], f"X-Request-Id: {number}") for number in range(20)
        ] + [b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-Id: 20\r\n\r\n"]
        connection.sendall(b"".join(wire))
        found = [answer(stream) for _ in wire]
    assert [fields["x-request-id"] for _, fields, _ in found] == [str(n) for n in range(21)]
    assert {status for status, _, _ in found} == {200}


@pytest.mark.parametrize("path", POSTS)
def test_a_request_may_come_byte_by_byte(narrow: Server, path: str) -> None:
    wire = post(path, POSTS[path])
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        for at in range(len(wire)):
            connection.sendall(wire[at : at + 1])
        assert answer(stream)[0] == 200


@pytest.mark.parametrize(
    ("version", "field", "stays"),
    [
        ("1.1", "X: y", True), ("1.1", "Connection: close", False),
        ("1.1", "Connection: keep-alive", True), ("1.0", "X: y", False),
        ("1.0", "Connection: keep-alive", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [*POSTS, "/nowhere"])
def test_whose_connection_stays_open(
    narrow: Server, path: str, version: str, field: str, stays: bool
) -> None:
    wire = post(path, POSTS.get(path, b""), field, version=version)
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(wire)
        status, fields, _ = answer(stream)
        assert status == (404 if path == "/nowhere" else 200)
        assert (fields["connection"] == "keep-alive") == stays
        if stays:
            connection.sendall(wire)
            assert answer(stream)[0] == status
        else:
            assert stream.read(1) == b""


@pytest.mark.parametrize("path", POSTS)
def test_who_asks_first_is_told_to_go_on(narrow: Server, path: str) -> None:
    body = POSTS[path]
    head = post(path, body, "Expect: 100-continue")[: -len(body)]
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(head)
        assert stream.readline().split()[1] == b"100"
        assert stream.readline() == b"\r\n"
        connection.sendall(body)
        assert answer(stream)[0] == 200


@pytest.mark.parametrize("path", ["/inference", "/v2/models/m/infer", "/models/m/load"])
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(narrow: Server, path: str) -> None:
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n"
            "Content-Type: application/json\r\n\r\n".encode()
        )
        status, fields, body = answer(stream)
        assert (status, fields["connection"]) == (413, "close")
        assert json.loads(body)["status"] == 413


def test_a_body_in_chunks_is_held_to_the_same_limit(narrow: Server) -> None:
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        connection.sendall(
            b"POST /inference HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _ in range(80):
                connection.sendall(chunk)
            connection.sendall(b"0\r\n\r\n")
        assert answer(stream)[0] == 413


def test_slow_senders_hold_no_thread(narrow: Server) -> None:
    """Two threads, and clients, as many as may be let in, that are in the middle of something."""
    wire = post("/v2/models/m/infer", V2)
    upload = b"PUT /models/slow/versions/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nTFL3"
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(narrow)) for _ in range(32)]
        for number, connection in enumerate(slow):
            connection.sendall((wire[:-9], wire[:30], upload, b"")[number % 4])
        time.sleep(0.5)
        for _ in range(20):
            assert narrow.infer("m", [[1, 2, 3, 4]]).status_code == 200
        assert narrow.get("/health").status_code == 200
        # Those that go on are answered.
        for connection in slow[::4]:
            connection.sendall(wire[-9:])
            with connection.makefile("rb") as stream:
                assert answer(stream)[0] == 200


def _slow_readers(
    narrow: Server, stack: contextlib.ExitStack, count: int, data: list[list[float]]
) -> list[socket.socket]:
    """Ask for large answers, and read nothing."""
    wide = post("/inference", json.dumps({"model_name": "wide", "input_data": data}).encode())
    slow = []
    for _ in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", narrow.port))
        slow.append(stack.enter_context(connection))
        connection.sendall(wide)
    return slow


def test_slow_readers_hold_no_thread(narrow: Server) -> None:
    """Answers of 2 MB that nobody takes, and others that are not delayed by them."""
    with contextlib.ExitStack() as stack:
        slow = _slow_readers(narrow, stack, 8, [[0.125] * 200_000])
        for _ in range(10):
            assert narrow.infer("m", [[1, 2, 3, 4]]).status_code == 200
        for connection in slow:
            with connection.makefile("rb") as stream:
                status, _, body = answer(stream)
            assert status in (200, 503)
            if status == 200:
                assert json.loads(body)["outputs"]["t2"]["data"][0][-1] == 1.125


def test_answers_that_nobody_reads_are_kept_within_bounds(narrow: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            # 6 MB each: the kernel takes some of that.
            slow = _slow_readers(narrow, stack, 4, [[1] * 200_000] * 6)
            if "do not read their answers" in narrow.text():
                break
            assert narrow.infer("m", [[1, 2, 3, 4]]).status_code == 200
        assert "do not read their answers" in narrow.text()
        # Those that came last are still there.
        with slow[-1].makefile("rb") as stream:
            assert answer(stream)[0] in (200, 503)


def test_an_idle_connection_is_closed_after_its_time(narrow: Server) -> None:
    with connected(narrow) as connection, connection.makefile("rb") as stream:
        began = time.monotonic()
        connection.sendall(post("/inference", BODY))
        assert answer(stream)[0] == 200
        assert stream.read(1) == b""
        assert time.monotonic() - began > 1.5


def test_a_client_that_has_sent_all_still_gets_its_answer(narrow: Server) -> None:
    for path, body in POSTS.items():
        with connected(narrow) as connection, connection.makefile("rb") as stream:
            connection.sendall(post(path, body))
            connection.shutdown(socket.SHUT_WR)
            assert answer(stream)[0] == 200


def test_clients_that_vanish_leave_nothing_behind(narrow: Server) -> None:
    def in_flight() -> float:
        text = narrow.get("/metrics").text
        return sum(float(n) for n in re.findall(r"^\w*in_flight\w* (\S+)$", text, re.MULTILINE))

    wire = post("/v2/models/m/infer", V2)
    for cut in (10, len(wire) - 3, len(wire)):
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", narrow.port), timeout=20)
            connection.sendall(wire[:cut])
            # A reset instead of an end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
    # The request that asks is in flight itself.
    narrow.until(lambda: in_flight() == 1)
    assert narrow.infer("m", [[1, 2, 3, 4]]).status_code == 200


def test_a_large_upload_arrives_whole_and_is_not_kept_in_memory(narrow: Server) -> None:
    def resident() -> int:
        """The most that one of the server's processes has ever had in memory."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in narrow.pids()]
        return max(int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) for text in texts) * 1024

    before = resident()
    junk = np.random.default_rng(1).bytes(200_000_000)
    found = narrow.put(
        "/models/big/versions/1", data=junk, params={"sha256": hashlib.sha256(b"").hexdigest()}
    )
    # It was read to its end, since its sum could be compared.
    assert found.status_code == 422, found.text
    assert hashlib.sha256(junk).hexdigest() in found.text
    assert resident() - before < 100_000_000


def test_a_refused_body_leaves_the_connection_in_step(tmp_path: Path) -> None:
    """What is thrown away is the body, no more and no less."""
    with Server(tmp_path, workers=1, QUEUE_PER_WORKER="1") as server:
        assert server.upload("deep", "1", tiny.deep(40)).status_code == 200
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        slow = json.dumps({"model_name": "deep", "input_data": [[0] * 1024]}).encode()
        large = V2 + b" " * 300_000
        with connected(server) as one, connected(server) as two:
            statuses = []
            with one.makefile("rb") as first, two.makefile("rb") as second:
                one.sendall(post("/v2/models/m/infer", V2))
                assert answer(first)[0] == 200
                for _ in range(100):
                    if 503 in statuses:
                        break
                    one.sendall(post("/models/deep/infer", slow))
                    for _ in range(3):
                        two.sendall(post("/v2/models/m/infer", large))
                        statuses.append(answer(second)[0])
                    statuses.append(answer(first)[0])
        assert set(statuses) <= {200, 503}
        assert 503 in statuses


def test_workers_share_their_connections(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server, contextlib.ExitStack() as stack:
        def sockets(pid: int) -> int:
            links = Path(f"/proc/{pid}/fd").iterdir()
            return sum("socket:" in os.readlink(link) for link in links if link.is_symlink())

        def held() -> list[int]:
            return sorted(sockets(pid) for pid in server.pids())

        for _ in range(40):
            stack.enter_context(connected(server))
            time.sleep(0.01)

        server.until(lambda: sum(held()) >= 40)
        assert held()[-2] >= 10


def test_idle_connections_make_room_where_descriptors_run_out(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1, KEEPALIVE_S="600") as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        workers = [pid for pid in server.pids() if len(list(Path(f"/proc/{pid}/fd").iterdir())) > 9]
        for pid in workers:
            held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + 30, held + 30))
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                connection = stack.enter_context(connected(server))
                connection.sendall(post("/v2/models/m/infer", V2))
                with connection.makefile("rb") as stream:
                    assert answer(stream)[0] == 200
        assert "no connection can be accepted" in server.text()
