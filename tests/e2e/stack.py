"""The real server under the real Prometheus and Alertmanager, with shortened rules."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from monitoring.stack import alerting, local
from monitoring.stack.process import Service
from tests import processes
from tests.e2e.receiver import Receiver
from tests.monitoring.card import record
from tests.monitoring.running import free_port, wait_for

ROOT = Path(__file__).parent.parent.parent
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FASTER = 15
"""A minute of the rules is so many times shorter here; no window is below 5 s, five scrapes."""


def shorten(text: str) -> str:
    """Make a rule file's windows and `for`s shorter. Thresholds stay as they are."""

    def shorter(match: re.Match[str]) -> str:
        seconds = int(match[2]) * SECONDS[match[3]] / FASTER
        return f"{match[1]}{max(5, round(seconds))}s{match[4]}"

    text = re.sub(r"(\[)(\d+)([smhd])(\])", shorter, text)
    text = re.sub(r"(\[)(\d+)([smhd])(:)15s", lambda m: shorter(m) + "1s", text)
    return re.sub(r"(    for: )([1-9]\d*)([smhd])()", shorter, text)


@dataclass
class Server:
    """The real gunicorn with the real app; start() and stop() as an operator would."""

    folder: Path
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def start(self) -> None:
        if not self.models.exists():
            for name in ("digits", "second"):
                shutil.copytree(ROOT / "models/digits", self.models / name)
            record(self.folder / "sysfs")
        environ = os.environ | {
            "PORT": str(self.port), "METRICS_PORT": str(self.metrics_port), "WORKERS": "2",
            "MODELS_DIR": str(self.models), "STATE_DIR": str(self.folder / "state"),
            "CACHE_DIR": str(self.folder / "cache"), "SYSFS_DIR": str(self.folder / "sysfs"),
            # PoCL stands in for the card, and its sensors are recorded ones.
            "BACKEND": "opencl", "OPENCL_DEVICE": "Portable Computing Language",
            "VERIFY_PERIOD_S": "1", "SHADOW_SHARE": "0.5",
        }  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).parent / "gunicorn", "wsgi:app",
                 "--config", "deploy/gunicorn.conf.py"],
                cwd=ROOT, env=environ, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_for(lambda: self.ready() or self.process.poll() is not None, 120)
            assert self.ready(), (self.folder / "server.log").read_text()[-3000:]
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Stop every process but the exporter: the kernel still takes connections."""
        assert self.process is not None
        master = self.process.pid
        pids = [master, *processes.workers(master)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def ready(self) -> bool:
        """the server is ready"""
        try:
            return requests.get(self.url + "/health/ready", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def post(self, path: str) -> int:
        return requests.post(self.url + path, timeout=60).status_code

    def infer(self) -> int:
        body = (ROOT / "models/digits/example.json").read_bytes()
        headers = {"Content-Type": "application/json"}
        url = self.url + "/inference"
        return requests.post(url, data=body, headers=headers, timeout=10).status_code


@dataclass
class Traffic:
    """Callers in the background that count what they get."""

    server: Server
    pause: float = 0.05
    seen: Counter[int] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Traffic:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(self.pause):
            number += 1
            if number % 10 == 0:
                path = "/models" if number % 20 else "/nothing"
                self.seen[requests.get(self.server.url + path, timeout=10).status_code] += 1
            else:
                self.seen[self.server.infer()] += 1


@dataclass
class Stack:
    """The running Prometheus and Alertmanager."""

    options: local.Options

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Ask for the present value of an expression."""
        answer = requests.get(
            f"http://127.0.0.1:{self.options.prometheus}/api/v1/query",
            params={"query": expr}, timeout=30,
        ).json()  # fmt: skip
        assert answer["status"] == "success", (expr, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expr: str) -> float | None:
        result = self.query(expr)
        return float(result[0]["value"][1]) if result else None


def configure(options: local.Options, receiver: Receiver) -> None:
    """Render the shipped configuration, then shorten the rendered copies."""
    settings = alerting.Settings(
        SLACK_WEBHOOK_URL=receiver.url("/slack"),
        DISCORD_WEBHOOK_URL=receiver.url("/discord"),
        WATCHDOG_URL=receiver.url("/watchdog"),
    )
    settings.store(options.alerting / "settings.yml")
    local.render(options)
    folder = options.state / "prometheus"
    for path in (*folder.glob("rules/*.yml"), *folder.glob("alerts/*.yml")):
        path.write_text(shorten(path.read_text()))
    config = folder / "prometheus.yml"
    text = config.read_text().replace("_interval: 10s", "_interval: 1s")
    config.write_text(text.replace("scrape_timeout: 5s", "scrape_timeout: 1s"))
    path = options.alerting / "alertmanager.yml"
    routes = yaml.safe_load(path.read_text())
    for route in (routes["route"], *routes["route"]["routes"]):
        route.update({k: "1s" for k in ("group_wait", "group_interval") if k in route})
    path.write_text(yaml.safe_dump(routes))


@contextmanager
def running(server: Server, receiver: Receiver, folder: Path) -> Iterator[Stack]:
    """Run the local stack around a server until the block ends."""
    options = local.Options(
        root=ROOT, state=folder, prometheus=free_port(), alertmanager=free_port(),
        node_exporter=free_port(), api=f"127.0.0.1:{server.port}",
        exporter=f"127.0.0.1:{server.metrics_port}", cadvisor=f"127.0.0.1:{receiver.port}",
        environ=os.environ,
    )  # fmt: skip
    configure(options, receiver)
    services: list[Service] = local.services(options)
    try:
        for service in services:
            service.start()
        for service in services:
            service.wait()
        yield Stack(options)
    finally:
        for service in services:
            service.stop()


def told(capsys: pytest.CaptureFixture[str], what: str, since: float) -> None:
    """Print how long something took, for the CI's log."""
    with capsys.disabled():
        print(f"\n{what}: {time.monotonic() - since:.1f} s")
