"""A real server on a device that lies or hangs: found out, callers served, counted, remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.service import tiny
from tests.service.live import ROOT, Load, Server

DIGITS = ROOT / "models/digits/1/model.tflite"


def infer(server: Server) -> requests.Response:
    body = {"model_name": "m", "input_data": [[1, 2, 3, 4]]}
    return requests.post(server.url + "/inference", json=body, timeout=60)


def metric(server: Server, series: str) -> float:
    text = requests.get(server.url + "/metrics", timeout=30).text
    return sum(float(x.rpartition(" ")[2]) for x in text.splitlines() if x.startswith(series))


def shown(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(server.url + "/models/m/versions/1", timeout=30).json()
    return found


def answers(load: Load) -> list[Any]:
    assert load.failed() == []
    return [next(iter(a.json()["outputs"].values()))["data"] for a in load.answers]


def test_a_lie_is_found_within_a_period_and_the_cpu_takes_over(
    tmp_path: Path, faulty: dict[str, str]
) -> None:
    with Server(tmp_path, workers=2, VERIFY_PERIOD_S="1", CACHE_MB="1", **faulty) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        assert shown(server)["backend"] == "opencl"
        (tmp_path / "faults" / "lie").touch()
        with Load(lambda: infer(server), threads=1) as load:
            server.until(lambda: metric(server, "rx580_device_suspect_workers") == 2)
        assert load.failed() == []
        wrong = 'rx580_device_faults_total{kind="wrong_results"}'
        assert metric(server, wrong) == 2
        assert metric(server, 'rx580_golden_checks_total{model="m",result="fail"}') == 2
        with Load(lambda: infer(server), threads=1) as load:
            server.until(lambda: len(load.answers) > 20)
        assert all(answer == [[2, 3, 4, 5]] for answer in answers(load))
        server.until(lambda: shown(server)["backend"] == "tflite")
        assert "no longer trusted" in shown(server)["reason"]
        assert "CPU" in requests.get(server.url + "/health", timeout=30).json()["device"]


@pytest.mark.parametrize("fault", ["flip", "lost"])
def test_a_flipped_weight_or_a_lost_card_leaves_every_caller_served(
    tmp_path: Path, faulty: dict[str, str], fault: str
) -> None:
    """A flip is found in a small convolutional net by the next check, without any traffic."""
    with Server(tmp_path, workers=1, VERIFY_PERIOD_S="1", **faulty) as server:
        assert server.upload("m", "1", DIGITS.read_bytes()).status_code == 200
        assert shown(server)["backend"] == "opencl"
        picture = np.random.default_rng(0).random((1, 8, 8, 1)).round(3).tolist()
        body = {"model_name": "m", "input_data": picture}

        def ask() -> requests.Response:
            return requests.post(server.url + "/inference", json=body, timeout=60)

        with Load(ask, threads=1) as load:
            (tmp_path / "faults" / fault).touch()
            kind = {"flip": "wrong_results", "lost": "lost"}[fault]
            series = f'rx580_device_faults_total{{kind="{kind}"}}'
            server.until(lambda: metric(server, series) == 1)
            served = len(load.answers)
            server.until(lambda: len(load.answers) > served + 20)
        scores = [next(iter(a.json()["outputs"].values()))["data"] for a in load.answers]
        assert load.failed() == []
        np.testing.assert_allclose(scores, [scores[0]] * len(scores), atol=1e-4)


def test_callers_of_a_hung_device_are_answered_and_the_worker_is_replaced(
    tmp_path: Path, faulty: dict[str, str]
) -> None:
    bounds = {"DEVICE_TIMEOUT_S": "1", "DEVICE_RESTARTS": "2", "VERIFY_PERIOD_S": "1"}
    with Server(tmp_path, workers=1, **bounds, **faulty) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        before = server.pids()
        (tmp_path / "faults" / "hang").touch()
        got = infer(server)
        assert got.status_code == 200
        assert next(iter(got.json()["outputs"].values()))["data"] == [[2, 3, 4, 5]]
        assert metric(server, 'rx580_device_faults_total{kind="hung"}') == 1
        # The new worker meets the same device, and after the second failure stays on the CPU.
        server.until(lambda: bool(server.pids()) and not set(before) & set(server.pids()), 60)
        server.wait_ready()
        server.until(lambda: shown(server)["backend"] == "tflite", 60)
        assert infer(server).status_code == 200
        record = tmp_path / "state" / "device-faults.jsonl"
        server.until(lambda: len(record.read_text().splitlines()) == 2)
        server.until(lambda: "no longer uses the card" in shown(server)["reason"]
                     or "did not answer" in shown(server)["reason"])
        now = server.pids()
        assert infer(server).status_code == 200
        assert server.pids() == now


def test_kernels_that_do_not_build_leave_the_model_to_the_cpu_with_the_compilers_words(
    tmp_path: Path, faulty: dict[str, str]
) -> None:
    (tmp_path / "faults" / "build").touch()
    with Server(tmp_path, workers=2, **faulty) as server:
        assert server.upload("m", "1", tiny.add(1)).status_code == 200
        assert shown(server)["backend"] == "tflite"
        assert "did not build with [" in shown(server)["reason"]
        assert "no compiler today" in shown(server)["reason"]
        assert next(iter(infer(server).json()["outputs"].values()))["data"] == [[2, 3, 4, 5]]
        assert metric(server, 'rx580_fallbacks_total{model="m",reason="kernel_build"}') == 2
        # The card itself is not to blame, and whoever insists on it hears why it is not used.
        assert metric(server, "rx580_device_suspect_workers") == 0
        url = server.url + "/models/insists/versions/1?backend=opencl"
        refused = requests.put(url, data=tiny.add(1), timeout=60)
        assert refused.status_code == 503
        assert "no compiler today" in refused.json()["detail"]
