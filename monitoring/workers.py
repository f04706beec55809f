"""The workers as the masters count them and as /proc shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import Metric

from monitoring import catalogue, slots
from monitoring.ledger import WorkerLedger
from monitoring.metric import Spec, family

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def collect(directory: Path, proc: Path = Path("/proc")) -> Iterator[Metric]:
    """Give starts, exits and numbers of workers, and memory, CPU and descriptors of each."""
    record = WorkerLedger(directory).read()
    live = [holder for holder in slots.holders(directory) if holder.live]
    yield family(catalogue.WORKERS, [((), len(live))])
    yield family(catalogue.WORKERS_DESIRED, [((), record["desired"])])
    yield family(catalogue.WORKER_STARTS, [((), record["starts"])])
    exits = [((reason,), count) for reason, count in record["exits"].items()]
    yield family(catalogue.WORKER_EXITS, exits)
    readings: dict[Spec, list[tuple[tuple[str, ...], float]]] = {}
    for holder in live:
        for spec, value in _process(proc / str(holder.pid)).items():
            readings.setdefault(spec, []).append(((str(holder.number),), value))
    for spec, samples in readings.items():
        yield family(spec, samples)


def _process(folder: Path) -> dict[Spec, float]:
    try:
        # The command name stands in brackets and may hold anything, spaces too.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        descriptors = len(os.listdir(folder / "fd"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return {}  # it ended just now, or is in another pid namespace
    return {
        catalogue.WORKER_RSS: float(fields[21]) * _PAGE,
        catalogue.WORKER_CPU: (float(fields[11]) + float(fields[12])) / _TICKS,
        catalogue.WORKER_FDS: float(descriptors),
    }
