"""How a metric is declared: once, with its labels, help, buckets and multiprocess mode."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, values
from prometheus_client.core import Metric

from monitoring.slots import GAUGE_MODES

REGISTRY = CollectorRegistry()
"""Holds the metrics of a process that is no gunicorn worker (a test, a command)."""


class Histogram(prometheus_client.Histogram):
    """A histogram that can take the same observation many times at the price of one."""

    def observe_each(self, amount: float, times: int) -> None:
        """Observe so many times the same amount."""
        self._sum.inc(amount * times)
        self._buckets[bisect.bisect_left(self._upper_bounds, amount)].inc(times)


KINDS: dict[type[Counter | Gauge | Histogram], str] = {
    Counter: "counter", Gauge: "gauge", Histogram: "histogram",
}  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """One line of the catalogue.

    Units: as the name's last word says (seconds, bytes, ratio, celsius, ...).
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    mode: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def family(self) -> str:
        """The name without a counter's suffix, as exposition formats want it."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name

    @property
    def series(self) -> tuple[str, ...]:
        """The names that this metric's samples have."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))


CATALOGUE: dict[str, Spec] = {}


def slot_directory() -> Path | None:
    """Give the directory of metric files if this process holds a slot (hooks.install)."""
    return getattr(values.ValueClass, "slot_directory", None)


_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)

# A helper that a worker started inherits PROMETHEUS_MULTIPROC_DIR but holds no slot: files named
# by its pid would pile up and be read by nobody.
if slot_directory() is None:
    values.ValueClass = values.MutexValue


def define(
    kind: type[_Metric],
    name: str,
    help: str,
    labels: tuple[str, ...] = (),
    *,
    mode: str = "",
    buckets: tuple[float, ...] = (),
) -> _Metric:
    """Declare a metric that workers write.

    Raises: ValueError if the name is taken or a gauge's mode is not one of GAUGE_MODES.
    """
    _register(Spec(name, KINDS[kind], help, labels, mode, buckets))
    if kind is Gauge:
        if mode not in GAUGE_MODES:
            raise ValueError(f"{name}: mode {mode!r} is not one of {', '.join(GAUGE_MODES)}")
        return kind(name, help, labels, registry=REGISTRY, multiprocess_mode=mode)  # type: ignore[call-arg,arg-type]
    if kind is Histogram:
        return kind(name, help, labels, registry=REGISTRY, buckets=buckets)  # type: ignore[call-arg]
    return kind(name, help, labels, registry=REGISTRY)


def observed(kind: str, name: str, help: str, labels: tuple[str, ...] = ()) -> Spec:
    """Declare a metric that is read at scrape time: from /proc, sysfs or the masters' ledger.

    Raises: ValueError if the name is taken.
    """
    return _register(Spec(name, kind, help, labels))


def _register(spec: Spec) -> Spec:
    if spec.name in CATALOGUE:
        raise ValueError(f"{spec.name} is declared twice")
    if (spec.kind == "counter") != spec.name.endswith("_total"):
        raise ValueError(f"{spec.name}: counters, and nothing else, end in _total")
    CATALOGUE[spec.name] = spec
    return spec


def family(spec: Spec, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """Make a family of a counter or gauge from (label values, value) pairs."""
    made = Metric(spec.family, spec.help, spec.kind)
    for row, value in samples:
        made.add_sample(spec.name, dict(zip(spec.labels, row, strict=True)), value)
    return made


class BoundedLabels:
    """Keeps label values that others choose (model names and versions) from growing for ever.

    Beyond `limit` distinct tuples every new one is counted under "other".
    """

    def __init__(self, limit: int, on_first: Callable[[tuple[str, ...]], None]) -> None:
        self._limit = limit
        self._seen: set[tuple[str, ...]] = set()
        self._on_first = on_first
        self._lock = threading.Lock()

    def __call__(self, *values: str) -> tuple[str, ...]:
        if values in self._seen:
            return values
        with self._lock:
            if values not in self._seen:
                if len(self._seen) >= self._limit:
                    return ("other",) * len(values)
                self._on_first(values)
                self._seen.add(values)
        return values
