"""What a server is judged by: many times more requests than it can answer.

Shares and orders, no milliseconds: the test runs beside whatever else the machine does.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import requests

from bench.serving.load import Result, closed, post
from tests.service import tiny
from tests.service.live import Server

HEAD = {
    "inputs": [{
        "name": "t0", "shape": [1, 1024], "datatype": "FP32",
        "parameters": {"binary_data_size": 4096},
    }],
    "parameters": {"binary_data_output": True},
}  # fmt: skip
# Blanks in the JSON make a body that is as large as an image's.
JSON = json.dumps(HEAD).encode() + b" " * 190_000
FIELDS = {"Inference-Header-Content-Length": str(len(JSON))}
V2 = post("/v2/models/deep/infer", JSON + np.ones(1024, np.float32).tobytes(), FIELDS)
LISTS = post(
    "/inference",
    json.dumps({"model_name": "deep", "input_data": [[1.0] * 1024]}).encode() + b" " * 190_000,
)
FEW, MANY = 4, 96


class Watching:
    """Somebody who keeps looking at health and metrics meanwhile."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            for path in ("/health", "/metrics"):
                began = time.monotonic()
                self.statuses[requests.get(self._server.url + path, timeout=30).status_code] += 1
                self.seconds.append(time.monotonic() - began)


def counted(server: Server, handler: str) -> Counter[int]:
    text = server.get("/metrics").text
    pattern = rf'^rx580_http_requests_total{{(.*handler="{re.escape(handler)}".*)}} (\S+)$'
    found: Counter[int] = Counter()
    for labels, value in re.findall(pattern, text, re.MULTILINE):
        status = re.search(r'status="(\d+)"', labels)
        assert status is not None
        found[int(status[1])] += int(float(value))
    return +found


def resident(server: Server) -> int:
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in server.pids()]
    return sum(int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) for text in texts)


@pytest.mark.parametrize(
    ("request_", "handler"),
    [(V2, "/v2/models/<name>/infer"), (LISTS, "/inference")],
    ids=["by-its-head", "by-its-body"],
)
def test_more_than_it_can_do(tmp_path: Path, request_: bytes, handler: str) -> None:
    with Server(tmp_path, workers=2) as server:
        assert server.upload("deep", "1", tiny.deep(30)).status_code == 200
        address = ("127.0.0.1", server.port)

        def few() -> Result:
            return closed(address, [request_], FEW, 2.0, 0.0)

        few()
        # Interleaved, so that a busy machine is busy for both.
        calm, storm, sizes = [few()], [], []
        with Watching(server) as watching:
            for _ in range(3):
                storm.append(closed(address, [request_], MANY, 2.0, 0.0))
                sizes.append(resident(server))
                # What waits when its callers go away is dropped, in its turn.
                time.sleep(1)
                calm.append(few())

        answered = [code for run in storm for code, _ in run.answers]
        assert set(answered) == {200, 503}
        assert not any(run.broken for run in storm + calm)
        # It was refused by the thousand, and what it can do, it still did.
        goodput = sorted(run.rate() for run in storm)[1]
        peak = sorted(run.rate() for run in calm)[1]
        assert sum(code == 503 for code in answered) > 4 * sum(code == 200 for code in answered)
        assert goodput > 0.5 * peak
        # A refusal comes before an answer would.
        refused = sorted(run.quantile(0.5, 503) for run in storm)[1]
        assert refused < sorted(run.quantile(0.5) for run in storm)[1]
        # Who watches is served, and sooner than who computes is at the worst.
        assert set(watching.statuses) == {200}
        assert len(watching.seconds) > 20
        # The queue is bounded: waiting is in proportion to what may wait, not to who comes.
        assert max(run.quantile(0.99) for run in storm) < MANY / FEW * max(
            run.quantile(0.99) for run in calm
        )
        assert sizes[2] < 1.2 * sizes[0]
        assert {code for run in calm[1:] for code, _ in run.answers} == {200}


def test_every_refusal_is_counted_and_says_when_to_come_back(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        assert server.upload("deep", "1", tiny.deep(30)).status_code == 200
        handler = "/v2/models/<name>/infer"
        before = counted(server, handler)
        statuses: Counter[int] = Counter()
        lock = threading.Lock()

        def ask() -> None:
            with requests.Session() as session:
                for _ in range(12):
                    answer = session.post(
                        server.url + "/v2/models/deep/infer",
                        data=V2.partition(b"\r\n\r\n")[2], headers=FIELDS, timeout=60,
                    )  # fmt: skip
                    with lock:
                        statuses[answer.status_code] += 1
                    if answer.status_code == 503:
                        assert int(answer.headers["Retry-After"]) >= 1
                        assert answer.headers["Content-Type"] == "application/problem+json"
                        assert answer.json()["request_id"] == answer.headers["X-Request-Id"]

        threads = [threading.Thread(target=ask) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200, 503}
        assert counted(server, handler) - before == statuses
