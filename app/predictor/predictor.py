"""Runs one request on a model that this worker serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from app.answers import Answers, key
from app.backends.fit import fit
from app.batching.job import Call, Outcome
from app.batching.lane import Lane
from app.errors import (
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    QuotaExceeded,
    ServingError,
)
from app.repository.meter import cache_hit, cache_miss, rejected
from app.repository.names import Key, order
from app.repository.served import Loaded
from app.repository.store import Store
from app.tensors import Array

# A caller may end its own side behind its request; one that had to wait will rather have gone.
_LONG_SECONDS = 0.005
Used = TypeVar("Used")
Decode = Callable[[Loaded], Mapping[str, Array]]
# Told of every answer that was computed: the model, its inputs and its outputs.
Answered = Callable[[Loaded, Mapping[str, Array], Mapping[str, Array]], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a caller wants its answer.

    Units: deadline in time.monotonic() seconds; priority 1 is the most urgent, 0 the model's own;
           waited in seconds until now.
    alive tells whether the caller still waits; caller is what a quota counts by. patient is false
    where nothing may be waited for, like a model that has to be loaded again.
    """

    deadline: float
    priority: int = 0
    alive: Callable[[], bool] | None = None
    caller: str = ""
    patient: bool = True
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """Outputs, and how they came about; labels are the classes' names.

    Units: seconds.
    """

    outputs: dict[str, Array]
    model: str
    version: str
    backend: str
    device: str
    queue_seconds: float
    compute_seconds: float
    labels: tuple[str, ...] = ()

    def facts(self) -> dict[str, object]:
        """Give what the log says of it."""
        return {
            "model": self.model,
            "version": self.version,
            "queue_ms": round(self.queue_seconds * 1e3, 3),
            "compute_ms": round(self.compute_seconds * 1e3, 3),
        }


class Predictor:
    """The one way to a session; times and counts every inference."""

    def __init__(self, store: Store, answers: Answers, answered: Answered) -> None:
        self._store = store
        self._answers = answers
        self._answered = answered

    def predict(
        self, name: str, version: str | None, decode: Decode, terms: Terms
    ) -> Prediction:
        """Run a model; decode makes its inputs once the model, and so their dtypes, are known.

        Raises: whatever decode raises; ModelNotFound, ModelNotReady, InvalidInput, Overloaded,
                QuotaExceeded, DeadlineExceeded, DeviceError.
        """
        try:
            until = terms.deadline if terms.patient else 0.0
            return self._awake(name, version, until, lambda it: self._run(it, decode, terms))
        except (Overloaded, QuotaExceeded) as error:
            rejected(error.reason)
            raise
        except ModelNotReady:
            rejected("not_ready")
            raise

    def _awake(
        self, name: str, version: str | None, until: float, use: Callable[[Loaded], Used],
        counts: bool = True,
    ) -> Used:  # fmt: skip
        """Use a model; one that rests is brought back and waited for, if there is an until."""
        try:
            with self._store.lease(name, version, used=counts) as loaded:
                return use(loaded)
        except ModelNotReady:
            resting = self._store.resting(name, version) if until else None
            if resting is None:
                raise
            self._store.wake(resting, until)
        with self._store.lease(name, version, used=counts) as loaded:
            return use(loaded)

    def room(
        self, name: str, version: str | None, size: int, caller: str, pace: float | None
    ) -> int | None:
        """Say how many requests for a model may be here at once; None if it is not loaded.

        Units:  size in bytes of one more request; pace in seconds between two answers.
        Raises: Overloaded, QuotaExceeded if the worker has no room for it.
        """
        loaded = self._store.peek(name, version)
        return None if loaded is None else loaded.lane.room(size, caller, pace)

    def patience(self, name: str, version: str | None, seconds: float) -> int | None:
        """Say how many requests can be here that are answered in time; None if nobody knows."""
        loaded = self._store.peek(name, version)
        return None if loaded is None else loaded.lane.patience(seconds)

    def prompt(self, name: str, version: str | None) -> bool:
        """Tell whether a model's runs take what was seen, and none waits for company."""
        loaded = self._store.peek(name, version)
        return loaded is not None and loaded.session.steady and not loaded.policy.max_delay

    def lane(self, name: str, version: str | None) -> Lane | None:
        """Give the queue of a model; None if it is not loaded."""
        loaded = self._store.peek(name, version)
        return loaded.lane if loaded else None

    def find(self, name: str, version: str | None, until: float = 0.0) -> Loaded:
        """Look at a model that this worker serves, which is no use of it.

        Units:  until in time.monotonic() seconds: so long it is waited for one that has to come
                back because nobody used it.
        Raises: ModelNotFound, ModelNotReady.
        """
        return self._awake(name, version, until, lambda loaded: loaded, counts=False)

    def ready(self, name: str, version: str | None) -> Key:
        """Say which version would answer a request; one that comes back with it does.

        Raises: ModelNotFound, ModelNotReady.
        """
        try:
            return self.find(name, version).key
        except ModelNotReady:
            resting = self._store.resting(name, version)
            if resting is None:
                raise
            return resting

    def versions(self, name: str) -> list[str]:
        """List the versions of a model that this worker serves, the oldest first."""
        return sorted((k.version for k in self._store.ready() if k.name == name), key=order)

    def loaded(self) -> list[Loaded]:
        """List what this worker serves."""
        return self._store.loaded()

    def _run(self, loaded: Loaded, decode: Decode, terms: Terms) -> Prediction:
        session = loaded.session
        self._check_caller(loaded, terms)
        inputs, _ = fit(session.inputs, decode(loaded))
        if not self._answers.on:
            return _prediction(loaded, self._compute(loaded, inputs, terms))
        # What a card has answered is forgotten with the trust in it.
        edition = f"{loaded.sha256}{loaded.described.digest}{session.backend}"
        name = key(*loaded.key, edition, inputs)
        found = self._answers.get(name)
        (cache_hit if found else cache_miss)(loaded.key)
        if found:
            return _prediction(loaded, Outcome(found, 0.0, 0.0, 0))
        outcome = self._compute(loaded, inputs, terms)
        self._answers.put(name, outcome.outputs)
        return _prediction(loaded, outcome)

    @staticmethod
    def _check_caller(loaded: Loaded, terms: Terms) -> None:
        """Drop what has waited so long that its caller may have gone."""
        if terms.waited > _LONG_SECONDS and terms.alive is not None and not terms.alive():
            loaded.meter.dropped("hangup")
            raise DeadlineExceeded("dropped before compute: hangup")

    def _compute(self, loaded: Loaded, inputs: Mapping[str, Array], terms: Terms) -> Outcome:
        call = Call(inputs, terms.deadline, terms.priority, terms.alive, terms.waited)
        try:
            outcome = loaded.lane.submit(call, terms.caller)
        except (Overloaded, QuotaExceeded, DeadlineExceeded, ModelNotReady):
            raise
        except ServingError:
            loaded.meter.failed()
            raise
        loaded.meter.answered(outcome.queue_seconds)
        self._answered(loaded, inputs, outcome.outputs)
        return outcome


def _prediction(loaded: Loaded, outcome: Outcome) -> Prediction:
    session = loaded.session
    return Prediction(
        outcome.outputs, *loaded.key, session.backend, session.device,
        outcome.queue_seconds, outcome.run_seconds, loaded.described.manifest.labels,
    )  # fmt: skip
