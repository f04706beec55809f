"""The queue of one model version in one worker, and the threads that run it in batches.

A call that finds the lane idle runs in its caller's own thread: handing it over would cost more
than a small model does. Everything else is queued and run by at most Policy.slots runner threads,
which are started when they are first needed. What has to be compiled for first waits for that in
the queue, and others pass it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.backends.session import Prepares
from app.batching.budget import Budget
from app.batching.job import Call, Inputs, Job, Outcome, Outputs, join, split
from app.batching.policy import LONGEST_QUEUE, Policy
from app.batching.preparing import Preparing
from app.batching.waiting import Waiting
from app.errors import DeadlineExceeded, ModelNotReady, Overloaded
from app.trouble import started

# Weight of the newest value in the running estimates.
_NEW = 0.2
# Without a call for so many max_delays, nobody else is about any more.
_QUIET = 10.0


class Observer:
    """What a lane tells about itself; the default listens to nothing."""

    def ran(self, jobs: int, rows: int, seconds: float) -> None:
        """Session.run was called once for so many requests and rows."""

    def dropped(self, reason: str) -> None:
        """A queued request was dropped before compute: "deadline" or "hangup"."""

    def depth(self, waiting: int) -> None:
        """So many requests wait now."""

    def room(self, most: int) -> None:
        """So many requests may wait now."""


class Lane:
    """Runs the calls of one session, in order of priority, then of arrival."""

    def __init__(
        self,
        run: Callable[[Inputs], Outputs],
        policy: Policy,
        budget: Budget,
        observer: Observer | None = None,
        joinable: bool = True,
        prepares: Prepares | None = None,
    ) -> None:
        self._session_run = run
        self._policy = policy
        self._budget = budget
        self._observer = observer or Observer()
        self._joinable = joinable and policy.max_batch > 1
        self._changed = threading.Condition(threading.Lock())
        self._queue = Waiting(policy, self._observer.dropped)
        self._preparing = Preparing(prepares, self._queue, self._changed)
        self._outside = 0
        self._running = 0
        self._runners: list[threading.Thread] = []
        self._idle_runners = 0
        self._closed = False
        # Running estimates: seconds of one run, the part of a run that a call takes, and calls that
        # are here at the same time.
        self._run_seconds: float | None = None
        self._share = 0.0
        self._crowd = 0.0
        self._last_call = 0.0
        # Seconds between two answers while others wait: what a place in line costs.
        self._pace: float | None = None

    def submit(self, call: Call, caller: str = "") -> Outcome:
        """Run one call, alone or in a batch.

        Raises: Overloaded or QuotaExceeded at once; DeadlineExceeded when its time is over;
                ModelNotReady after close; whatever the session raises for this call's inputs.
        """
        now = time.monotonic()
        job = Job(call, now, self._joinable)
        job.prepared = self._preparing.ready(call.inputs)
        self._budget.take(job.size, caller)
        try:
            if self._start(job, now):
                self._compute([job])
            elif not job.wait(-1 if call.deadline is None else max(0.0, call.deadline - now)):
                self._give_up(job)
        finally:
            self._budget.give_back(job.size, caller)
        if job.error is not None:
            raise job.error
        assert job.outcome is not None
        return job.outcome

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return self._queue.count

    def patience(self, seconds: float) -> int:
        """Say how many calls may be here so that the last still gets its answer in so many seconds.

        By the runs alone, whose estimate each run corrects; the first is always let in.
        """
        known = self._run_seconds
        if not known:
            return LONGEST_QUEUE
        policy = self._policy
        most = seconds / known * policy.slots / self._share
        return max(1, int(min(most, LONGEST_QUEUE)))

    def room(self, size: int, caller: str = "", pace: float | None = None) -> int:
        """Say how many calls may be here at once, running and waiting.

        Units:  size in bytes; pace in seconds between two answers while others wait, if known.
        Raises: Overloaded, QuotaExceeded if the budget has none left for one of this size.
        """
        self._budget.check(size, caller)
        policy = self._policy
        queue = policy.queue(pace)
        if pace != self._pace:
            self._pace = pace
            self._observer.room(queue)
        return policy.slots * policy.max_batch + queue

    def outside(self, count: int) -> None:
        """Note that so many calls are on their way here, to be counted with those that wait."""
        with self._changed:
            self._outside = count
            self._tell_depth()

    def _tell_depth(self) -> None:
        self._observer.depth(self._queue.count + self._outside)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing runs."""
        return not self._queue.count and not self._running

    def close(self, timeout: float) -> bool:
        """Take no more calls, finish those that are here, and end the runners.

        Units: timeout in seconds; what still waits then is refused.
        Returns whether everything was finished.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            drained = self._changed.wait_for(lambda: self.idle, timeout)
            for job in list(self._queue):
                self._queue.leave(job, "refused")
                job.finish(None, ModelNotReady("the model was unloaded; try again"))
            self._changed.notify_all()
        for runner in self._runners if drained else ():
            runner.join()
        return drained

    # -- admission -------------------------------------------------------------------------------

    def _start(self, job: Job, now: float) -> bool:
        """Queue a job, or tell its caller to run it itself."""
        with self._changed:
            if self._closed:
                raise ModelNotReady("the model is being unloaded; try again")
            crowded = self._meet(now)
            free = self._policy.slots - self._running
            alone = free > 0 and not self._queue.count
            if alone and job.prepared and not crowded and not self._hurried(job, now):
                self._running += 1
                job.state = "running"
                return True
            self._queue.add(job, self._run_seconds or 0.0, self._pace, free)
            if not self._wake_runner():
                self._queue.leave(job, "refused")
                raise Overloaded("the system has no room for one more thread; come back later")
            self._preparing.begin(job)
            self._tell_depth()
            return False

    def _meet(self, now: float) -> bool:
        """Update the estimate of company, and tell whether waiting for it may pay."""
        delay = self._policy.max_delay
        if now - self._last_call > _QUIET * delay:
            self._crowd = 0.0
        here = self._queue.count + self._running
        self._crowd += _NEW * (here - self._crowd)
        self._last_call = now
        return self._joinable and delay > 0 and self._crowd > 0.5

    def _hurried(self, job: Job, now: float) -> bool:
        """Tell whether a caller might have to leave before its run ends: it cannot run itself."""
        deadline = job.call.deadline
        if deadline is None:
            return False
        return self._run_seconds is None or now + 4 * self._run_seconds > deadline

    def _wake_runner(self) -> bool:
        """See to it that a job that was queued is run; tells whether anybody is there to."""
        if not self._idle_runners and len(self._runners) < self._policy.slots:
            runner = threading.Thread(target=self._serve, name="lane", daemon=True)
            if not started(runner):
                return bool(self._runners)
            self._runners.append(runner)
        elif self._running < self._policy.slots:
            self._changed.notify_all()
        return True

    def _give_up(self, job: Job) -> None:
        """Leave at the deadline; a run that has begun goes on without its caller."""
        with self._changed:
            if job.state == "waiting":
                self._queue.leave(job, "dropped")
                self._observer.dropped("deadline")
                self._tell_depth()
                self._changed.notify_all()
        allowed = max(0.0, (job.call.deadline or 0.0) - job.since)
        raise DeadlineExceeded(
            f"the deadline passed: no answer within the {allowed:.3g} s that were left for it"
        )

    # -- running ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            self._compute(batch)
            # Waiting for the next, it would keep the inputs and the answers of this one.
            del batch

    def _next_batch(self) -> list[Job] | None:
        """Wait for a batch; None when the lane is closed and empty."""
        with self._changed:
            while True:
                pause = self._pause()
                if pause == 0:
                    batch = self._queue.take(time.monotonic(), lambda job: job.prepared)
                    self._tell_depth()
                    if batch:
                        self._running += 1
                        return batch
                    if not self._queue.count or not self._preparing.active:
                        continue
                    pause = None
                if self._closed and not self._queue.count:
                    self._changed.notify_all()
                    return None
                self._idle_runners += 1
                self._changed.wait(pause)
                self._idle_runners -= 1

    def _pause(self) -> float | None:
        """Seconds until a batch should be taken; None until something changes."""
        if not self._queue.count or self._running >= self._policy.slots:
            return None
        if not self._joinable or not self._policy.max_delay or self._closed:
            return 0.0
        return self._queue.ripe_in(time.monotonic())

    def _compute(self, batch: list[Job]) -> None:
        try:
            self._run(batch)
        finally:
            with self._changed:
                self._running -= 1
                # Waking sleepers costs more than a small model; nobody sleeps on an idle lane.
                if self._queue.count or self._closed:
                    self._changed.notify_all()

    def _run(self, batch: list[Job]) -> None:
        began = time.monotonic()
        try:
            parts = split(self._session_run(join(batch)), batch)
        except Exception as error:
            # Whatever it is belongs to the callers, not to the thread that runs for them.
            parts = None
            if len(batch) == 1:
                batch[0].finish(None, error)
                return
        if parts is None:
            # One of them spoiled it for all: each gets its own answer or its own error.
            for job in batch:
                self._run([job])
            return
        seconds = time.monotonic() - began
        rows = sum(job.rows for job in batch)
        known = self._run_seconds
        share = self._queue.runs(batch) / len(batch)
        self._share = share if known is None else self._share + _NEW * (share - self._share)
        self._run_seconds = seconds if known is None else known + _NEW * (seconds - known)
        self._observer.ran(len(batch), rows, seconds)
        for job, outputs in zip(batch, parts, strict=True):
            waited = began - job.since + job.call.waited
            job.finish(Outcome(outputs, waited, seconds, rows))
