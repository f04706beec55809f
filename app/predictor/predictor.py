"""Runs one request on a model that this worker serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.backends.fit import fit
from app.batching.job import Call
from app.errors import (
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    QuotaExceeded,
    ServingError,
)
from app.repository.meter import rejected
from app.repository.names import order
from app.repository.served import Loaded
from app.repository.store import Store
from app.tensors import Array

Decode = Callable[[Loaded], Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a caller wants its answer.

    Units: deadline in time.monotonic() seconds; priority 1 is the most urgent, 0 the model's own.
    alive tells whether the caller still waits; caller is what a quota counts by.
    """

    deadline: float
    priority: int = 0
    alive: Callable[[], bool] | None = None
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Outputs, and how they came about.

    Units: seconds.
    """

    outputs: dict[str, Array]
    model: str
    version: str
    backend: str
    device: str
    queue_seconds: float
    compute_seconds: float


class Predictor:
    """The one way to a session; times and counts every inference."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def predict(
        self, name: str, version: str | None, decode: Decode, terms: Terms
    ) -> Prediction:
        """Run a model; decode makes its inputs once the model, and so their dtypes, are known.

        Raises: whatever decode raises; ModelNotFound, ModelNotReady, InvalidInput, Overloaded,
                QuotaExceeded, DeadlineExceeded, DeviceError.
        """
        try:
            with self._store.lease(name, version) as loaded:
                return self._run(loaded, decode, terms)
        except Overloaded as error:
            rejected(error.reason)
            raise
        except QuotaExceeded:
            rejected("quota")
            raise
        except ModelNotReady:
            rejected("not_ready")
            raise

    def find(self, name: str, version: str | None) -> Loaded:
        """Look at a model that this worker serves.

        Raises: ModelNotFound, ModelNotReady.
        """
        with self._store.lease(name, version) as loaded:
            return loaded

    def versions(self, name: str) -> list[str]:
        """List the versions of a model that this worker serves, the oldest first."""
        return sorted((k.version for k in self._store.ready() if k.name == name), key=order)

    def loaded(self) -> list[Loaded]:
        """List what this worker serves."""
        return self._store.loaded()

    def _run(self, loaded: Loaded, decode: Decode, terms: Terms) -> Prediction:
        session = loaded.session
        inputs, _ = fit(session.inputs, decode(loaded))
        call = Call(inputs, terms.deadline, terms.priority, terms.alive)
        try:
            outcome = loaded.lane.submit(call, terms.caller)
        except (Overloaded, QuotaExceeded, DeadlineExceeded, ModelNotReady):
            raise
        except ServingError:
            loaded.meter.failed()
            raise
        loaded.meter.answered(outcome.queue_seconds)
        return Prediction(
            outcome.outputs, *loaded.key, session.backend, session.device,
            outcome.queue_seconds, outcome.run_seconds,
        )  # fmt: skip
