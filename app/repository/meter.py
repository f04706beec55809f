"""What one worker counts about one model version."""

from __future__ import annotations

import time

from app.batching.lane import Observer
from app.repository.names import Key
from monitoring import catalogue


class Meter(Observer):
    """Writes the inference metrics of one version; looks its series up once.

    last is when the last request was answered, in milliseconds since the epoch.
    """

    def __init__(self, key: Key, backend: str, limit: int) -> None:
        self._labels = catalogue.model_labels(*key)
        model, version = self._labels
        self._backend = backend
        self._queue_seconds = catalogue.QUEUE_SECONDS.labels(model, version)
        self._run_seconds = catalogue.RUN_SECONDS.labels(model, version, backend)
        self._batch_size = catalogue.BATCH_SIZE.labels(model, version)
        self._depth = catalogue.QUEUE_DEPTH.labels(model)
        self._limit = catalogue.QUEUE_LIMIT.labels(model)
        self._waiting = 0
        self._room = limit
        self._limit.inc(limit)
        self._outcomes = {
            outcome: catalogue.INFERENCES.labels(model, version, backend, outcome)
            for outcome in catalogue.OUTCOMES
        }
        self.last = 0

    def ran(self, jobs: int, rows: int, seconds: float) -> None:
        """Session.run was called once."""
        self._run_seconds.observe(seconds)
        self._batch_size.observe(rows)

    def dropped(self, reason: str) -> None:
        """A queued request was dropped before compute."""
        catalogue.DROPPED.labels(reason).inc()

    def depth(self, waiting: int) -> None:
        """So many requests wait now; several versions of a model share the gauge."""
        self._depth.inc(waiting - self._waiting)
        self._waiting = waiting

    def room(self, most: int) -> None:
        """So many requests may wait now."""
        if most != self._room:
            self._limit.inc(most - self._room)
            self._room = most

    def answered(self, queue_seconds: float) -> None:
        """One request got its answer."""
        self._queue_seconds.observe(queue_seconds)
        self._outcomes["ok"].inc()
        self.last = time.time_ns() // 1_000_000

    def failed(self) -> None:
        """One request reached the model and failed there."""
        self._outcomes["error"].inc()

    def close(self) -> None:
        """Take this version's share out of the gauges."""
        self.depth(0)
        self._limit.dec(self._room)
        self._room = 0


_REJECTED = {reason: catalogue.REJECTED.labels(reason) for reason in catalogue.REJECTIONS}


def rejected(reason: str, times: int = 1) -> None:
    """Count requests that were refused before they were queued."""
    _REJECTED[reason].inc(times)


# Why a load failed, by the error's code; whatever else it is counts as "error".
_REASONS = {
    "invalid_model": "invalid_model",
    "model_misdescribed": "invalid_model",
    "unsupported_op": "unsupported_op",
    "device_memory": "device_memory",
    "device_error": "device_error",
    "device_not_found": "device_error",
    "device_hung": "device_error",
    "kernel_build_failed": "device_error",
    "deadline_exceeded": "timeout",
}


def load_failed(key: Key, code: str) -> None:
    """Count a load that failed with an error of this code."""
    model, _ = catalogue.model_labels(*key)
    reason = _REASONS.get(code, "error")
    catalogue.LOAD_FAILED.labels(model, reason).inc()
    catalogue.LOADS_FAILED.labels(reason).inc()


def loaded(key: Key, backend: str, size: int, seconds: float) -> None:
    """Count a version that this worker now serves; size in bytes, seconds of its load."""
    model, version = catalogue.model_labels(*key)
    catalogue.LOAD_SECONDS.labels(model, backend).observe(seconds)
    catalogue.MODEL_SESSIONS.labels(model, version, backend).inc()
    catalogue.MODEL_BYTES.labels(model, version, backend).inc(size)


def unloaded(key: Key, backend: str, size: int, reason: str) -> None:
    """Count a version that this worker no longer serves."""
    model, version = catalogue.model_labels(*key)
    catalogue.MODEL_SESSIONS.labels(model, version, backend).dec()
    catalogue.MODEL_BYTES.labels(model, version, backend).dec(size)
    catalogue.UNLOADED.labels(reason).inc()


def standing(ready: int, desired: int) -> None:
    """Say how many versions this worker serves, and how many it should."""
    catalogue.MODELS_READY.set(ready)
    catalogue.MODELS_DESIRED.set(desired)


# Why the CPU serves what the card was wanted for, by the error's code.
_FALLBACKS = {
    "device_not_found": "no_device",
    "unsupported_op": "unsupported_op",
    "invalid_model": "unsupported_op",
    "device_memory": "device_memory",
    "kernel_build_failed": "kernel_build",
}


def fallback(name: str, version: str, code: str) -> None:
    """Count a load that went to the CPU although the card was wanted."""
    model, _ = catalogue.model_labels(name, version)
    catalogue.FALLBACK.labels(model, _FALLBACKS.get(code, "device_fault")).inc()


def cache_hit(key: Key) -> None:
    """Count a request that was answered from the cache."""
    catalogue.CACHE_HITS.labels(*catalogue.model_labels(*key)).inc()


def cache_miss(key: Key) -> None:
    """Count a request that the cache could not answer."""
    catalogue.CACHE_MISSES.labels(*catalogue.model_labels(*key)).inc()


def working_on(backend: str, device: str, before: tuple[str, str] | None) -> tuple[str, str]:
    """Say which device this worker prefers now."""
    if before is not None:
        catalogue.BACKEND_WORKERS.labels(*before).set(0)
    catalogue.BACKEND_WORKERS.labels(backend, device).set(1)
    return backend, device
