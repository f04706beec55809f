"""Several workers behave as one server, whatever happens to them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from app.processes import started
from tests.service import tiny
from tests.service.live import Load, Server


def outputs(answer: requests.Response) -> list[list[float]]:
    assert answer.status_code == 200, answer.text
    (only,) = answer.json()["outputs"].values()
    found: list[list[float]] = only["data"]
    return found


def states(server: Server, name: str) -> dict[str, set[str]]:
    return {
        version["version"]: {worker["state"] for worker in version["workers"]}
        for version in server.model(name)["versions"]
    }


def test_upload_to_one_worker_is_true_of_all(folder: Path) -> None:
    with Server(folder) as server:
        answer = server.upload("m", "1", tiny.add(1))
        assert answer.status_code == 200, answer.text
        (action,) = answer.json()["actions"]
        assert len(action["workers"]) == 3
        found = [outputs(server.infer("m", [[1, 2, 3, 4]])) for _ in range(300)]
        assert found == [[[2, 3, 4, 5]]] * 300


def test_load_and_unload_are_true_when_they_are_answered(folder: Path) -> None:
    with Server(folder) as server:
        server.upload("m", "1", tiny.add(1))
        for _ in range(5):
            assert server.post("/models/m/unload").status_code == 200
            assert {server.infer("m", [[1, 2, 3, 4]]).status_code for _ in range(12)} == {503}
            assert server.post("/models/m/load").status_code == 200
            assert {server.infer("m", [[1, 2, 3, 4]]).status_code for _ in range(12)} == {200}


def test_a_worker_killed_during_a_load_comes_back_equal(folder: Path) -> None:
    blob = tiny.heavy()
    chance = random.Random(1)
    with Server(folder) as server:
        server.upload("m", "1", tiny.add(1))
        for round_ in range(4):
            answers: list[requests.Response] = []

            def upload(name: str, into: list[requests.Response]) -> None:
                # The upload itself may have gone to the worker that dies.
                with contextlib.suppress(requests.ConnectionError):
                    into.append(server.upload(name, "1", blob))

            name = f"heavy-{round_}"
            thread = threading.Thread(target=upload, args=(name, answers))
            thread.start()
            victim = chance.choice(server.pids())
            time.sleep(0.1 + 0.2 * round_)
            os.kill(victim, signal.SIGKILL)
            thread.join()
            server.until(lambda dead=victim: len(server.pids()) == 3 and dead not in server.pids())
            server.wait_ready()
            if answers:
                assert answers[0].status_code == 200, answers[0].text
                assert states(server, name) == {"1": {"ready"}}
            server.delete(f"/models/{name}/versions/1")
        found = {tuple(outputs(server.infer("m", [[1, 2, 3, 4]]))[0]) for _ in range(30)}
        assert found == {(2, 3, 4, 5)}
        assert states(server, "m") == {"1": {"ready"}}


def test_killed_workers_do_not_hold_up_an_answer(folder: Path) -> None:
    with Server(folder) as server:
        server.upload("m", "1", tiny.add(1))
        for round_ in range(3):
            for pid in server.pids()[:2]:
                os.kill(pid, signal.SIGKILL)
            server.until(lambda: server.get("/health/live").status_code == 200)
            start = time.monotonic()
            answer = None
            while answer is None:
                try:
                    answer = server.upload("m", f"{round_ + 2}", tiny.add(round_))
                except requests.ConnectionError:
                    assert time.monotonic() < start + 10
            assert answer.status_code == 200, answer.text
            assert time.monotonic() - start < 10
            server.wait_ready()
        assert set(states(server, "m")) == {"1", "2", "3", "4"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_state_outlives_the_server(folder: Path, how: int) -> None:
    server = Server(folder)
    with server:
        server.upload("kept", "1", tiny.add(1))
        server.upload("resting", "1", tiny.add(2))
        assert server.post("/models/resting/unload").status_code == 200
        server.upload("gone", "1", tiny.add(3))
        assert server.delete("/models/gone/versions/1").status_code == 200
        server.stop(how)
        if how == signal.SIGKILL:
            time.sleep(0.5)
        server.start()
        assert states(server, "kept") == {"1": {"ready"}}
        assert states(server, "resting") == {"1": {"unloaded"}}
        assert server.get("/models/gone").status_code == 404
        assert outputs(server.infer("kept", [[0, 0, 0, 0]])) == [[1, 1, 1, 1]]


def test_200_concurrent_requests_leave_the_workers_equal(folder: Path) -> None:
    with Server(folder, ACTION_TIMEOUT_S="20") as server:
        server.upload("m", "1", tiny.add(1))
        calls = [
            lambda: server.post("/models/m/load"),
            lambda: server.post("/models/m/unload"),
            lambda: server.infer("m", [[1, 2, 3, 4]]),
            lambda: server.upload("m", "1", tiny.add(1)),
        ]
        chosen = random.Random(2).choices(calls, weights=[3, 3, 6, 1], k=200)
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda call: call(), chosen))
        assert {answer.status_code for answer in answers} <= {200, 409, 503}
        # 409 means that another request changed its mind; nothing else may go wrong.
        for answer in answers:
            if answer.status_code == 503:
                assert "not loaded" in answer.json()["detail"] or "not ready" in answer.text
        assert server.post("/models/m/load").status_code == 200
        assert states(server, "m") == {"1": {"ready"}}
        assert len({tuple(outputs(server.infer("m", [[1, 2, 3, 4]]))[0]) for _ in range(30)}) == 1
        # Each with bytes of its own, for one version: the last wins, and nobody else failed.
        with ThreadPoolExecutor(12) as pool:
            puts = list(pool.map(lambda n: server.upload("n", "1", tiny.add(n)), range(24)))
        assert {answer.status_code for answer in puts} <= {200, 409}
        assert states(server, "n") == {"1": {"ready"}}
        assert len({tuple(outputs(server.infer("n", [[1, 2, 3, 4]]))[0]) for _ in range(30)}) == 1


def test_hot_upgrade_fails_no_request(folder: Path) -> None:
    with Server(folder) as server:
        server.upload("m", "1", tiny.add(1))
        with Load(lambda: server.infer("m", [[0, 0, 0, 0]])) as load:
            time.sleep(0.5)
            assert server.upload("m", "2", tiny.add(2)).status_code == 200
            after = server.infer("m", [[0, 0, 0, 0]])
            assert server.post("/models/m/unload", json={"version": "1"}).status_code == 200
            # The same version with other bytes is an upgrade too.
            assert server.upload("m", "2", tiny.add(3)).status_code == 200
            last = server.infer("m", [[0, 0, 0, 0]])
            time.sleep(0.3)
        assert load.failed() == []
        assert len(load.answers) > 50
        assert outputs(after) == [[2, 2, 2, 2]]
        assert outputs(last) == [[3, 3, 3, 3]]


@pytest.mark.parametrize("keep_alive", [True, False])
def test_reload_and_stop_fail_no_request(folder: Path, keep_alive: bool) -> None:
    with Server(folder) as server:
        server.upload("m", "1", tiny.add(1))
        local = threading.local()

        def call() -> requests.Response:
            if not keep_alive:
                return server.infer("m", [[0, 0, 0, 0]])
            if not hasattr(local, "session"):
                local.session = requests.Session()
            body = {"model_name": "m", "input_data": [[0, 0, 0, 0]]}
            answer: requests.Response = local.session.post(server.url + "/inference", json=body)
            return answer

        before = server.pids()
        with Load(call) as load:
            time.sleep(0.5)
            server.signal(signal.SIGHUP)
            server.until(lambda: len(server.pids()) == 3 and not set(before) & set(server.pids()))
            server.wait_ready()
            time.sleep(0.3)
        assert load.failed() == []
        assert len(load.answers) > 50


def test_sigterm_answers_what_it_has_accepted(folder: Path) -> None:
    with Server(folder) as server:
        server.upload("m", "1", tiny.add(1))
        with Load(lambda: server.infer("m", [[0, 0, 0, 0]])) as load:
            time.sleep(0.5)
            assert server.stop() == 0
            stopped = time.monotonic()
            while not load.errors and time.monotonic() < stopped + 5:
                time.sleep(0.01)
        assert [a.status_code for a in load.answers if a.status_code != 200] == []
        # A connection that nobody accepts any more is refused; one that was accepted is answered.
        assert [error for error in load.errors if "refused" not in error] == []


def test_another_master_takes_over(folder: Path) -> None:
    """USR2 begins an upgrade however the server was started, with python -m here."""
    with Server(folder, workers=1) as server:
        server.upload("m", "1", tiny.add(1))
        (worker,) = server.pids()
        with Load(lambda: server.infer("m", [[0, 0, 0, 0]]), threads=2) as load:
            server.signal(signal.SIGUSR2)
            server.until(lambda: len(server.pids()) == 2)
            (new,) = set(server.pids()) - {worker}
            server.until(lambda: bool(server.pids(new)))
            try:
                server.until(lambda: server.get("/health").json()["workers"]["serving"] == 2)
                assert server.stop() == 0
                assert server.infer("m", [[0, 0, 0, 0]]).status_code == 200
            finally:
                os.kill(new, signal.SIGTERM)
                gone = time.monotonic() + 30
                while started(new) is not None and time.monotonic() < gone:
                    time.sleep(0.05)
        assert [answer.status_code for answer in load.answers if answer.status_code != 200] == []


def test_max_requests_replaces_workers_without_a_failure(folder: Path) -> None:
    with Server(folder, MAX_REQUESTS="40") as server:
        server.upload("m", "1", tiny.add(1))
        before = set(server.pids())
        with Load(lambda: server.infer("m", [[0, 0, 0, 0]])) as load:
            server.until(lambda: not before & set(server.pids()))
        assert load.failed() == []


def test_an_action_that_takes_long_is_answered_202(folder: Path) -> None:
    with Server(folder, ACTION_TIMEOUT_S="1") as server:
        server.upload("m", "1", tiny.add(1))
        stopped = server.pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            answer = None
            while answer is None:
                try:  # the stopped worker may have accepted the connection
                    answer = server.put("/models/m/versions/2", data=tiny.add(2), timeout=5)
                except requests.RequestException:
                    continue
            assert answer.status_code == 202, answer.text
            url = answer.headers["Location"]
            pending = [
                w["pid"] for w in answer.json()["actions"][0]["workers"] if w["state"] == "pending"
            ]
            assert pending == [stopped]
        finally:
            os.kill(stopped, signal.SIGCONT)
        server.until(lambda: server.get(url).json()["state"] == "done")
