"""What model.yaml says about versions and batching, and what callers may expect of deadlines."""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from app.repository.manifest import Batching, VersionPolicy, parse
from tests.service import tiny
from tests.service.live import Load, Server


def put(folder: Path, name: str, described: dict[str, Any], **versions: bytes) -> None:
    for version, data in versions.items():
        path = folder / "models" / name / version.lstrip("v") / "model.tflite"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    (folder / "models" / name / "model.yaml").write_text(yaml.safe_dump(described))


def infer(server: Server, name: str, version: str | None = None, **more: Any) -> requests.Response:
    body = {"model_name": name, "version": version, "input_data": [[0, 0, 0, 0]]}
    return requests.post(server.url + "/inference", json=body, timeout=60, **more)


def value(answer: requests.Response) -> float:
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"].values()
    return float(output["data"][0][0])


def dropped(server: Server) -> dict[str, float]:
    text = requests.get(server.url + "/metrics", timeout=30).text
    lines = [x for x in text.splitlines() if x.startswith("rx580_inference_dropped_total")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def test_version_policies_and_labels(tmp_path: Path) -> None:
    three = {"v1": tiny.add(1), "v2": tiny.add(2), "v10": tiny.add(10)}
    labels = {"version_labels": {"stable": "1", "canary": "10"}}
    put(tmp_path, "all", {"version_policy": "all", **labels}, **three)
    put(tmp_path, "latest", {"version_policy": {"latest": 2}}, **three)
    put(tmp_path, "some", {"version_policy": {"specific": ["2"]}}, **three)
    with Server(tmp_path, workers=2) as server:
        assert [value(infer(server, "all", v)) for v in (None, "2", "stable", "canary")] == [
            10, 2, 1, 10,
        ]  # fmt: skip
        assert infer(server, "all", "beta").status_code == 404
        named = "/v2/models/all/versions/stable"
        assert server.get(f"{named}/ready").json()["version"] == "1"
        assert server.get(named).json()["versions"] == ["1"]
        (row,) = server.get(f"{named}/stats").json()["model_stats"]
        assert row["version"] == "1"
        assert infer(server, "latest", "1").status_code == 503
        assert value(infer(server, "latest", "2")) == 2
        assert value(infer(server, "some")) == 2
        # A newer version pushes the oldest one out.
        assert server.upload("latest", "11", tiny.add(11)).status_code == 200
        server.until(lambda: infer(server, "latest", "2").status_code == 503)
        assert value(infer(server, "latest")) == 11


def test_a_quota_is_answered_with_429_and_a_full_queue_with_503(tmp_path: Path) -> None:
    bounds = {"REQUESTS_PER_CALLER": "1", "QUEUE_PER_MODEL": "2", "QUEUE_WAIT_S": "0"}
    put(tmp_path, "slow", {}, v1=tiny.deep(30))
    body = {"model_name": "slow", "input_data": [[0.0] * 1024] * 4}
    callers = itertools.count()
    with Server(tmp_path, workers=1, INTERPRETERS="1", **bounds) as server:

        def ask(caller: str) -> requests.Response:
            return server.post("/inference", json=body, headers={"X-Caller": caller})

        def seen(load: Load) -> set[int]:
            return {answer.status_code for answer in list(load.answers)}

        # As long as it takes for two of them to meet there.
        with Load(lambda: ask("greedy"), threads=2) as same:
            server.until(lambda: seen(same) >= {200, 429}, 60)
        assert seen(same) == {200, 429}
        with Load(lambda: ask(f"caller-{next(callers)}"), threads=8) as many:
            server.until(lambda: seen(many) >= {200, 503}, 60)
        assert seen(many) == {200, 503}
        refused = [a for a in (*same.answers, *many.answers) if a.status_code != 200]
        assert all(int(a.headers["Retry-After"]) >= 1 for a in refused)


def test_deadlines_and_hang_ups_are_dropped_and_counted(tmp_path: Path) -> None:
    put(tmp_path, "slow", {}, v1=tiny.deep(30))
    put(tmp_path, "quick", {}, v1=tiny.add(1))
    body = {"model_name": "slow", "input_data": [[0.0] * 1024] * 20}
    raw = b'{"model_name":"slow","input_data":[[' + b"0," * 1023 + b"0]]}"
    head = f"POST /inference HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n"
    with Server(tmp_path, workers=1, INTERPRETERS="1") as server:

        def late(seconds: float) -> requests.Response:
            headers = {"X-Request-Timeout": str(seconds)}
            return server.post("/models/slow/infer", data=raw, headers=headers)

        def dropped_late() -> bool:
            # Who asks for too little is refused at the door: let it expect short runs, and then be
            # in one that is not, however fast this machine is just now.
            began = time.monotonic()
            short = [late(30) for _ in range(20)]
            each = (time.monotonic() - began) / len(short)
            assert {answer.status_code for answer in short} == {200}
            seconds = max(0.1, 10 * each)
            run = sum(answer.json()["compute_seconds"] for answer in short) / len(short)
            rows = {**body, "input_data": [[0.0] * 1024] * min(8000, int(4 * seconds / run))}
            with Load(lambda: server.post("/inference", json=rows), threads=1) as once:
                time.sleep(0.05 + each)
                assert late(seconds).status_code in (200, 503, 504)
            assert once.failed() == []
            return dropped(server)["deadline"] >= 1

        def dropped_gone() -> bool:
            with socket.create_connection(("127.0.0.1", server.port)) as gone:
                gone.sendall(head.encode() + raw)
                time.sleep(0.05)
            return dropped(server)["hangup"] >= 1

        def refused() -> bool:
            answer = late(0.01)
            return answer.status_code == 503 and "allow more time" in answer.json()["detail"]

        server.until(dropped_late, 60)
        with Load(lambda: server.post("/inference", json=body), threads=1) as busy:
            server.until(dropped_gone, 60)
            assert value(infer(server, "quick")) == 1
            server.until(refused, 60)
        assert busy.failed() == []


def test_who_leaves_the_line_of_small_requests_is_dropped_before_compute(
    tmp_path: Path,
) -> None:
    put(tmp_path, "m", {}, v1=tiny.deep(4))
    body = b'{"model_name":"m","input_data":[' + b"0," * 1023 + b"0]}"
    raw = f"POST /inference HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with Server(tmp_path, workers=1) as server:
        for _ in range(20):
            assert requests.post(server.url + "/inference", data=body, timeout=30).ok

        def rush() -> bool:
            callers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
            for caller in callers:
                caller.sendall(raw.encode() + body)
            for caller in callers:
                caller.close()
            return dropped(server)["hangup"] >= 1

        server.until(rush)
        assert requests.post(server.url + "/inference", data=body, timeout=30).ok
        gauge = 'rx580_inference_queue_depth{model="m"} 0.0'
        server.until(lambda: gauge in requests.get(server.url + "/metrics", timeout=30).text)


def test_equal_requests_are_answered_from_the_cache(tmp_path: Path) -> None:
    put(tmp_path, "m", {}, v1=tiny.add(1))
    with Server(tmp_path, workers=1, CACHE_MB="1") as server:
        assert [value(infer(server, "m")) for _ in range(5)] == [1] * 5
        text = requests.get(server.url + "/metrics", timeout=30).text
        assert 'rx580_cache_hits_total{model="m",version="1"} 4.0' in text
        assert 'rx580_cache_misses_total{model="m",version="1"} 1.0' in text
        assert server.upload("m", "2", tiny.add(2)).status_code == 200
        assert value(infer(server, "m", "2")) == 2
        shown = server.get("/v2/models/m/stats").json()["model_stats"]
        counts = {row["version"]: row["inference_stats"] for row in shown}
        kinds = ("success", "cache_hit", "cache_miss")
        assert [[counts[v][kind]["count"] for kind in kinds] for v in ("1", "2")] == [
            [5, 4, 1], [1, 0, 1],
        ]  # fmt: skip
        assert server.delete("/models/m/versions/2").status_code == 200
        # Another file under the same version is another answer.
        assert server.upload("m", "1", tiny.add(5)).status_code == 200
        assert value(infer(server, "m")) == 5


@pytest.mark.parametrize(
    "bad",
    [
        {"batching": {"max_batch": -1}},
        {"batching": {"max_batch": 1.5}},
        {"batching": {"max_delay_ms": "soon"}},
        {"batching": {"preferred": [4, "x"]}},
        {"batching": {"speed": 1}},
        {"batching": {"default_priority": 9}},
        {"version_policy": "newest"},
        {"version_policy": {"latest": 1, "specific": ["1"]}},
        {"version_policy": {"latest": True}},
        {"title": ["a", "b"]},
        {"labels": "labels.txt"},
        {"labels": {0: "cat", 1: "dog"}},
        {"labels": [["cat"]]},
        {"preprocessing": {"mean": float("nan")}},
        {"preprocessing": {"scale": True}},
        {"versions": ["1", "2"]},
        {"versions": {"1": {"source": ["a"]}}},
        {"version_labels": ["stable"]},
        {"golden": {"1": {"positions": [1], "values": {}}}},
        {"golden": {"1": {"positions": {}, "values": {}, "tolerance": "low"}}},
    ],
)
def test_a_wrong_description_is_refused_with_its_key(bad: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(bad))):
        parse(bad)


def test_a_right_description() -> None:
    read = parse(
        {
            "batching": {"max_batch": 8, "max_delay_ms": 2, "preferred": [4, 8]},
            "version_policy": {"latest": 3},
            "version_labels": {"stable": 1},
            "title": 2026,
            "licence": None,
            "labels": ["cat", 7],
        }
    )
    assert read.batching == Batching(max_batch=8, max_delay_ms=2, preferred=(4, 8))
    assert read.version_policy == VersionPolicy(latest=3)
    assert read.version_labels == {"stable": "1"}
    assert (read.title, read.licence, read.labels) == ("2026", "", ("cat", "7"))
