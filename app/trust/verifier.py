"""Checks beside the traffic: the golden check when idle, and the shadow of live requests."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from app.backends.session import Session
from app.errors import ServingError
from app.tensors import Array
from app.trouble import Trouble, began
from app.trust.compare import Tolerance, Verdict, compare

log = logging.getLogger("app.trust")

# A model that is never idle is checked all the same, after so many periods.
_PATIENCE = 3


class Subject(NamedTuple):
    """One model to verify: its name, whether it is idle now, and its check."""

    model: str
    idle: Callable[[], bool]
    check: Callable[[], Verdict]


class Verifier:
    """Checks every subject once in a period, when it is idle if it ever is.

    Units: period in seconds.
    """

    def __init__(
        self,
        subjects: Callable[[], Iterable[Subject]],
        period: float,
        told: Callable[[str, Verdict], None],
    ) -> None:
        self._subjects = subjects
        self._period = period
        self._told = told
        self._last: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="verifier", daemon=True)

    def start(self) -> None:
        """Begin; the first check comes one period from now, since a load checks too."""
        self._thread.start()

    def stop(self) -> None:
        """End after the check that is running."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    def _watch(self) -> None:
        trouble = Trouble(log, "the golden checks cannot be made")
        while not self._stopping.wait(self._period / 10):
            try:
                self.sweep(time.monotonic())
                trouble.over()
            except Exception as error:
                # Without this thread nobody would look at the card again.
                trouble.met(error)

    def sweep(self, now: float) -> None:
        """Check what is due."""
        subjects = list(self._subjects())
        for name in self._last.keys() - {subject.model for subject in subjects}:
            del self._last[name]
        for subject in subjects:
            age = now - self._last.setdefault(subject.model, now)
            # A tenth is left for the sweep's own step, so that a period is never exceeded.
            due = age >= self._period * 0.8
            if due and (subject.idle() or age >= self._period * _PATIENCE):
                self._last[subject.model] = now
                try:
                    verdict = subject.check()
                except ServingError:
                    # It was unloaded meanwhile, or there is no room to check it: the next time.
                    continue
                self._told(subject.model, verdict)


class Pair(NamedTuple):
    """A request that the device answered, and the session that answers it again."""

    model: str
    cpu: Session
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    tolerance: Tolerance


class Shadow:
    """Runs a share of live requests on the CPU too, in the background, and compares.

    A request that comes while the last comparison still runs is not shadowed: the shadow may
    never slow the traffic down.

    Units: share from 0 to 1.
    """

    def __init__(self, share: float, told: Callable[[str, Verdict], None]) -> None:
        self._share = share
        self._told = told
        self._work: queue.Queue[Pair] = queue.Queue(maxsize=1)
        self._random = random.Random()
        self._runs = False
        self._lock = threading.Lock()

    def offer(
        self,
        model: str,
        cpu: Callable[[], Session],
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        tolerance: Tolerance,
    ) -> bool:
        """Take a request that was answered, or not; cpu gives the session to compare with."""
        if not self._share or self._random.random() >= self._share:
            return False
        with self._lock:
            if not self._runs:
                self._runs = began(self._run, "shadow")
        try:
            self._work.put_nowait(Pair(model, cpu(), inputs, outputs, tolerance))
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        while True:
            pair = self._work.get()
            try:
                verdict = compare(pair.cpu.run(pair.inputs), pair.outputs, pair.tolerance)
            except Exception as error:
                # The model may have been unloaded meanwhile: a run that fails proves nothing.
                verdict = Verdict(0.0, detail=str(error))
            self._told(pair.model, verdict)
            # Waiting for the next, it would keep its arrays, and a session that was unloaded.
            del pair
