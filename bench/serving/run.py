"""How fast is this server beside those that one would use otherwise?

Every server runs the same two models on the same TFLite runtime with two workers, each in its own
environment. Rounds are interleaved, so that a busy machine is busy for all of them. Requests per
second depend on what else the machine does; CPU milliseconds a request hardly do.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from app.repository.pull import default_cache
from bench.serving import models, report
from bench.serving.load import closed
from bench.serving.overload import array, push
from bench.serving.servers import Ask, Running, Server, install, ours, own, peers

Cell = report.Cell
TENSORS = {"tiny": "t0", "image": "input"}
SHAPES = {"tiny": models.TINY, "image": models.IMAGE}
OURS = "ours"
BATCHING = "ours, batching"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--servers", nargs="+", help="only these, by name")
    parser.add_argument("--models", nargs="+", default=list(SHAPES))
    parser.add_argument(
        "--minutes", type=float, default=22.0, help="after which no further round begins"
    )
    parser.add_argument(
        "--overload", action="store_true", help="print only what more than it can do becomes of"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    chosen = parser.parse_args()
    cache = default_cache() / "bench"
    with tempfile.TemporaryDirectory() as folder:
        plain, batched = Path(folder) / "models", Path(folder) / "batched"
        files = models.make(plain, default_cache())
        models.make(batched, default_cache(), batching=True)
        image = ours("image", TENSORS["image"])["V2 binary"].request(array(models.IMAGE))
        if chosen.overload:
            print(report.overload(push(plain, files["image"], image)))
            return
        servers = [own(plain, OURS), own(batched, BATCHING), *peers()]
        if chosen.servers:
            servers = [server for server in servers if server.name in chosen.servers]
        venvs = installed(servers, cache)
        chosen.end = time.monotonic() + chosen.minutes * 60
        overload = push(plain, files["image"], image)
        cells = compare([s for s in servers if s.name in venvs], venvs, files, chosen)
    report.write(chosen.out, cells, overload)


def installed(servers: list[Server], cache: Path) -> dict[str, Path]:
    """Make the peers' environments; one that cannot be had is left out, and said so."""
    venvs = {}
    for server in servers:
        try:
            venvs[server.name] = install(server, cache)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f"{server.name} is left out: {error}", flush=True)
    return venvs


def compare(
    servers: list[Server],
    venvs: dict[str, Path],
    files: dict[str, Path],
    chosen: argparse.Namespace,
) -> dict[Cell, list[report.Measured]]:
    """Measure every server, way of asking and concurrency, in interleaved rounds."""
    cells: dict[Cell, list[report.Measured]] = defaultdict(list)
    for turn in range(chosen.rounds):
        for model in chosen.models:
            # The first round is never cut short, so that there is a figure for everything.
            if turn and time.monotonic() > chosen.end:
                print(f"{chosen.minutes:g} minutes are over: no further round", flush=True)
                return cells
            for server in servers:
                one_server(server, venvs[server.name], files[model], model, turn, chosen, cells)
    return cells


def one_server(
    server: Server, venv: Path, file: Path, model: str, turn: int, chosen: argparse.Namespace,
    cells: dict[Cell, list[report.Measured]],
) -> None:  # fmt: skip
    """Start one server, ask it in every way, and stop it."""
    given = array(SHAPES[model])
    try:
        running = started(server, venv, file, model, given)
    except RuntimeError as error:
        print(f"{server.name} with the {model} model: {error}", flush=True)
        return
    try:
        for way, ask in asks(server, model).items():
            for many in chosen.concurrency:
                one = measure(running, ask.request(given), many, chosen.seconds)
                cells[server.name, model, way, many].append(one)
                print(turn, server.name, model, way, many, one, flush=True)
                running.settle()
    finally:
        running.stop()


def asks(server: Server, model: str) -> dict[str, Ask]:
    return server.asks or ours(model, TENSORS[model])


def started(server: Server, venv: Path, file: Path, model: str, given: np.ndarray) -> Running:
    running = Running(server, venv, file)
    first = next(iter(asks(server, model).values())).request(given)
    running.wait(lambda: 200 in closed(running.address, [first], 1, 0.1, 0.0).statuses())
    return running


def measure(running: Running, request: bytes, many: int, seconds: float) -> report.Measured:
    before = running.cpu()
    result = closed(running.address, [request], many, seconds)
    spent = running.cpu() - before
    answered = max(1, result.sent)
    return report.Measured(
        result.rate(), result.quantile(0.5), result.quantile(0.99), spent / answered * 1e3,
        result.rate(503),
    )  # fmt: skip


if __name__ == "__main__":
    main()
