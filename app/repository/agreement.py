"""Whether the workers have come to agree on what somebody asked for."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from app.errors import ModelConflict, ModelNotFound
from app.repository.actions import Actions
from app.repository.names import Key
from app.repository.records import Action, Wish
from app.repository.standing import Outcome, reached
from app.repository.state import State


class Agreement:
    """Follows actions from their wish until every living worker has carried it out."""

    def __init__(self, state: State, actions: Actions) -> None:
        self._state = state
        self._actions = actions

    def begin(self, kind: str, key: Key, wish: Wish | None) -> Action:
        """Keep an action whose wish has been made.

        Raises: ModelConflict if the version was deleted meanwhile, so that there is no wish.
        """
        if wish is None:
            raise ModelConflict(f"{key} was deleted by another request meanwhile")
        action = Action(uuid.uuid4().hex, kind, key, wish.sha256, wish.generation, time.time())
        self._actions.begin(action)
        return action

    def find(self, action_id: str) -> Outcome:
        """Say how far an earlier action has come.

        Raises: ModelNotFound.
        """
        action = self._actions.find(action_id)
        if action is None:
            raise ModelNotFound(f"there is no action {action_id[:80]!r}, or not any more")
        return self.outcome(action)

    def wait(self, action: Action, seconds: float) -> Outcome:
        """Wait until all living workers have followed, or the time is up."""
        end = time.monotonic() + seconds
        while True:
            outcome = self.outcome(action)
            if outcome.state != "pending" or time.monotonic() >= end:
                return outcome
            seen = self._state.changed()
            self._state.wait_for_change(seen, end)

    def outcome(self, action: Action) -> Outcome:
        """Say how far an action has come."""
        wish = self._state.wish(action.key)
        if not _HOLDS[action.kind](wish, action):
            return Outcome(action, "superseded", ())
        goal = wish.generation if wish else action.generation
        reports = {report.worker: report for report in self._state.reports(action.key)}
        states = tuple(
            reached(worker, reports.get(worker.worker), goal, purged=wish is None)
            for worker in self._state.workers()
            if worker.phase == "serving"
        )
        found = {item.state for item in states}
        state = next((word for word in ("pending", "failed") if word in found), "done")
        return Outcome(action, state, states)


def _loaded(wish: Wish | None, action: Action) -> bool:
    return wish is not None and wish.wanted


# Whether what an action asked for is still what is wished for, perhaps by a later action.
_HOLDS: dict[str, Callable[[Wish | None, Action], bool]] = {
    "load": _loaded,
    "policy": _loaded,
    "put": lambda wish, action: (
        wish is not None and wish.wanted and wish.sha256 == action.sha256
    ),
    "unload": lambda wish, action: wish is None or not wish.wanted,
    "delete": lambda wish, action: wish is None or wish.deleted,
}
