"""The real server in its own processes, on a free port, spoken to over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests import processes
from tests.service.described import Described

ROOT = Path(__file__).parents[2]
# Of a loop that waits. Units: seconds.
LONGEST_STEP = 5.0
# For an answer, of a machine that may stand still for a minute. Units: seconds.
PATIENCE = 150.0


def free_port() -> int:
    """Find a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """gunicorn with this project's configuration over its own folders."""

    def __init__(self, folder: Path, workers: int = 3, **environment: str) -> None:
        self.folder = folder
        self.workers = workers
        self.models = folder / "models"
        self.models.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log.txt"
        self._environment = environment
        self._described: Described | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, ready: bool = True) -> None:
        """Start, and wait until it is ready."""
        environment = {
            **os.environ,
            "PORT": str(self.port),
            "WORKERS": str(self.workers),
            "MODELS_DIR": str(self.models),
            "STATE_DIR": str(self.folder / "state"),
            "METRICS_PORT": "0",
            "BACKEND": "tflite",
            **self._environment,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"],
                cwd=ROOT, env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        if ready:
            self.wait_ready()

    @property
    def master(self) -> int:
        """The pid of gunicorn's master."""
        assert self._process is not None
        return self._process.pid

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until every worker serves."""
        self.until(lambda: self.get("/health/ready").status_code == 200, seconds)

    def until(self, true: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until something is true of the server."""
        waited, last = 0.0, time.monotonic()
        while waited < seconds:
            now = time.monotonic()
            # A machine that stood still has given the server no time.
            waited, last = waited + min(now - last, LONGEST_STEP), now
            try:
                if true():
                    return
            except requests.ConnectionError:
                pass
            assert self._process is None or self._process.poll() is None, self.text()
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s; the log ends: {self.text()[-3000:]}")

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End the server and give its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        children = self.pids(process.pid)
        process.send_signal(how)
        try:
            code = process.wait(60)
        finally:
            process.kill()
            if how == signal.SIGKILL:
                for pid in children:
                    _kill(pid)
        return code

    def signal(self, number: int) -> None:
        """Send the master a signal."""
        os.kill(self.master, number)

    def pids(self, master: int | None = None) -> list[int]:
        """List the workers' processes."""
        return sorted(processes.children(master or self.master))

    def text(self) -> str:
        """Give the log."""
        return self.log.read_text(errors="replace")

    # --- HTTP ---

    def get(self, path: str, **more: Any) -> requests.Response:
        return self._ask("GET", path, more)

    def post(self, path: str, **more: Any) -> requests.Response:
        return self._ask("POST", path, more)

    def put(self, path: str, **more: Any) -> requests.Response:
        return self._ask("PUT", path, more)

    def delete(self, path: str, **more: Any) -> requests.Response:
        return self._ask("DELETE", path, more)

    def _ask(self, method: str, path: str, more: dict[str, Any]) -> requests.Response:
        """Call; whatever the answer is, the server's own description has to know it."""
        answer = requests.request(method, self.url + path, **{"timeout": PATIENCE, **more})
        if self._described is None:
            document = requests.get(self.url + "/openapi.json", timeout=60)
            self._described = Described(document.json())
        self._described.check(answer)
        return answer

    def upload(self, name: str, version: str, data: bytes, **query: str) -> requests.Response:
        """PUT a model."""
        return self.put(f"/models/{name}/versions/{version}", data=data, params=query)

    def infer(self, name: str, data: Any, **more: Any) -> requests.Response:
        """POST /inference."""
        body = json.dumps({"model_name": name, "input_data": data, **more})
        return self.post("/inference", data=body, headers={"Content-Type": "application/json"})

    def model(self, name: str) -> dict[str, Any]:
        """GET one model."""
        answer: dict[str, Any] = self.get(f"/models/{name}").json()
        return answer


class Load:
    """Threads that keep calling the server until told to stop, and remember every answer."""

    def __init__(self, call: Callable[[], requests.Response], threads: int = 4) -> None:
        self._call = call
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.answers: list[requests.Response] = []
        # In words: an error would keep its call's frames, and so a descriptor.
        self.errors: list[str] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._call()
                answer.raw = None  # it would keep its connection's descriptor
                self.answers.append(answer)
            except Exception as error:
                self.errors.append(repr(error))
                time.sleep(0.01)  # nobody is there just now

    def failed(self) -> list[str]:
        """List what did not succeed."""
        wrong = [f"{a.status_code} {a.text[:300]}" for a in self.answers if a.status_code != 200]
        return wrong + self.errors


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
