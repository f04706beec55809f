"""One version that a worker serves: its session, and the lane in front of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from app.backends.session import Prepares, Session
from app.batching.budget import Budget
from app.batching.lane import Lane
from app.batching.policy import Policy
from app.repository import meter as counts
from app.repository.crashes import Recorder
from app.repository.descriptions import Described
from app.repository.manifest import Batching
from app.repository.meter import Meter
from app.repository.names import Key
from app.repository.records import Wish
from app.trouble import began

DRAIN_SECONDS = 60.0


@dataclass(slots=True)
class Loaded:
    """One version that this worker serves; users counts the requests that hold it now.

    sha256, backend and described are what its wish said.
    Units: used on time.monotonic's clock.
    """

    key: Key
    sha256: str
    backend: str
    described: Described
    session: Session
    lane: Lane
    meter: Meter
    policy: Policy
    load_seconds: float
    users: int = 0
    retired: bool = field(default=False)
    used: float = field(default_factory=time.monotonic)
    counted: tuple[str, int] = ("", 0)

    def fulfils(self, wish: Wish) -> bool:
        """Tell whether it is what is wished for."""
        mine = (self.sha256, self.backend, self.described.digest)
        return mine == (wish.sha256, wish.backend, wish.described)

    def facts(self) -> dict[str, Any]:
        """Describe it for whoever asks any worker."""
        session = self.session
        return {
            "backend": session.backend,
            "device": session.device,
            "reason": session.reason,
            "memory_bytes": session.memory_bytes,
            "load_seconds": round(self.load_seconds, 6),
            "inputs": [spec.describe() for spec in session.inputs],
            "outputs": [spec.describe() for spec in session.outputs],
        }

    def published(self) -> None:
        """Count it in; the size is kept, since a session's may change."""
        self.counted = self.session.backend, self.session.memory_bytes
        counts.loaded(self.key, *self.counted, self.load_seconds)

    def withdrawn(self, reason: str) -> None:
        """Count it out."""
        counts.unloaded(self.key, *self.counted, reason)

    def dispose(self) -> None:
        """Let go of it, without waiting for a run that its caller has left behind."""
        if self.lane.idle or not began(self._close, "dispose"):
            self._close()

    def _close(self) -> None:
        drained = self.lane.close(DRAIN_SECONDS)
        self.meter.close()
        # What still runs after that hangs in the driver, which must not lose its buffers.
        if drained:
            self.session.close()


class Opener:
    """Puts a lane in front of a session, after its description and the server's bounds.

    Units: max_queue in requests that may wait for one model in one worker; max_wait in seconds
           that they may wait if they are more.
    """

    def __init__(
        self, budget: Budget, recorder: Recorder, max_queue: int, max_wait: float = 0.0
    ) -> None:
        self._budget = budget
        self._recorder = recorder
        self._max_queue = max_queue
        self._max_wait = max_wait

    def __call__(
        self, wish: Wish, described: Described, session: Session, load_seconds: float
    ) -> Loaded:
        """Make a session ready to serve."""
        policy = self._policy(described.manifest.batching, session)
        meter = Meter(wish.key, session.backend, policy.max_queue)
        run = self._recorder.watched(wish.key, session.backend, session.run)
        prepares = session if isinstance(session, Prepares) else None
        lane = Lane(run, policy, self._budget, meter, session.joins, prepares)
        return Loaded(
            wish.key, wish.sha256, wish.backend, described, session, lane, meter, policy,
            load_seconds,
        )  # fmt: skip

    def _policy(self, chosen: Batching, session: Session) -> Policy:
        bound = self._max_queue
        return Policy(
            max_batch=chosen.max_batch or DEFAULT_BATCH[session.backend],
            max_delay=chosen.max_delay_ms / 1e3 if session.backend in WAITING_PAYS else 0.0,
            preferred=chosen.preferred,
            max_queue=bound if chosen.max_queue is None else min(bound, chosen.max_queue),
            # What a model's own file says is meant as it stands.
            max_wait=self._max_wait if chosen.max_queue is None else 0.0,
            max_queue_bytes=int(chosen.max_queue_mb * 1e6),
            slots=session.concurrency,
            priorities=chosen.priorities,
            default_priority=chosen.default_priority,
        )


# The CPU runs the rows of a batch one after the other, so that they stay equal to the bit:
# joining them, or waiting for more of them, gains nothing there. The card earns a launch's cost
# back with every row.
DEFAULT_BATCH = {"tflite": 1, "opencl": 16}
WAITING_PAYS = ("opencl",)
