"""How requests of one model version are queued and batched."""

from __future__ import annotations

from dataclasses import dataclass

from app.backends.fit import has_batch
from app.backends.session import Session


@dataclass(frozen=True, slots=True)
class Policy:
    """The batching and queueing of one model version in one worker.

    max_delay is only ever spent when other callers are about: a lone request never waits.
    priorities counts the levels; 1 is the most urgent, and a request that names none gets
    default_priority.

    Units: max_batch and preferred in rows (dimension 0), max_delay in seconds, max_queue in
           requests and max_queue_bytes in bytes of their inputs, slots in runs at once.
    """

    max_batch: int = 1
    max_delay: float = 0.0
    preferred: tuple[int, ...] = ()
    max_queue: int = 64
    max_queue_bytes: int = 256_000_000
    slots: int = 1
    priorities: int = 3
    default_priority: int = 2

    def level(self, wanted: int) -> int:
        """Clamp a caller's priority to the levels that there are; 0 means none was named."""
        return min(wanted, self.priorities) if wanted > 0 else self.default_priority

    def fill(self, rows: int, waited_enough: bool) -> int:
        """Tell how many of the waiting rows to run now; 0 means that it is worth waiting."""
        if rows >= self.max_batch:
            return self.max_batch
        ready = max((size for size in self.preferred if size <= rows), default=0)
        return ready or (rows if waited_enough else 0)


def batchable(session: Session) -> bool:
    """Tell whether dimension 0 is a batch of 1 that a request may have more of.

    Every tensor needs one of the same, fixed size: a lone dimension is data, and what a free one
    means only the model knows; and rows of a stateful model follow each other.
    """
    return has_batch((*session.inputs, *session.outputs)) and not session.stateful
