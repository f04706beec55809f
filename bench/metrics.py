"""What a scrape costs: plain prometheus_client beside the slots, over workers, restarts and series.

python -m bench.metrics [--overload]. Both read files of the same content in the same run; a plain
server leaves the files of every worker that ended, a slot's are handed on. With --overload the
tests' tiny server is offered 5 times what it can do, and 100 scrapes are timed (bench.overload).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from bench.overload import overload
from monitoring import text
from monitoring.merge import Reader

HANDLERS, STATUSES, BUCKETS, STAGES, MODELS = 10, 5, 15, 4, 10
SERIES = {"M": HANDLERS * STATUSES, "L": HANDLERS * STATUSES + MODELS * STAGES}
CASES = ((2, 0, "M"), (8, 0, "M"), (32, 0, "M"), (2, 10, "M"), (2, 100, "M"), (2, 1000, "M"),
         (2, 0, "L"), (8, 0, "L"), (32, 0, "L"), (2, 100, "L"))  # fmt: skip
ROUNDS = 5
PATIENCE = 6.0
"""Seconds after which no further round of a slow case is run."""


def template(folder: Path, labels: int) -> tuple[Path, Path]:
    """Write one worker's counters and histograms with so many label sets each."""
    counter, histogram = folder / "counter", folder / "histogram"
    for path, fill in ((counter, _counters), (histogram, _buckets)):
        file = MmapedDict(str(path))
        for number in range(labels):
            fill(file, number)
        file.close()
    return counter, histogram


def _counters(file: MmapedDict, number: int) -> None:
    key = mmap_key("requests", "requests_total", ["n"], [str(number)], "Requests.")
    file.write_value(key, 1.0, 0.0)


def _buckets(file: MmapedDict, number: int) -> None:
    for edge in (*(f"{2.0**n}" for n in range(BUCKETS - 1)), "+Inf"):
        key = mmap_key("seconds", "seconds_bucket", ["le", "n"], [edge, str(number)], "Seconds.")
        file.write_value(key, 1.0, 0.0)
    key = mmap_key("seconds", "seconds_sum", ["n"], [str(number)], "Seconds.")
    file.write_value(key, 1.0, 0.0)


def plain(folder: Path) -> Callable[[], int]:
    """Scrape as prometheus_client does."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return lambda: len(generate_latest(registry))


def slotted(folder: Path) -> Callable[[], int]:
    """Scrape as the exporter does."""
    reader = Reader(folder)
    return lambda: len(text.render(reader.collect(), "")[0])


def timed(scrapes: list[Callable[[], int]]) -> list[float]:
    """Give the median CPU milliseconds of each: a busy machine disturbs wall time more."""
    took: list[list[float]] = [[] for _ in scrapes]
    started = time.perf_counter()
    for scrape in scrapes:
        scrape()
    for _ in range(ROUNDS):
        for times, scrape in zip(took, scrapes, strict=True):
            start = time.process_time()
            scrape()
            times.append(1000 * (time.process_time() - start))
        if time.perf_counter() - started > PATIENCE:
            break
    return [statistics.median(times) for times in took]


def case(folder: Path, workers: int, restarts: int, size: str) -> str:
    """Measure one line of the table."""
    files = template(folder, SERIES[size])
    for name, processes in (("plain", workers + restarts), ("slots", workers)):
        (folder / name).mkdir()
        for number in range(processes):
            for path in files:
                shutil.copy(path, folder / name / f"{path.name}_{number}.db")
            if name == "slots":
                (folder / name / f"slot_{number}.lock").touch()
    first, second = timed([plain(folder / "plain"), slotted(folder / "slots")])
    counts = [len(list((folder / name).glob("*.db"))) for name in ("plain", "slots")]
    used = sum(int.from_bytes(path.open("rb").read(4), "little") for path in files) / 1e6
    return (
        f"{workers:7} {restarts:8} {size:>6} | {counts[0]:5} {used * (workers + restarts):8.2f} "
        f"{first:9.1f} | {counts[1]:5} {used * workers:8.2f} {second:9.1f} | {first / second:7.1f}x"
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overload", action="store_true", help="time 100 scrapes at 5x load")
    if parser.parse_args().overload:
        overload()
        return 0
    sizes = ", ".join(f"{name} = {number}" for name, number in SERIES.items())
    print(f"label sets: {sizes}; {BUCKETS} buckets each; CPU ms, medians of interleaved rounds")
    print(f"{'':23} | {'plain prometheus_client':^24} | {'slots':^24} |")
    print("workers restarts series | files  MB read    CPU ms | files  MB read    CPU ms |   ratio")
    for workers, restarts, size in CASES:
        with tempfile.TemporaryDirectory() as folder:
            print(case(Path(folder), workers, restarts, size), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
