"""Behind the nginx of deploy/nginx: TLS, large bodies, quotas, and a reload that nobody notices."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.service import tiny
from tests.service.live import ROOT, Load, Server, free_port
from tests.tools import require_tool

WIDE = 400_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, workers=2, REQUESTS_PER_CALLER="64") as running:
        assert running.upload("m", "1", tiny.add(1)).status_code == 200
        assert running.upload("wide", "1", tiny.add(1, (1, WIDE))).status_code == 200
        yield running


@pytest.fixture
def url(tmp_path: Path, server: Server) -> Iterator[str]:
    """Run nginx with the file as it is, but for its ports and the place of its certificate."""
    require_tool("nginx")
    port = free_port()
    certificate = [
        "openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem"),
    ]  # fmt: skip
    subprocess.run(certificate, check=True, capture_output=True)
    text = (ROOT / "deploy/nginx/rx580.conf").read_text()
    for old, new in (
        ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/nginx/rx580/", f"{tmp_path}/"),
    ):
        assert old in text
        text = text.replace(old, new)
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = tmp_path / "nginx.conf"
    main.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
        f"events {{}} http {{ access_log off; {temporary} {text} }}"
    )
    nginx = subprocess.Popen(
        ["nginx", "-e", str(tmp_path / "error.log"), "-p", str(tmp_path), "-c", str(main)]
    )
    try:
        _listens(port, nginx)
        yield f"https://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        nginx.wait(30)


def _listens(port: int, nginx: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and nginx.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")


def binary(server: Server) -> tuple[bytes, dict[str, str]]:
    (spec,) = server.get("/v2/models/wide").json()["inputs"]
    head = (
        f'{{"inputs":[{{"name":"{spec["name"]}","shape":[1,{WIDE}],"datatype":"FP32",'
        f'"parameters":{{"binary_data_size":{4 * WIDE}}}}}],'
        '"parameters":{"binary_data_output":true}}'
    ).encode()
    data = head + np.arange(WIDE, dtype=np.float32).tobytes()
    return data, {"Inference-Header-Content-Length": str(len(head))}


def test_a_reload_behind_it_fails_no_request(server: Server, url: str, tmp_path: Path) -> None:
    large, fields = binary(server)
    local = threading.local()

    def ask() -> requests.Response:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            # Else the environment's bundle and proxies go before what is said here.
            local.session.trust_env = False
            local.session.verify = str(tmp_path / "certificate.pem")
            local.count = 0
        local.count += 1
        if local.count % 4 == 0:
            answer = local.session.post(url + "/v2/models/wide/infer", data=large, headers=fields)
            size = int(answer.headers["Inference-Header-Content-Length"])
            found = np.frombuffer(answer.content[size:], np.float32)
            assert found[-1] == WIDE
        else:
            body = {"model_name": "m", "input_data": [[1, 2, 3, 4]]}
            answer = local.session.post(url + "/inference", json=body)
        return answer  # type: ignore[no-any-return]

    with Load(ask, threads=4) as load:
        server.until(lambda: len(load.answers) > 20)
        before = server.pids()
        server.signal(signal.SIGHUP)
        server.until(lambda: len(server.pids()) == 2 and not set(before) & set(server.pids()))
        os.kill(server.pids()[0], signal.SIGQUIT)
        server.wait_ready()
        done = len(load.answers)
        server.until(lambda: len(load.answers) > done + 20)
    assert load.failed() == []
    assert "Traceback" not in server.text()


def test_it_says_who_calls_and_hides_the_metrics(server: Server, url: str) -> None:
    context = ssl._create_unverified_context()
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert plain.recv(100).startswith(b"HTTP/1.1 400")
    for path, expected in ((b"/health/live", b"200"), (b"/metrics", b"404")):
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as secure:
            secure.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n" % path)
            answer = secure.recv(4000)
        assert answer.split()[1] == expected
        assert (b"X-Request-Id: mine" in answer) == (expected == b"200")
