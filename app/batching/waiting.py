"""The jobs that wait in one lane, in order. Not thread-safe: the lane's lock guards it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator

from app.batching.job import Job
from app.batching.policy import Policy
from app.errors import DeadlineExceeded, Overloaded

Dropped = Callable[[str], None]


class Waiting:
    """A bounded priority queue: the most urgent first, then the oldest.

    dropped is told "deadline" or "hangup" for each job that leaves unanswered.
    """

    def __init__(self, policy: Policy, dropped: Dropped) -> None:
        self._policy = policy
        self._dropped = dropped
        self._heap: list[tuple[int, int, Job]] = []
        self._order = itertools.count()
        self._bytes = 0
        self.count = 0

    def add(
        self, job: Job, run_seconds: float, pace: float | None = None, free: int = 0
    ) -> None:
        """Queue a job.

        free slots take what is queued at once: whoever is for them does not wait.
        Units:  seconds of one run, and between the ends of two requests of a full queue.
        Raises: Overloaded if the queue is full of callers that still wait, or so long that this
                job's deadline would pass in it.
        """
        each = run_seconds / self._policy.slots
        self._check_deadline(job, run_seconds, each)
        most = self._policy.queue(pace) + free * self._policy.max_batch
        if self._full(job, most):
            self._sweep()
        reason = self._full(job, most)
        if reason:
            raise Overloaded(
                f"{self.count} requests ({self._bytes} bytes) wait for this model, as many as "
                "it may have; come back later",
                retry_after=max(1.0, each * self.runs(self)),
                reason=reason,
            )
        level = self._policy.level(job.call.priority)
        heapq.heappush(self._heap, (level, next(self._order), job))
        self.count += 1
        self._bytes += job.size

    def runs(self, jobs: Iterable[Job]) -> float:
        """Count the runs that jobs make, waiting or not, if they share them well."""
        return sum(self._policy.share(job.rows, job.signature is not None) for job in jobs)

    def _check_deadline(self, job: Job, run_seconds: float, each: float) -> None:
        """Refuse now what could only be answered too late.

        Units: run_seconds of one run; each of one run while all slots are at work.
        """
        deadline = job.call.deadline
        if deadline is None or not run_seconds or not self.count:
            return
        spare = deadline - job.since - run_seconds
        if each * self.count <= spare:
            return
        level = self._policy.level(job.call.priority)
        ahead = [one for other, _, one in self._heap if one.state == "waiting" and other <= level]
        seconds = each * self.runs(ahead)
        if ahead and seconds > spare:
            raise Overloaded(
                f"{len(ahead)} requests wait for this model already, about {seconds:.3g} s of "
                f"work, and the deadline is in {spare + run_seconds:.3g} s; allow more time, or "
                "come back later",
                retry_after=seconds,
                reason="deadline",
            )

    def _full(self, job: Job, most: int) -> str:
        if self.count >= most:
            return "queue_full"
        over = self._bytes + job.size > self._policy.max_queue_bytes
        return "queue_bytes" if self.count and over else ""

    def leave(self, job: Job, state: str) -> None:
        """Take a job out, wherever it stands; its place is cleared when many are."""
        job.state = state
        self.count -= 1
        self._bytes -= job.size
        if len(self._heap) > 2 * self.count + 16:
            self._heap = [entry for entry in self._heap if entry[2].state == "waiting"]
            heapq.heapify(self._heap)

    def expire(self, job: Job, reason: str) -> None:
        """Drop a job before compute."""
        self.leave(job, "dropped")
        self._dropped(reason)
        job.finish(None, DeadlineExceeded(f"dropped before compute: {reason}"))

    def _sweep(self) -> None:
        """Make room by dropping the jobs of callers that are gone."""
        for job in list(self):
            if job.call.alive is not None and not job.call.alive():
                self.expire(job, "hangup")

    def __iter__(self) -> Iterator[Job]:
        return (job for _, _, job in self._heap if job.state == "waiting")

    def ripe_in(self, now: float) -> float:
        """Seconds until the waiting jobs should run, whatever else may come."""
        if self._policy.fill(sum(job.rows for job in self), waited_enough=False):
            return 0.0
        oldest = min((job.since for job in self), default=now)
        return max(0.0, oldest + self._policy.max_delay - now)

    def take(self, now: float, may: Callable[[Job], bool] = lambda job: True) -> list[Job]:
        """Take the most urgent job that may run, and those that may share its batch; drop what has
        lapsed."""
        first = self._first(now, may)
        if first is None:
            return []
        batch = [first]
        self.leave(first, "running")
        if first.signature is None:
            return batch
        rows = first.rows
        limit = self._policy.fill(rows + self._rows_like(first), waited_enough=True)
        for _, _, job in sorted(self._heap) if rows < limit else ():
            if job.state != "waiting" or job.signature != first.signature:
                continue
            if rows + job.rows > limit:
                break
            if not self._lapsed(job, now):
                batch.append(job)
                rows += job.rows
                self.leave(job, "running")
        return batch

    def _first(self, now: float, may: Callable[[Job], bool]) -> Job | None:
        while self._heap:
            job = self._heap[0][2]
            if job.state == "waiting" and not self._lapsed(job, now):
                if may(job):
                    heapq.heappop(self._heap)
                    return job
                break
            heapq.heappop(self._heap)
        for _, _, job in sorted(self._heap):
            if job.state == "waiting" and may(job) and not self._lapsed(job, now):
                return job
        return None

    def _rows_like(self, first: Job) -> int:
        return sum(job.rows for job in self if job.signature == first.signature)

    def _lapsed(self, job: Job, now: float) -> bool:
        if job.call.deadline is not None and job.call.deadline <= now:
            self.expire(job, "deadline")
            return True
        if job.call.alive is not None and not job.call.alive():
            self.expire(job, "hangup")
            return True
        return False
