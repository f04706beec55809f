"""How fast is this server beside those that one would use otherwise?

Every server runs the same two models on the same TFLite runtime with two workers, each in its own
environment. Rounds are interleaved, so that a busy machine is busy for all of them. Requests per
second depend on what else the machine does; CPU milliseconds a request hardly do.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from app.repository.pull import default_cache
from bench.serving import models, report
from bench.serving.load import Result, closed, opened
from bench.serving.servers import Ask, Running, Server, install, ours, own, peers

Cell = tuple[str, str, str, int]
TENSORS = {"tiny": "t0", "image": "input"}
SHAPES = {"tiny": models.TINY, "image": models.IMAGE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    chosen = parser.parse_args()
    cache = default_cache() / "bench"
    with tempfile.TemporaryDirectory() as folder:
        files = models.make(Path(folder) / "models", default_cache())
        servers = [own(Path(folder) / "models", "ours"), *peers()]
        venvs = {server.name: install(server, cache) for server in servers}
        cells = compare(servers, venvs, files, chosen)
        overload = push(servers[0], files["image"])
    report.write(chosen.out, cells, overload)


def compare(
    servers: list[Server],
    venvs: dict[str, Path],
    files: dict[str, Path],
    chosen: argparse.Namespace,
) -> dict[Cell, list[report.Measured]]:
    """Measure every server, way of asking and concurrency, in interleaved rounds."""
    cells: dict[Cell, list[report.Measured]] = defaultdict(list)
    for model, file in files.items():
        array = np.random.default_rng(1).random(SHAPES[model], np.float32)
        for turn in range(chosen.rounds):
            for server in servers:
                try:
                    running = started(server, venvs[server.name], file, model, array)
                except RuntimeError as error:
                    print(f"{server.name} with the {model} model: {error}", flush=True)
                    continue
                try:
                    for way, ask in asks(server, model).items():
                        for many in chosen.concurrency:
                            one = measure(running, ask.request(array), many, chosen.seconds)
                            cells[server.name, model, way, many].append(one)
                            print(turn, server.name, model, way, many, one, flush=True)
                finally:
                    running.stop()
    return cells


def asks(server: Server, model: str) -> dict[str, Ask]:
    return server.asks or ours(model, TENSORS[model])


def started(server: Server, venv: Path, file: Path, model: str, array: np.ndarray) -> Running:
    running = Running(server, venv, file)
    first = next(iter(asks(server, model).values())).request(array)
    running.wait(lambda: 200 in closed(running.address, [first], 1, 0.1, 0.0).statuses())
    return running


def measure(running: Running, request: bytes, many: int, seconds: float) -> report.Measured:
    before = running.cpu()
    result = closed(running.address, [request], many, seconds)
    spent = running.cpu() - before
    answered = max(1, result.sent)
    return report.Measured(
        result.rate(), result.quantile(0.5), result.quantile(0.99), spent / answered * 1e3
    )


def push(server: Server, file: Path) -> list[tuple[float, float, Result]]:
    """Offer 1, 2 and 5 times what the server can do; gives the factor, the peak and what came."""
    array = np.random.default_rng(1).random(models.IMAGE, np.float32)
    running = started(server, Path(), file, "image", array)
    request = ours("image", TENSORS["image"])["V2 binary"].request(array)
    try:
        peak = statistics.median(
            closed(running.address, [request], 8, 2.0).rate() for _ in range(3)
        )
        return [
            (factor, peak, opened(running.address, [request], peak * factor, 5.0))
            for factor in (1.0, 2.0, 5.0)
        ]
    finally:
        running.stop()


if __name__ == "__main__":
    main()
