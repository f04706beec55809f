"""How fast is the engine on PoCL beside the two TFLite runtimes? Prints one table of ratios.

python -m bench.engine [--threads N] [--rounds N] [--json FILE] [--no-tinygrad] [MODEL ...]

MODEL is a name of the corpus or the path of a .tflite file; the default is the corpus's sample.
A model that keeps state is timed by the step, in requests of STEPS steps.

Every model is measured in a process of its own: once to compile (cold), and with the compiled
kernels on disk (cached, the least of LOADS processes: what else the machine does only adds).
Rounds are interleaved, so that what else the machine does hits all alike; the figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import geometric_mean, median
from time import perf_counter
from typing import Any

from app.backends.runtimes import installed, interpreter
from app.repository.pull import default_cache
from bench.tinygrad import row as tinygrad
from tests.engine import oracle
from tests.engine.corpus import CORPUS

HEADER = (f"{'model':34}{'type':>7}{'engine':>9}{'litert':>9}{'tflite':>9}{'/litert':>9}"
          f"{'/tflite':>9}{'tinygrad/':>10}{'launches':>9}{'us each':>8}{'arena':>7}{'cold s':>8}"
          f"{'cached s':>9}")
STEPS = 20
LOADS = 3


def main() -> int:
    """Measure the models named on the command line, or the sample of the corpus."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine")
    parser.add_argument("models", nargs="*")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--all", action="store_true", help="every model of the corpus")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--no-tinygrad", action="store_true", help="it compiles for long")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(*options.child, options.threads, options.rounds,
                                 not options.no_tinygrad)))
        return 0
    chosen = options.models or [m.name for m in CORPUS.values() if options.all or m.sample]
    rows = [row for name in chosen if (row := _row(name, options))]
    _summary(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0


def _row(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    if name in CORPUS:
        CORPUS[name].fetch()
    with tempfile.TemporaryDirectory() as folder:
        _child(name, folder, options, 1)
        row = _child(name, folder, options, options.rounds)
        again = [_child(name, folder, options, 1)["load"] for _ in range(LOADS - 1)]
        cold = _child(name, f"{folder}/new", options, 1, "pthread")
    if "refused" in row:
        print(f"{name:34} {row['refused']}")
        return None
    row.update(load=min(row["load"], *again), cold=cold["load"], host_us=cold["host_us"])
    print(_line(row), flush=True)
    return row


def _child(name: str, folder: str, options: argparse.Namespace, rounds: int,
           driver: str = "") -> dict[str, Any]:
    # One thread: PoCL's basic device runs on the calling thread, as TFLite does. Its other
    # device returns from an enqueue before the kernel runs, which shows the host's share.
    driver = driver or ("basic" if options.threads == 1 else "pthread")
    env = {**os.environ, "POCL_CACHE_DIR": f"{folder}/pocl",
           "POCL_DEVICES": driver,
           "POCL_MAX_PTHREAD_COUNT": str(options.threads)}
    Path(folder, "pocl").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bench.engine", "--threads", str(options.threads),
               "--rounds", str(rounds), "--child", name, folder]
    if rounds == 1 or options.no_tinygrad:
        command.append("--no-tinygrad")
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False,
                          timeout=900)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(name: str, folder: str, threads: int, rounds: int, peer: bool) -> dict[str, Any]:
    """Load one model, then time the engine and the runtimes in turn. Units: seconds."""
    from app.engine.loaded import LoadedModel
    from app.engine.opencl.device import choose
    from app.engine.reader import read
    from app.engine.runtime import Runtime
    from app.errors import ServingError

    warnings.simplefilter("ignore")
    blob, inputs = _material(name)
    device = choose("Portable Computing Language")
    assert device is not None
    runtime = Runtime(device, Path(folder) / "kernels")
    start = perf_counter()
    try:
        model = LoadedModel(runtime, read(blob))
        executor = model.prepare([a.shape for a in inputs])
    except ServingError as error:
        return {"refused": str(error)[:160], "load": 0.0}
    load = perf_counter() - start
    steps = STEPS if model.stateful else 1
    engine = (lambda: model.run_steps([inputs] * steps)) if model.stateful else (
        lambda: model.run(inputs))
    times = interleave({"engine": engine, **_judges(blob, inputs, threads, steps)}, rounds)
    times = {k: v / steps for k, v in times.items()}
    plan = executor.plan
    row = {"model": Path(name).stem, "dtype": inputs[0].dtype.name, "load": load, **times,
           "stateful": model.stateful, "launches": executor.launches,
           "arena": plan.arena_bytes / max(plan.bound_bytes, 1)}
    if not device.handle.name.startswith("basic"):
        row["host_us"] = executor.host_seconds() * 1e6
    if peer and not model.stateful and inputs[0].dtype.name == "float32":
        cache = default_cache() / "bench"
        row["tinygrad"] = tinygrad.measure(blob, inputs, model.run(inputs), Path(folder), cache)
    return row


def _material(name: str) -> tuple[bytes, list[oracle.Array]]:
    if name in CORPUS:
        blob = CORPUS[name].blob()
        return blob, CORPUS[name].inputs(blob)
    blob = Path(name).read_bytes()
    return blob, oracle.random_inputs(blob)


def _judges(blob: bytes, inputs: Sequence[oracle.Array], threads: int,
            steps: int) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    for name in installed():
        try:
            judge = interpreter(name, blob, threads)
            details = judge.get_input_details()
            for detail, array in zip(details, inputs, strict=True):
                if tuple(detail["shape"]) != array.shape:
                    judge.resize_tensor_input(detail["index"], array.shape)
            judge.allocate_tensors()
        except (RuntimeError, ValueError):
            continue
        found[name] = _run(judge, inputs, steps)
    return found


def _run(judge: Any, inputs: Sequence[oracle.Array], steps: int) -> Callable[[], object]:
    ins = [d["index"] for d in judge.get_input_details()]
    outs = [d["index"] for d in judge.get_output_details()]

    def run() -> object:
        for index, array in zip(ins, inputs, strict=True):
            judge.set_tensor(index, array)
        judge.invoke()
        return [judge.get_tensor(i) for i in outs]

    return run if steps == 1 else lambda: [run() for _ in range(steps)]


def interleave(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median time of each function, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start = perf_counter()
            run()
            times[name].append(perf_counter() - start)
    return {name: median(own) for name, own in times.items()}


def _line(row: dict[str, Any]) -> str:
    ours, new, old = (row.get(k) for k in ("engine", "ai-edge-litert", "tflite-runtime"))
    peer = row.get("tinygrad", {}).get("seconds")

    def cell(value: float | None, scale: float = 1.0, width: int = 9, digits: int = 2) -> str:
        return f"{'-' if value is None else f'{value * scale:.{digits}f}':>{width}}"

    return (f"{row['model']:34}{row['dtype']:>7}{cell(ours, 1e3)}{cell(new, 1e3)}{cell(old, 1e3)}"
            f"{cell(new and ours / new)}{cell(old and ours / old)}"
            f"{cell(peer and peer / ours, 1, 10, 0)}{row['launches']:>9}"
            f"{cell(row['host_us'], 1, 8)}{cell(row['arena'], 1, 7)}{cell(row['cold'], 1, 8)}"
            f"{cell(row['load'], 1, 9, 3)}")


def _summary(rows: Sequence[dict[str, Any]]) -> None:
    groups = {"float": [r for r in rows if r["dtype"] == "float32" and not r["stateful"]],
              "integer": [r for r in rows if r["dtype"] != "float32" and not r["stateful"]],
              "stateful": [r for r in rows if r["stateful"]]}
    for label, own in groups.items():
        for judge in ("ai-edge-litert", "tflite-runtime"):
            ratios = [r["engine"] / r[judge] for r in own if r.get(judge)]
            if ratios:
                print(f"{label} models: {geometric_mean(ratios):.2f}x the time of {judge} "
                      f"(geometric mean of {len(ratios)}; worst {max(ratios):.2f}x)")
    peers = [r["tinygrad"]["seconds"] / r["engine"] for r in rows
             if "seconds" in r.get("tinygrad", {})]
    if peers:
        print(f"tinygrad's CL device takes {geometric_mean(peers):.0f} times as long (geometric "
              f"mean of {len(peers)}; least {min(peers):.0f})")


if __name__ == "__main__":
    print(HEADER) if "--child" not in sys.argv else None
    sys.exit(main())
