"""Runs the real hooks through many worker lives, without gunicorn's and the app's start-up time.

python -m tests.monitoring.restarts DIRECTORY LIVES prints as JSON what a scrape sees after 10, 100
and all lives. Four workers live at a time; each counts 10 requests, says so, and ends; every tenth
is killed with SIGKILL instead. Several end at the same moment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import prometheus_client  # noqa: F401  # what a worker's start would cost most of its time

from monitoring.hooks import MetricsConfig, MetricsHooks

WORKERS, REQUESTS, KILLED = 4, 10, 10


def live(server: Any, worker: Any, hooks: MetricsHooks, said: int) -> None:
    """Be a worker: count, tell the master, end."""
    hooks.post_fork(server, worker)
    from monitoring import catalogue

    for number in range(REQUESTS):
        catalogue.HTTP_REQUESTS.labels("GET", "/x", "200").inc()
        catalogue.HTTP_SECONDS.labels("GET", "/x").observe(number / 10)
    catalogue.HTTP_IN_FLIGHT.inc()
    os.write(said, b".")
    if worker.number % KILLED == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    hooks.worker_exit(server, worker)
    os._exit(0)


def start(server: Any, hooks: MetricsHooks, number: int, said: int) -> None:
    """Fork a worker as gunicorn's arbiter does."""
    worker = SimpleNamespace(number=number, aborted=False, nr=0, max_requests=0, pid=0)
    hooks.pre_fork(server, worker)
    pid = os.fork()
    worker.pid = pid or os.getpid()
    if pid == 0:
        live(server, worker, hooks, said)
    server.WORKERS[pid] = worker


def reap(server: Any, hooks: MetricsHooks) -> None:
    """Wait for one worker and hand its slot on."""
    pid, _ = os.waitpid(-1, 0)
    hooks.child_exit(server, server.WORKERS.pop(pid))


def main(folder: Path, lives: int) -> None:
    """Live through it and print what was seen."""
    hooks = MetricsHooks(MetricsConfig(directory=folder, port=0))
    server = SimpleNamespace(WORKERS={}, num_workers=WORKERS, master_pid=0)
    hooks.on_starting(server)
    heard, said = os.pipe()
    seen = {}
    for number in range(1, lives + 1):
        start(server, hooks, number, said)
        while len(server.WORKERS) >= WORKERS or (number in (10, 100, lives) and server.WORKERS):
            reap(server, hooks)
        if number in (10, 100, lives):
            seen[number] = look(folder)
    os.close(said)
    told = 0
    while chunk := os.read(heard, 65536):
        told += len(chunk)
    print(json.dumps({"told": told * REQUESTS, "seen": seen}))


def look(folder: Path) -> dict[str, float]:
    """Scrape in a process of its own, as the exporter does."""
    code = (
        "import sys, time, json; from pathlib import Path\n"
        "from monitoring.exposition import Exposition\n"
        "e = Exposition(Path(sys.argv[1]), Path('/nonexistent')); e.page(None)\n"
        "t = time.process_time(); page = e.page(None)[0]; t = time.process_time() - t\n"
        "print(json.dumps({'cpu': t, 'page': page}))"
    )
    found = json.loads(subprocess.check_output([sys.executable, "-c", code, folder]))
    values = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in found["page"].splitlines()
        if not line.startswith("#")
    }
    return {
        "requests": values['rx580_http_requests_total{handler="/x",method="GET",status="200"}'],
        "observed": values['rx580_http_request_duration_seconds_count'
                           '{handler="/x",method="GET"}'],
        "in_flight": values.get("rx580_http_requests_in_flight", 0.0),
        "starts": values["rx580_worker_starts_total"],
        "killed": values['rx580_worker_exits_total{reason="killed"}'],
        "broken": values["rx580_metrics_files_broken"],
        "bytes": values["rx580_metrics_file_bytes"],
        "files": len(list(folder.glob("*.db"))),
        "cpu_ms": round(1000 * found["cpu"], 2),
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
