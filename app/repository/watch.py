"""Keeps an eye on the card beside the traffic, and does what a fault asks for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import cast

from app.repository.card import Card
from app.repository.meter import fallback
from app.repository.names import Key
from app.repository.served import Loaded
from app.repository.store import Store
from app.tensors import Array
from app.trouble import began
from app.trust.compare import Verdict
from app.trust.device import HUNG, LOST
from app.trust.guarded import GuardedSession
from app.trust.verifier import Shadow, Subject, Verifier
from monitoring import catalogue

log = logging.getLogger("app.watch")

# A hung or lost device needs a new process; callers that wait are answered first.
RESTART_AFTER_SECONDS = 1.0


class Watch:
    """The periodic golden check, the shadow of live requests, and the answer to faults.

    Units: period in seconds, 0 for no checks; share of live requests from 0 to 1.
    """

    def __init__(
        self, store: Store, card: Card, period: float, share: float, restart: Callable[[], None]
    ) -> None:
        self._store = store
        self._card = card
        self._restart = restart
        self._verifier = Verifier(self._subjects, period, self._verified) if period else None
        self._shadow = Shadow(share, self._shadowed)
        self._worst: dict[str, float] = {}
        card.trust.listen(self._fault)

    def start(self) -> None:
        """Begin the periodic checks."""
        if self._verifier:
            self._verifier.start()

    def stop(self) -> None:
        """End them."""
        if self._verifier:
            self._verifier.stop()

    def verify(self, name: str, version: str | None) -> tuple[Loaded, Verdict | None]:
        """Check one model now; no verdict where the CPU serves it, which is the measure itself.

        Raises: ModelNotFound, ModelNotReady.
        """
        with self._store.lease(name, version, used=False) as loaded:
            guarded = self._guarded(loaded)
            if guarded is None:
                return loaded, None
            verdict = guarded.check()
        self._verified(_label(loaded.key), verdict)
        return loaded, verdict

    def shadow(
        self, loaded: Loaded, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> None:
        """Take a request that was answered, perhaps to compute it again."""
        guarded = self._guarded(loaded)
        if guarded is not None:
            self._shadow.offer(
                _label(loaded.key), guarded.cpu, inputs, outputs, guarded.tolerance
            )

    def _guarded(self, loaded: Loaded) -> GuardedSession | None:
        guarded = isinstance(loaded.session, GuardedSession) and not self._card.trust.suspect
        return cast(GuardedSession, loaded.session) if guarded else None

    def _subjects(self) -> Iterator[Subject]:
        for loaded in self._store.loaded():
            if self._guarded(loaded) is not None:
                yield Subject(_label(loaded.key), _idle(loaded), self._check(loaded.key))

    def _check(self, key: Key) -> Callable[[], Verdict]:
        def check() -> Verdict:
            with self._store.lease(*key, used=False) as loaded:
                guarded = self._guarded(loaded)
                return guarded.check() if guarded else Verdict(0.0)

        return check

    def _verified(self, model: str, verdict: Verdict) -> None:
        name, _ = catalogue.model_labels(*model.split("/"))
        catalogue.CHECKED.labels(name, "pass" if verdict.ok else "fail").inc()

    def _shadowed(self, model: str, verdict: Verdict) -> None:
        name, _ = catalogue.model_labels(*model.split("/"))
        catalogue.SHADOWED.labels(name).inc()
        self._worst[name] = max(self._worst.get(name, 0.0), verdict.ratio)
        catalogue.SHADOW_DIFFERENCE.labels(name).set(self._worst[name])

    def _fault(self, kind: str, detail: str) -> None:
        if not began(partial(self._answer, kind), "fault"):
            self._answer(kind)

    def _answer(self, kind: str) -> None:
        for loaded in self._store.loaded():
            fallback(*loaded.key, "device_fault")
        self._store.restate()
        if kind not in (HUNG, LOST):
            return
        try:
            count = self._card.memory.note(kind)
        except OSError as error:
            log.error("it cannot be noted that the card failed: %s", error)
        else:
            if self._card.memory.exhausted():
                log.error("the card failed %d times: this worker stays on the CPU", count)
                return
        log.error("this worker restarts, since the device was %s", kind)
        threading.Timer(RESTART_AFTER_SECONDS, self._restart).start()


def _idle(loaded: Loaded) -> Callable[[], bool]:
    return lambda: loaded.lane.idle


def _label(key: Key) -> str:
    """Name a version; neither part of a key may hold a slash."""
    return f"{key.name}/{key.version}"
