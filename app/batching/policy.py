"""How requests of one model version are queued and batched."""

from __future__ import annotations

from dataclasses import dataclass

from app.backends.fit import has_batch
from app.backends.session import Session

# However fast a model is, each that waits holds a thread and its input.
LONGEST_QUEUE = 512


@dataclass(frozen=True, slots=True)
class Policy:
    """The batching and queueing of one model version in one worker.

    max_delay is only ever spent when other callers are about: a lone request never waits.
    priorities counts the levels; 1 is the most urgent, and a request that names none gets
    default_priority.

    max_wait lets a queue grow beyond max_queue while the wait in it is expected to stay below: a
    count alone would be far too few small models, or too many large ones. 0 for the count alone.

    Units: max_batch and preferred in rows (dimension 0), max_delay and max_wait in seconds,
           max_queue in requests, max_queue_bytes in bytes of their inputs, slots in runs at once.
    """

    max_batch: int = 1
    max_delay: float = 0.0
    preferred: tuple[int, ...] = ()
    max_queue: int = 64
    max_wait: float = 0.0
    max_queue_bytes: int = 256_000_000
    slots: int = 1
    priorities: int = 3
    default_priority: int = 2

    def level(self, wanted: int) -> int:
        """Clamp a caller's priority to the levels that there are; 0 means none was named."""
        return min(wanted, self.priorities) if wanted > 0 else self.default_priority

    def queue(self, pace: float | None) -> int:
        """Tell how many requests may wait.

        Units: pace in seconds between the ends of two requests of a full queue; None if unknown.
        """
        if not pace or not self.max_queue:
            return self.max_queue
        return max(self.max_queue, min(LONGEST_QUEUE, int(self.max_wait / pace)))

    def share(self, rows: int, joinable: bool) -> float:
        """Tell which part of a run a request of so many rows takes; it may not share one."""
        return min(1.0, rows / self.max_batch) if joinable else 1.0

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
