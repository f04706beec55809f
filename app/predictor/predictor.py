"""Runs one request on a model that this worker serves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.backends.fit import fit
from app.errors import DeadlineExceeded
from app.predictor.lane import Lane
from app.repository.names import Key
from app.repository.store import Loaded, Store
from app.tensors import Array

Decode = Callable[[Loaded], Mapping[str, Array]]


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

    def __init__(self, store: Store, waiting: int) -> None:
        self._store = store
        self._waiting = waiting
        self._lanes: dict[Key, Lane] = {}
        self._lock = threading.Lock()

    def predict(
        self, name: str, version: str | None, decode: Decode, deadline: float
    ) -> Prediction:
        """Run a model; decode makes its inputs once the model, and so their dtypes, are known.

        Units:  deadline in time.monotonic() seconds.
        Raises: whatever decode raises; ModelNotFound, ModelNotReady, InvalidInput, Overloaded,
                DeadlineExceeded, DeviceError.
        """
        with self._store.lease(name, version) as loaded:
            session = loaded.session
            inputs, _ = fit(session.inputs, decode(loaded))
            arrived = time.monotonic()
            with self._lane(loaded).turn(deadline):
                started = time.monotonic()
                if started >= deadline:
                    raise DeadlineExceeded("the request's time was up before it could be run")
                outputs = session.run(inputs)
                ended = time.monotonic()
            return Prediction(
                outputs, *loaded.key, session.backend, session.device,
                started - arrived, ended - started,
            )  # fmt: skip

    def _lane(self, loaded: Loaded) -> Lane:
        with self._lock:
            lane = self._lanes.get(loaded.key)
            if lane is None or lane.width != loaded.session.concurrency:
                lane = Lane(loaded.key.name, loaded.session.concurrency, self._waiting)
                self._lanes[loaded.key] = lane
            return lane
