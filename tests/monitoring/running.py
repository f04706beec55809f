"""Start the tiny server and read its metrics, as tests want to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    """Give a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: Callable[[], bool], seconds: float = 20, each: float = 0.05) -> None:
    """Wait until it is true; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what.__doc__ or what}")
        time.sleep(each)


def parse(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Give every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@dataclass
class Tiny:
    """A running tiny server."""

    process: subprocess.Popen[bytes]
    directory: Path
    port: int
    metrics_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    def scrape(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        response = requests.get(self.metrics_url, timeout=10)
        assert response.status_code == 200
        return parse(response.text)

    def total(self, name: str, **labels: str) -> float:
        """Sum the samples of that name with (at least) these labels."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.scrape().items() if n == name and wanted <= have)

    def by(self, name: str, label: str) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for (found, labels), value in self.scrape().items():
            if found == name:
                sums[dict(labels)[label]] += value
        return sums

    def files(self) -> list[Path]:
        return sorted((self.directory / "metrics").glob("*.db"))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def answers(self) -> bool:
        """the server and its exporter answer"""
        try:
            up = requests.get(self.url + "/metrics?name[]=none", timeout=2).ok
            return up and requests.get(self.metrics_url, timeout=2).ok
        except requests.RequestException:
            return False


@contextmanager
def tiny_server(
    directory: Path,
    *,
    workers: int = 2,
    max_requests: int = 0,
    timeout: int = 3,
    sysfs: Path = Path("/nonexistent"),
    port: int = 0,
    metrics_port: int = 0,
) -> Iterator[Tiny]:
    """Run the tiny server until the block ends."""
    port, metrics_port = port or free_port(), metrics_port or free_port()
    environment = os.environ | {
        "TINY_DIRECTORY": str(directory),
        "TINY_PORT": str(port),
        "TINY_METRICS_PORT": str(metrics_port),
        "TINY_SYSFS": str(sysfs),
        "TINY_WORKERS": str(workers),
        "TINY_MAX_REQUESTS": str(max_requests),
        "TINY_TIMEOUT": str(timeout),
    }
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "gunicorn", "tests.monitoring.tiny_app:app",
             "--config", "tests/monitoring/tiny_gunicorn.py"],
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        server = Tiny(process, directory, port, metrics_port)
        try:
            wait_for(server.answers)
            yield server
        finally:
            process.terminate()
            process.wait(20)
