"""Asks every worker for a golden check of a model, and answers when another worker asks."""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.errors import ServingError
from app.repository.checks import Checks
from app.repository.names import Key
from app.repository.records import Worker
from app.repository.served import Loaded
from app.repository.state import State
from app.trouble import began, report
from app.trust.compare import Verdict

log = logging.getLogger("app.checkup")

Verify = Callable[[str, str], tuple[Loaded, Verdict | None]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one worker found; ok is None where no answer came in time.

    ratio is the largest difference to the tolerated one, None where the CPU answers.
    """

    worker: Worker
    ok: bool | None
    detail: str
    backend: str | None = None
    device: str | None = None
    ratio: float | None = None


class Checkup:
    """One worker's part in the checks of all; attend() is called after the store has changed."""

    def __init__(self, state: State, checks: Checks, worker: str, verify: Verify) -> None:
        self._state = state
        self._checks = checks
        self._worker = worker
        self._verify = verify
        self._taken: set[str] = set()
        self._work: queue.SimpleQueue[tuple[str, Key]] = queue.SimpleQueue()
        self._runs = False

    def everywhere(self, key: Key, seconds: float) -> list[Finding]:
        """Let every serving worker check a version; wait for them, but no longer than that."""
        end = time.monotonic() + seconds
        asked = [worker for worker in self._state.workers() if worker.phase == "serving"]
        check = self._checks.ask(key, [worker.worker for worker in asked])
        while True:
            seen = self._state.changed()
            found = self._checks.answers(check)
            living = {worker.worker for worker in self._state.workers()}
            missing = {worker.worker for worker in asked if worker.worker in living} - set(found)
            if not missing or time.monotonic() >= end:
                return [_finding(worker, found.get(worker.worker), living) for worker in asked]
            self._state.wait_for_change(seen, end)

    def attend(self) -> None:
        """Take up what this worker was asked, without waiting for it."""
        asked = self._checks.open(self._worker)
        self._taken &= {check for check, _ in asked}
        for check, key in asked:
            if check not in self._taken:
                self._taken.add(check)
                self._work.put((check, key))
        if asked and not self._runs:
            self._runs = began(self._run, "checkup")

    def _run(self) -> None:
        while True:
            check, key = self._work.get()
            try:
                self._checks.answer(check, self._worker, self._check(key))
            except Exception as error:
                # Whoever asked is told that no answer came.
                report(log, error, "the check of %s failed unexpectedly", key)

    def _check(self, key: Key) -> dict[str, Any]:
        try:
            loaded, verdict = self._verify(*key)
        except ServingError as error:
            return {"ok": False, "detail": str(error)}
        session = loaded.session
        return {
            "ok": verdict is None or verdict.ok,
            "detail": verdict.detail if verdict else "the CPU serves it, which is the measure",
            "backend": session.backend,
            "device": session.device,
            "ratio": verdict.ratio if verdict and math.isfinite(verdict.ratio) else None,
        }


def _finding(worker: Worker, found: dict[str, Any] | None, living: set[str]) -> Finding:
    if found is not None:
        return Finding(worker, **found)
    why = "it did not answer in time" if worker.worker in living else "it ended meanwhile"
    return Finding(worker, None, why)
