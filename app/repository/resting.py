"""Models that nobody used for long: unloaded until a request brings them back and waits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from app.repository.names import Key, order
from app.repository.records import Wish
from app.repository.shelf import Shelf
from app.repository.state import State


class RestingShelf(Shelf):
    """What this worker serves, and what it would serve again if somebody asked.

    Units: heartbeat in seconds, between two looks at the state.
    """

    def __init__(
        self, label: Callable[[Wish, str], str | None], state: State, heartbeat: float
    ) -> None:
        super().__init__(label)
        self.worker = f"{os.getpid()}-{time.time_ns():x}"
        self._state = state
        self._heartbeat = heartbeat
        # What was asleep and is being loaded again, whoever woke it.
        self._waking: set[Key] = set()

    def resting(self, name: str, version: str | None) -> Key | None:
        """Find a version that a request would bring back, or that another is bringing back."""
        version = version and self._meant(name, version)
        with self._lock:
            keys = [
                key for key, wish in self._wishes.items()
                if (wish.asleep or key in self._waking)
                and key.name == name and version in (None, key.version)
            ]  # fmt: skip
        return max(keys, key=lambda key: order(key.version), default=None)

    def wake(self, key: Key, deadline: float) -> None:
        """Bring back a version that was unloaded because nobody used it, and wait for it.

        Units: deadline in time.monotonic() seconds. lease then says what came of it.
        """
        waited = woken = False
        while time.monotonic() < deadline:
            with self._lock:
                if key in self._loaded:
                    return
            wish = self._state.wish(key)
            if wish is not None and wish.asleep:
                if waited and wish.asleep != "idle":
                    return
                # Once more where it was idle for too long before this worker had loaded it.
                wish, woken = self._state.want(key, True), True
            if wish is None or not wish.wanted:
                return
            mine = [r for r in self._state.reports(key) if r.worker == self.worker]
            if any(r.generation >= wish.generation and r.state == "failed" for r in mine):
                if woken:
                    # There is no room for it now; the next request may find some.
                    self._state.sleep(key, "evicted")
                return
            time.sleep(self._heartbeat / 2)
            waited = True

    # --- with the lock held ---

    def _wish(self, wishes: dict[Key, Wish]) -> None:
        """Take the newest wishes, and note which of them bring back what was asleep."""
        resting = {key for key, wish in self._wishes.items() if wish.asleep} | self._waking
        self._wishes = wishes
        self._waking = {
            key for key in resting & wishes.keys()
            if wishes[key].wanted and key not in self._loaded
        }  # fmt: skip
