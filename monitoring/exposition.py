"""All workers' metrics as one page: collect, filter, render."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.core import Metric

from monitoring import catalogue, gpu, merge, text, workers
from monitoring.metric import REGISTRY, family

Page = tuple[str, str]
"""The text and its content type."""


class Exposition:
    """Renders the metrics of all processes that share a directory, or of this process alone."""

    def __init__(self, directory: Path | None, sysfs: Path = Path("/sys")) -> None:
        self._reader = merge.Reader(directory) if directory else None
        self._directory = directory
        self._sysfs = sysfs

    def page(self, accept: str | None, names: Iterable[str] = ()) -> Page:
        """Render in the format that the Accept header asks for, optionally only some names.

        A name is a metric's or one of its samples'; unknown ones select nothing.
        """
        wanted = frozenset(names)
        families = (f for f in self.collect() if not wanted or _is_named(f, wanted))
        return text.render(families, accept or "")

    def collect(self) -> Iterator[Metric]:
        """Give every family that has samples now."""
        start = time.perf_counter()
        if self._reader is None or self._directory is None:
            yield from REGISTRY.collect()
        else:
            yield from self._reader.collect()
            yield from workers.collect(self._directory)
        yield from gpu.collect(self._sysfs)
        took = time.perf_counter() - start
        yield family(catalogue.COLLECT_SECONDS, [((), took)])


def _is_named(metric: Metric, wanted: frozenset[str]) -> bool:
    return metric.name in wanted or any(sample.name in wanted for sample in metric.samples)
