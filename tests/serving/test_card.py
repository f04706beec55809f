"""The card under a real server: PoCL stands in for it."""

from __future__ import annotations

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml

from app.repository import golden
from app.repository.vram import Ledger
from tests.engine.builder import ModelBuilder, Spec
from tests.service import tiny
from tests.service.live import ROOT, Server
from tests.tools import require_tool

CARD = {"BACKEND": "auto", "OPENCL_DEVICE": "Portable Computing Language"}


@pytest.fixture(autouse=True)
def _pocl() -> None:
    require_tool("pocl")


def infer(server: Server, name: str, rows: Any) -> requests.Response:
    body = {"model_name": name, "input_data": rows}
    return requests.post(server.url + "/inference", json=body, timeout=60)


def held(server: Server) -> list[Any]:
    from app.backends.choice import OpenclOptions
    from app.backends.opencl import runtime_of

    device = runtime_of(OpenclOptions(CARD["OPENCL_DEVICE"]), os.getpid()).device
    book = Ledger(
        server.folder / "state" / "vram.sqlite3", device.pci or device.label, 1
    )
    try:
        return book.held()
    finally:
        book.close()


def test_the_ledger_holds_what_workers_loaded_and_heals(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2, **CARD) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        shown = requests.get(server.url + "/models/m/versions/1", timeout=30).json()
        assert shown["backend"] == "opencl", shown
        entries = held(server)
        assert len({entry.pid for entry in entries}) == 2
        assert {entry.size for entry in entries} == {shown["memory_bytes"]}
        victim = server.pids()[0]
        os.kill(victim, signal.SIGKILL)
        server.until(lambda: victim not in server.pids() and len(server.pids()) == 2)
        server.wait_ready()
        server.until(lambda: len({e.pid for e in held(server)} - {victim}) == 2)
        assert victim not in {entry.pid for entry in held(server)}
        answer = requests.post(server.url + "/models/m/verify", timeout=30).json()
        assert answer["ok"]
        assert {worker["pid"] for worker in answer["workers"]} == set(server.pids())
        assert {worker["backend"] for worker in answer["workers"]} == {"opencl"}
        (output,) = infer(server, "m", [[1, 2, 3, 4]]).json()["outputs"].values()
        assert output["data"] == [[2, 3, 4, 5]]


def picky(op: str) -> tuple[bytes, Any]:
    """A model that no ramp fits, and a request that does."""
    model = ModelBuilder()
    graph = model.graph()
    if op == "GATHER":  # of two rows
        x = graph.input((1, 3), "int32")
        table = graph.const(np.array([[1, 2], [3, 4]], "f4"))
        y = graph.op(op, [table, x], [Spec((1, 3, 2))], {"axis": 0})
        request: Any = [[0, 1, 0]]
    elif op == "MIRROR_PAD":  # of a picture of at least three pixels
        x = graph.input((1, -1, -1, 2))
        pads = graph.const(np.array([[0, 0], [2, 2], [2, 2], [0, 0]], "i4"))
        y = graph.op(op, [x, pads], [Spec((1, -1, -1, 2))], {})
        request = np.ones((1, 4, 5, 2)).tolist()
    elif op == "RANDOM_UNIFORM":
        x = graph.input((1, 3))
        extents = graph.const(np.array([1, 3], "i4"))
        noise = graph.op(op, [extents], [Spec((1, 3))], {"seed": 1, "seed2": 2})
        y = graph.op("ADD", [x, *noise], [Spec((1, 3))], {})
        request = [[1, 2, 3]]
    else:
        x = graph.input(())
        y = graph.op(op, [x], [Spec(())], {})
        request = 0.5
    graph.outputs(*y)
    return model.build(), request


def test_models_that_no_ramp_fits_are_served_by_the_card_too(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1, **CARD | {"BACKEND": "opencl"}) as server:
        for op in ("GATHER", "MIRROR_PAD", "RANDOM_UNIFORM", "ABS"):
            blob, request = picky(op)
            answer = server.upload(op, "1", blob)
            assert answer.status_code == 200, answer.text
            answer = infer(server, op, request)
            assert answer.status_code == 200, answer.text
            assert requests.post(f"{server.url}/models/{op}/verify", timeout=30).json()["ok"]


@pytest.mark.parametrize("backend", ["tflite", "opencl"])
def test_a_model_that_no_runtime_takes_whole_can_be_uploaded(tmp_path: Path, backend: str) -> None:
    with Server(tmp_path, workers=1, **CARD | {"BACKEND": backend}) as server:
        answer = server.upload("m", "1", tiny.listing(2))
        assert answer.status_code == 200, answer.text
        (output,) = infer(server, "m", [[1, 2, 3]]).json()["outputs"].values()
        assert output["data"] == [[[2, 4, 6]], [[3, 6, 9]]]


def test_float16_storage_is_a_setting_that_model_yaml_may_undo(tmp_path: Path) -> None:
    """Both versions hold the same weights; every worker answers within float16's reach."""
    page = tmp_path / "models" / "full" / "model.yaml"
    page.parent.mkdir(parents=True)
    page.write_text("precision: fp32\n")
    digits = (ROOT / "models/digits/1/model.tflite").read_bytes()
    picture = np.random.default_rng(0).random((1, 8, 8, 1)).round(3).tolist()
    with Server(tmp_path, workers=1, PRECISION="fp16-storage", **CARD) as server:
        size, answer = {}, {}
        for name in ("half", "full"):
            assert server.upload(name, "1", digits).status_code == 200
            shown = requests.get(f"{server.url}/models/{name}/versions/1", timeout=30).json()
            assert shown["backend"] == "opencl", shown
            size[name] = shown["memory_bytes"]
            (output,) = infer(server, name, picture).json()["outputs"].values()
            answer[name] = output["data"]
            assert requests.post(f"{server.url}/models/{name}/verify", timeout=30).json()["ok"]
        assert size["half"] < 0.8 * size["full"]
        assert answer["half"] != answer["full"]
        np.testing.assert_allclose(answer["half"], answer["full"], atol=5e-3)


def test_the_shadow_of_live_requests_shows_how_far_the_card_is_off(tmp_path: Path) -> None:
    """A real model, float32 and with weights as float16: both within what is tolerated."""
    page = tmp_path / "models" / "half" / "model.yaml"
    page.parent.mkdir(parents=True)
    page.write_text("precision: fp16-storage\n")
    digits = (ROOT / "models/digits/1/model.tflite").read_bytes()
    picture = np.random.default_rng(0).random((1, 8, 8, 1)).round(3).tolist()
    with Server(tmp_path, workers=1, SHADOW_SHARE="1", **CARD) as server:

        def seen(name: str, metric: str) -> float:
            text = requests.get(server.url + "/metrics", timeout=30).text
            found = re.search(rf'^{metric}{{model="{name}"}} (\S+)$', text, re.MULTILINE)
            return float(found[1]) if found else 0.0

        off = {}
        for name in ("full", "half"):
            assert server.upload(name, "1", digits).status_code == 200
            answer = infer(server, name, picture)
            assert answer.json()["backend"] == "opencl", answer.text
            server.until(lambda name=name: seen(name, "rx580_shadow_requests_total") == 1)
            off[name] = seen(name, "rx580_shadow_difference_ratio")
        assert 0 <= off["full"] < off["half"] <= 1
        assert requests.get(server.url + "/health", timeout=30).json()["status"] == "ok"


@pytest.mark.parametrize(("precision", "status"), [("fp32", 422), ("fp16-storage", 200)])
def test_a_golden_answers_own_tolerance_holds_on_the_card_too(
    tmp_path: Path, precision: str, status: int
) -> None:
    """The known answer is 0.05 % of its range off, and 0.01 % is allowed; float16 needs more."""
    file = ROOT / "models/digits/1/model.tflite"
    known = golden.draw(file)
    (name,) = known["values"]
    known["values"][name][0] += 5e-4 * (max(known["values"][name]) - min(known["values"][name]))
    known["tolerance"] = 1e-4
    page = tmp_path / "models" / "m" / "model.yaml"
    page.parent.mkdir(parents=True)
    page.write_text(yaml.safe_dump({"precision": precision, "golden": {"1": known}}))
    with Server(tmp_path, workers=1, **CARD | {"BACKEND": "opencl"}) as server:
        answer = server.upload("m", "1", file.read_bytes())
        assert answer.status_code == status, answer.text


def test_what_does_not_fit_is_refused_with_507_and_what_is_free(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2, VRAM_MB="0.001", **CARD | {"BACKEND": "opencl"}) as server:
        answer = server.upload("m", "1", tiny.heavy(1))
        assert answer.status_code == 507, answer.text
        assert "bytes of device memory are needed and" in answer.json()["detail"]
        assert held(server) == []


def test_what_does_not_fit_goes_to_the_cpu_where_that_is_allowed(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2, VRAM_MB="0.001", **CARD) as server:
        assert server.upload("m", "1", tiny.heavy(1)).status_code == 200
        shown = requests.get(server.url + "/models/m/versions/1", timeout=30).json()
        assert shown["backend"] == "tflite"
        assert "device memory" in shown["reason"]


def test_idle_models_make_room_and_come_back(tmp_path: Path) -> None:
    bounds = {"VRAM_MB": "12", "EVICT_IDLE_S": "0.3", "EVICT_KEEP": "0", "BACKEND": "opencl"}
    with Server(tmp_path, workers=1, **CARD | bounds) as server:
        assert server.upload("a", "1", tiny.heavy(8)).status_code == 200
        server.until(lambda: server.upload("b", "1", tiny.heavy(8)).status_code == 200)
        states = {
            model["name"]: model["versions"][0]
            for model in requests.get(server.url + "/models", timeout=30).json()["models"]
        }
        assert states["b"]["backend"] == "opencl"
        assert states["a"]["state"] == "unloaded"
        server.until(lambda: infer(server, "a", [[0.0] * 1024]).status_code == 200)


def test_idle_models_are_unloaded_and_come_back_on_request(tmp_path: Path) -> None:
    # More than the second between two looks at what is idle: else it may be gone again at once.
    with Server(tmp_path, workers=2, IDLE_UNLOAD_S="4", VERIFY_PERIOD_S="1", **CARD) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        looks = ("/v2/models/m/ready", "/v2/models/m/versions/1/ready")

        def states() -> set[str]:
            """What every worker has made of it; the model's own state only says what is wanted."""
            url = server.url + "/models/m/versions/1"
            return {worker["state"] for worker in requests.get(url, timeout=30).json()["workers"]}

        def resting() -> bool:
            """Neither golden checks nor who looks at a model keep it from being idle."""
            assert [server.get(path).status_code for path in looks] == [200] * len(looks)
            return states() == {"unloaded"}

        server.until(resting)
        answers = [infer(server, "m", [[1, 2, 3, 4]]) for _ in range(6)]
        assert [a.status_code for a in answers] == [200] * 6, answers[-1].text
        # The worker that was asked has it; the others follow.
        server.until(lambda: states() == {"ready"})
        # Somebody's own unload is no sleep: it stays.
        assert requests.post(server.url + "/models/m/unload", timeout=30).status_code == 200
        assert infer(server, "m", [[1, 2, 3, 4]]).status_code == 503


def test_who_uses_a_model_that_rests_waits_for_it_and_an_unload_ends_its_rest(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, workers=2, IDLE_UNLOAD_S="0.1") as server:
        for version in ("1", "2"):
            assert server.upload("m", version, tiny.heavy(16)).status_code == 200

        def resting() -> bool:
            return {version["state"] for version in server.model("m")["versions"]} == {"unloaded"}

        def late(at: int) -> int:
            time.sleep(at / 100)
            return infer(server, "m", [[0.0] * 1024]).status_code

        server.until(resting)
        with ThreadPoolExecutor(10) as pool:
            assert list(pool.map(late, range(10))) == [200] * 10
        server.until(resting)
        # A client that asks about a model means to use it.
        assert server.get("/v2/models/m/versions/1").json()["inputs"][0]["shape"] == [-1, 1024]
        server.until(resting)
        index = "/v2/repository/index"
        idle = "idle: the next request brings it back"
        assert {row["reason"] for row in server.post(index).json()} == {idle}
        assert {version["reason"] for version in server.model("m")["versions"]} == {idle}
        assert server.post("/models/m/unload").status_code == 200
        assert {row["reason"] for row in server.post(index).json()} == {"unloaded"}
        for version in ("1", "2"):
            path = f"/v2/models/m/versions/{version}"
            body = {"model_name": "m", "version": version, "input_data": [[0.0] * 1024]}
            assert server.post("/inference", json=body).status_code == 503
            assert server.get(f"{path}/ready").status_code == 503
