"""What a worker does once a second beside its requests: rest idle models, keep the books."""

from __future__ import annotations

import time
from collections.abc import Sequence

from app.repository import meter
from app.repository.card import Card
from app.repository.crashes import Recorder
from app.repository.names import Key
from app.repository.served import Loaded
from app.repository.state import State


class Housekeeper:
    """Unloads what nobody has used for a while, and keeps the card's ledger true.

    Units: idle in seconds, 0 to keep idle models loaded.
    """

    def __init__(self, state: State, card: Card, recorder: Recorder, idle: float) -> None:
        self._state = state
        self._card = card
        self._recorder = recorder
        self._idle = idle
        self._told: dict[Key, float] = {}
        self._working: tuple[str, str] | None = None

    def sweep(self, loaded: Sequence[Loaded]) -> None:
        """Do one round over what this worker serves."""
        self._recorder.look()
        on = sorted((item.session.backend, item.session.device) for item in loaded)
        if on and on[0] != self._working:
            self._working = meter.working_on(*on[0], self._working)
        self._card.settle({item.key: item.session for item in loaded})
        fresh = {
            item.key: item.used for item in loaded if item.used != self._told.get(item.key)
        }
        if fresh:
            self._card.touch({(key.name, key.version): used for key, used in fresh.items()})
            if self._idle:
                self._state.touch(fresh)
        self._told = {item.key: item.used for item in loaded}
        if self._idle:
            self._rest(loaded)

    def _rest(self, loaded: Sequence[Loaded]) -> None:
        used = self._state.last_used()
        now = time.monotonic()
        for item in loaded:
            if not item.users and now - used.get(item.key, now) > self._idle:
                self._state.sleep(item.key, "idle", unused_since=now - self._idle)
