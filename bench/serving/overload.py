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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.serving.load import Result, closed, opened
from bench.serving.servers import Running, Server, own

FACTORS = (1.0, 2.0, 5.0)
# The machine's speed wanders by a tenth and more: what is compared is measured in turn, so often.
ROUNDS = 6
SECONDS = 3.0
CONCURRENCY = 8
# So long the load goes on while the pages of health and metrics are looked at.
WATCHED_SECONDS = 8.0
# After the load, windows of so many seconds, until so many seconds have gone.
WINDOW, AFTER = 0.25, 2.0


@dataclass
class Offered:
    """What became of one rate, by round.

    Units: spent in CPU seconds of the server; goodput is answers a second, as a share of what the
           closed loops before and behind the round answered.
    """

    factor: float
    results: list[Result] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)
    goodput: list[float] = field(default_factory=list)

    def median(self, figure: Callable[[Result], float]) -> float:
        return statistics.median(figure(one) for one in self.results)


@dataclass
class Overload:
    """What was seen.

    calm are the closed loops at concurrency 8, one before each round and one behind the last.
    Units: rss in bytes before and after; watched in ms by target; after is a list of
           (s since the end, p50 ms).
    """

    cores: str
    calm: Offered = field(default_factory=lambda: Offered(0.0))
    offered: list[Offered] = field(default_factory=lambda: [Offered(one) for one in FACTORS])
    rss: tuple[int, int] = (0, 0)
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
    before = running.memory()
    peak = _calm(running, request, seen)
    for _ in range(ROUNDS):
        for offered in seen.offered:
            spent = running.cpu()
            result = opened(address, [request], peak * offered.factor, SECONDS, drain=0.0)
            offered.results.append(result)
            offered.spent.append(running.cpu() - spent)
        next_peak = _calm(running, request, seen)
        for offered in seen.offered:
            offered.goodput.append(offered.results[-1].rate() * 2 / (peak + next_peak))
        peak = next_peak
    with _watching({
        "/health": f"{address[0]}:{address[1]}/health",
        "/metrics": f"{address[0]}:{address[1]}/metrics",
        "exporter": f"127.0.0.1:{metrics}/metrics",
    }) as seen.watched:  # fmt: skip
        opened(address, [request], peak * FACTORS[-1], WATCHED_SECONDS, drain=0.0)
        seen.after = _after(running, request)
    seen.rss = before, running.memory()


def _calm(running: Running, request: bytes, seen: Overload) -> float:
    """Gives what it can do, in answers a second."""
    seen.calm.results.append(closed(running.address, [request], CONCURRENCY, 2.0))
    return seen.calm.results[-1].rate()


def _after(running: Running, request: bytes) -> list[tuple[float, float]]:
    began = time.perf_counter()
    found = []
    while (now := time.perf_counter() - began) < AFTER:
        one = closed(running.address, [request], CONCURRENCY, WINDOW, 0.0)
        found.append((now + WINDOW, one.quantile(0.5)))
    return found


@contextmanager
def _watching(targets: dict[str, str]) -> Iterator[dict[str, list[float]]]:
    """Look at the targets meanwhile; what is given is filled when it ends."""
    seen: dict[str, list[float]] = {}
    command = [sys.executable, "-m", "bench.serving.watch", str(WATCHED_SECONDS - 1.0)]
    process = subprocess.Popen([*command, *targets.values()], stdout=subprocess.PIPE, text=True)
    yield seen
    output, _ = process.communicate(timeout=60)
    seen.update(zip(targets, json.loads(output).values(), strict=True))


def array(shape: tuple[int, ...]) -> np.ndarray:
    """The input that every server is asked about."""
    return np.random.default_rng(1).random(shape, np.float32)
