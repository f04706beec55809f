"""What becomes of a server that is offered more than it can do.

The load generator has a core of its own, the first, and the server all others: what it costs to
send five times too much is no cost of the server's.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.serving.load import Result, closed, opened
from bench.serving.servers import Running, Server, own

FACTORS = (1.0, 2.0, 5.0)
SECONDS = 6.0
CONCURRENCY = 8
# After the load, windows of so many seconds, until so many seconds have gone.
WINDOW, AFTER = 0.25, 2.0


@dataclass
class Overload:
    """What was seen.

    Units: peak in answers a second; p50 and p99 in ms, at concurrency 8 before; rss in bytes
           before and after; watched in ms by target; after is a list of (s since the end, p50 ms).
    """

    cores: str
    peak: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    rss: tuple[int, int] = (0, 0)
    rows: list[tuple[float, Result, float]] = field(default_factory=list)
    watched: dict[str, list[float]] = field(default_factory=dict)
    after: list[tuple[float, float]] = field(default_factory=list)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """Run, and start processes, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def split() -> tuple[set[int], set[int]]:
    """The generator's core and the server's; the same one if there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    return {cores[0]}, set(cores[1:] or cores)


def push(folder: Path, file: Path, request: bytes) -> Overload:
    """Offer 1, 2 and 5 times what the server can do."""
    mine, theirs = split()
    metrics = free_port()
    server: Server = own(folder, "pushed", METRICS_PORT=str(metrics))
    with on(theirs):
        running = Running(server, Path(), file)
    seen = Overload(f"generator on core {min(mine)}, server on {sorted(theirs)}")
    try:
        with on(mine):
            first = [request]
            running.wait(lambda: 200 in closed(running.address, first, 1, 0.1, 0.0).statuses())
            _push(running, request, seen, metrics)
    finally:
        running.stop()
    return seen


def _push(running: Running, request: bytes, seen: Overload, metrics: int) -> None:
    address = running.address
    closed(address, [request], CONCURRENCY, 2.0)
    calm = [closed(address, [request], CONCURRENCY, 2.0) for _ in range(3)]
    seen.peak = statistics.median(one.rate() for one in calm)
    seen.p50 = statistics.median(one.quantile(0.5) for one in calm)
    seen.p99 = statistics.median(one.quantile(0.99) for one in calm)
    before = running.memory()
    targets = [
        f"{address[0]}:{address[1]}/health", f"{address[0]}:{address[1]}/metrics",
        f"127.0.0.1:{metrics}/metrics",
    ]  # fmt: skip
    for factor in FACTORS:
        with _watching(targets if factor == FACTORS[-1] else []) as watched:
            spent = running.cpu()
            result = opened(address, [request], seen.peak * factor, SECONDS, drain=0.0)
            seen.rows.append((factor, result, running.cpu() - spent))
            if factor == FACTORS[-1]:
                seen.after = _after(running, request)
        seen.watched.update(zip(("/health", "/metrics", "exporter"), watched, strict=False))
    seen.rss = before, running.memory()


def _after(running: Running, request: bytes) -> list[tuple[float, float]]:
    began = time.perf_counter()
    found = []
    while (now := time.perf_counter() - began) < AFTER:
        one = closed(running.address, [request], CONCURRENCY, WINDOW, 0.0)
        found.append((now + WINDOW, one.quantile(0.5)))
    return found


@contextmanager
def _watching(targets: list[str]) -> Iterator[list[list[float]]]:
    seen: list[list[float]] = []
    if not targets:
        yield seen
        return
    command = [sys.executable, "-m", "bench.serving.watch", str(SECONDS - 1.0), *targets]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield seen
    output, _ = process.communicate(timeout=60)
    seen += json.loads(output).values()


def array(shape: tuple[int, ...]) -> np.ndarray:
    """The input that every server is asked about."""
    return np.random.default_rng(1).random(shape, np.float32)
