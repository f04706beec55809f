"""What all workers together have done, read back from their metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from prometheus_client.core import Metric

from app.repository.names import Key
from app.wire.describe import Duration, Statistics
from monitoring import catalogue
from monitoring.exposition import Exposition
from monitoring.metric import slot_directory

Labels = tuple[tuple[str, str], ...]


class Totals:
    """Reads the inference metrics of every worker, dead ones included."""

    def __init__(self) -> None:
        self._exposition = Exposition(slot_directory())

    def of(self, models: Iterable[tuple[Key, int]]) -> list[Statistics]:
        """Sum up each version; the number beside it is when it answered last, in ms.

        Batch sizes are known by the histogram's buckets only: a batch counts under its bucket's
        upper edge, and the time of all runs is shared out by rows.
        """
        found = _Samples(self._exposition.collect())
        return [_statistics(found, key, last) for key, last in models]


class _Samples:
    def __init__(self, families: Iterable[Metric]) -> None:
        wanted = {
            metric._name
            for metric in (
                catalogue.INFERENCES, catalogue.QUEUE_SECONDS, catalogue.RUN_SECONDS,
                catalogue.BATCH_SIZE, catalogue.CACHE_HITS, catalogue.CACHE_MISSES,
            )
        }  # fmt: skip
        self._values: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for family in families:
            if family.name in wanted:
                for sample in family.samples:
                    self._values[sample.name].append((sample.labels, sample.value))

    def total(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self.matching(name, **labels))

    def matching(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        return [
            (had, value)
            for had, value in self._values[name]
            if all(had.get(key) == wanted for key, wanted in labels.items())
        ]


def _statistics(found: _Samples, key: Key, last: int) -> Statistics:
    model = {"model": key.name, "version": key.version}
    done = int(found.total("rx580_inference_requests_total", outcome="ok", **model))
    failed = int(found.total("rx580_inference_requests_total", outcome="error", **model))
    runs = int(found.total("rx580_inference_run_seconds_count", **model))
    run_ns = int(found.total("rx580_inference_run_seconds_sum", **model) * 1e9)
    queue_ns = int(found.total("rx580_inference_queue_seconds_sum", **model) * 1e9)
    hits = int(found.total("rx580_cache_hits_total", **model))
    rows = int(found.total("rx580_inference_batch_size_sum", **model))
    return Statistics(
        *key,
        last_inference=last,
        inference_count=rows,
        execution_count=runs,
        durations={
            # What came from the cache succeeded, too, as Triton counts it.
            "success": Duration(done + hits, queue_ns + run_ns),
            "fail": Duration(failed, 0),
            "queue": Duration(done, queue_ns),
            "compute_input": Duration(done, 0),
            "compute_infer": Duration(done, run_ns),
            "compute_output": Duration(done, 0),
            "cache_hit": Duration(hits),
            "cache_miss": Duration(int(found.total("rx580_cache_misses_total", **model))),
        },
        batches=_batches(found, model, run_ns, rows),
    )


def _batches(
    found: _Samples, model: dict[str, str], run_ns: int, rows: int
) -> dict[int, Duration]:
    edges = sorted(
        (float(labels["le"]), count)
        for labels, count in found.matching("rx580_inference_batch_size_bucket", **model)
    )
    batches: dict[int, Duration] = {}
    below = 0.0
    for edge, count in edges:
        runs, below = int(count - below), count
        if runs and edge != float("inf"):
            share = min(1.0, runs * edge / max(1, rows))
            batches[int(edge)] = Duration(runs, int(run_ns * share))
    return batches
