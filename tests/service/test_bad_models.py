"""Damaged and hostile model files are refused with a reason, and hurt nobody."""

from __future__ import annotations

import gzip
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests

from app.repository.probe import structure
from tests.engine.builder import Spec
from tests.engine.test_engine_stablehlo import with_body
from tests.service import tiny
from tests.service.live import ROOT, Server

GOOD = (ROOT / "models/digits/1/model.tflite").read_bytes()
DATA_START = 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three workers that nothing may kill."""
    folder = tmp_path_factory.mktemp("bad")
    with Server(folder, SANDBOX_TIMEOUT_S="3", SANDBOX_MEMORY_MB="2048") as server:
        assert server.upload("good", "1", tiny.add(1)).status_code == 200
        yield server


def truncated(chance: random.Random) -> bytes:
    return GOOD[: chance.randrange(len(GOOD))]


def flipped(chance: random.Random) -> bytes:
    """Flip bits where the structure is: weights may be any numbers, so theirs prove nothing."""
    damaged = bytearray(GOOD)
    weights = weight_ranges()
    for _ in range(chance.randrange(8, 64)):
        while True:
            at = chance.randrange(8, len(damaged))
            if not any(start <= at < end for start, end in weights):
                break
        damaged[at] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def spliced(chance: random.Random) -> bytes:
    at, size = chance.randrange(8, len(GOOD)), chance.randrange(1, 4096)
    return GOOD[:at] + chance.randbytes(size) + GOOD[at + size // 2 :]


def weight_ranges() -> list[tuple[int, int]]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(GOOD, 0)
    ranges = []
    for index in range(model.BuffersLength()):
        content = model.Buffers(index).DataAsNumpy()
        if not isinstance(content, int) and len(content) > 64:
            at = GOOD.index(content.tobytes())
            ranges.append((at, at + len(content)))
    return ranges


def test_corrupted_files_are_refused_and_no_worker_is_lost(server: Server) -> None:
    chance = random.Random(20)
    makers = [truncated, flipped, spliced]
    blobs = {makers[number % 3](chance) for number in range(540)}
    assert len(blobs) >= 500
    before = server.pids()

    def upload(job: tuple[int, bytes]) -> tuple[bytes, requests.Response]:
        return job[1], server.upload(f"bad-{job[0]}", "1", job[1])

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(upload, enumerate(sorted(blobs))))
    taken = []
    for blob, answer in answers:
        if answer.status_code == 200:
            taken.append(blob)
            continue
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert len(answer.json()["detail"]) > 20
    # A flip in a name or an unused field leaves a sound model; those must then really work.
    for blob in taken:
        structure(blob)
    assert sum(answer.status_code == 422 for _, answer in answers) >= 500
    print(f"{len(answers)} files, {len(taken)} of them still sound")
    assert server.pids() == before
    assert server.infer("good", [[1, 2, 3, 4]]).status_code == 200
    for name in [m["name"] for m in server.get("/models").json()["models"] if m["name"] != "good"]:
        server.delete(f"/models/{name}/versions/1")
    assert sorted(os.listdir(server.models)) == ["good"]


@pytest.mark.parametrize("make", [tiny.endless, tiny.huge, tiny.wordy])
def test_hostile_models_are_refused(server: Server, make: object) -> None:
    before, start = server.pids(), time.monotonic()
    answer = server.upload("hostile", "1", make())  # type: ignore[operator]
    assert answer.status_code == 422, answer.text
    assert time.monotonic() - start < 15
    assert server.pids() == before
    assert server.get("/models/hostile").status_code == 404


@pytest.mark.parametrize(
    ("blob", "steady"),
    [
        (tiny.add(1), True), (tiny.deep(1), True), (tiny.endless(), False), (tiny.huge(), True),
        (tiny.filled(computed=False), True), (tiny.filled(computed=True), False),
    ],
)  # fmt: skip
def test_what_a_value_decides_is_not_expected_to_cost_what_it_did(
    blob: bytes, steady: bool
) -> None:
    assert structure(blob)["steady"] is steady


def test_single_flips_are_refused_or_harmless(server: Server) -> None:
    """One wrong bit may leave a sound model; a worker must survive what it accepts."""
    chance, before = random.Random(1), server.pids()
    weights = weight_ranges()
    for _ in range(60):
        at = chance.randrange(8, len(GOOD))
        while any(start <= at < end for start, end in weights):
            at = chance.randrange(8, len(GOOD))
        blob = bytearray(GOOD)
        blob[at] ^= 1 << chance.randrange(8)
        answer = server.upload("nudged", "1", bytes(blob))
        assert answer.status_code in (200, 422), answer.text
        if answer.status_code == 200:
            (version,) = server.model("nudged")["versions"]
            shape = [max(1, size) for size in version["inputs"][0]["shape"]]
            assert server.infer("nudged", np.ones(shape).tolist()).status_code in (200, 422)
    assert server.pids() == before
    server.delete("/models/nudged/versions/1")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "empty"), (b"\0" * 100, 422, "TFL3"), (GOOD[:8], 422, "TFL3"),
        (b"PK\3\4" + b"x" * 200, 422, "zip"), (gzip.compress(GOOD), 422, "gzip"),
        (b"\n<!DOCTYPE html>" + b"x" * 90, 422, "web page"), (b"\x89HDF\r\n", 422, "Keras"),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n" + GOOD, 422, "--data-binary"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(
    server: Server, body: bytes, status: int, words: str
) -> None:
    answer = server.upload("none", "1", body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


def test_an_upload_is_not_resumed(server: Server) -> None:
    fields = {"Content-Range": f"bytes 0-99/{len(GOOD)}"}
    answer = server.put("/models/none/versions/1", data=GOOD[:100], headers=fields)
    assert answer.status_code == 400
    assert "whole" in answer.json()["detail"]


def test_a_form_that_no_runtime_takes_is_no_damage(server: Server) -> None:
    # A sum at indices: ai-edge-litert knows the operation, but not with such a graph.
    blob = with_body("STABLEHLO_SCATTER",
                     [Spec((5, 4)), Spec((3, 1), "int32"), Spec((3, 4))], Spec((5, 4)),
                     {"updateWindowDims": [1], "insertedWindowDims": [0],
                      "scatterDimsToOperandDims": [0], "indexVectorDim": 1,
                      "updateComputationSubgraphIndex": 1}, "ADD")
    assert server.upload("sums", "1", blob).status_code == 200
    x = np.ones((5, 4), "f4")
    at, more = np.array([[1], [4], [1]], "i4"), np.ones((3, 4), "f4")
    specs = requests.get(f"{server.url}/v2/models/sums", timeout=10).json()["inputs"]
    given = {s["name"]: a.tolist() for s, a in zip(specs, (x, at, more), strict=True)}
    answer = requests.post(f"{server.url}/models/sums/infer", json={"input_data": given},
                           timeout=30).json()
    (output,) = answer["outputs"].values()
    assert np.sum(output["data"], axis=-1).tolist() == [4, 12, 4, 4, 8]
    server.delete("/models/sums/versions/1")


def test_a_wrong_sha256_is_refused(server: Server) -> None:
    answer = server.upload("sums", "1", GOOD, sha256="0" * 64)
    assert answer.status_code == 422
    assert "sha256" in answer.json()["detail"]
    assert server.upload("sums", "1", GOOD, sha256="xyz").status_code == 422
    assert server.get("/models/sums").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/models/..%2F..%2Fetc/versions/1",
        "/models/%2e%2e/versions/1",
        "/models/a%00b/versions/1",
        "/models/a/versions/..",
        "/models/a/versions/%2e%2e%2fx",
        "/models/.hidden/versions/1",
        f"/models/{'x' * 65}/versions/1",
        "/models/a%20b/versions/1",
        "/models/ä/versions/1",
    ],
)
def test_no_name_leaves_the_repository(server: Server, path: str) -> None:
    before = sorted(os.listdir(server.models.parent))
    session = requests.Session()
    request = requests.Request("PUT", server.url + path, data=GOOD).prepare()
    request.url = server.url + path  # as written: requests would tidy it
    answer = session.send(request, timeout=30)
    assert answer.status_code in (400, 404, 405), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert sorted(os.listdir(server.models.parent)) == before


def test_a_model_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1, MAX_MODEL_MB="0.01", MAX_BODY_MB="0.001") as server:
        answer = server.upload("m", "1", GOOD)
        assert answer.status_code == 413
        assert answer.json()["title"] == "Request Entity Too Large" or answer.json()["detail"]
        chunks = server.put("/models/m/versions/1", data=iter([GOOD[:9000], GOOD[9000:]]))
        assert chunks.status_code == 413
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        assert server.infer("m", [[1] * 4] * 1000).status_code == 413


def test_a_bad_file_on_disk_fails_alone(tmp_path: Path) -> None:
    for name, blob in {"bad": GOOD[:3000], "good": GOOD}.items():
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "1" / "model.tflite").write_bytes(blob)
    with Server(tmp_path, workers=2) as server:
        assert server.get("/health").json()["models"] == {"ready": 1, "loading": 0, "failed": 1}
        (version,) = server.model("bad")["versions"]
        assert version["state"] == "failed"
        assert "damaged" in version["error"]
        answer = server.post("/models/bad/load")
        # The file's fault, as if it had been uploaded: no server error, which would wake people.
        assert answer.status_code == 422
        assert answer.json()["type"].endswith(":invalid_model")
        assert "2 of 2 workers" in answer.json()["detail"]
        # Mended by hand, then asked for again.
        (tmp_path / "models/bad/1/model.tflite").write_bytes(GOOD)
        assert server.post("/models/bad/load").status_code == 200
        assert server.model("bad")["versions"][0]["state"] == "ready"
