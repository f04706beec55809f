"""Calls that something has to be made for before they can run, a plan for new shapes: one thread
makes it for one after the other, while others run."""

from __future__ import annotations

import logging
import threading

from app.backends.session import Prepares
from app.batching.job import Inputs, Job
from app.batching.waiting import Waiting
from app.trouble import began

log = logging.getLogger("app.batching")


class Preparing:
    """Prepares the jobs of a queue. changed is the queue's lock: begin is called under it."""

    def __init__(
        self, prepares: Prepares | None, queue: Waiting, changed: threading.Condition
    ) -> None:
        self._prepares = prepares
        self._queue = queue
        self._changed = changed
        self.active = False

    def ready(self, inputs: Inputs) -> bool:
        """Tell whether a run of these needs nothing first."""
        return self._prepares is None or self._prepares.prepared(inputs)

    def begin(self, job: Job) -> None:
        """See to it that a job that waits is prepared, if it has to be."""
        if not job.prepared and not self.active:
            self.active = began(self._work, "prepare")
            # Without a thread for it, its run makes what it needs.
            job.prepared = not self.active

    def _work(self) -> None:
        assert self._prepares is not None
        while True:
            with self._changed:
                job = next((job for job in self._queue if not job.prepared), None)
                if job is None:
                    self.active = False
                    return
            try:
                if not self.ready(job.call.inputs):
                    self._prepares.prepare(job.call.inputs)
            except Exception:
                # Its run will tell the caller.
                log.exception("unexpected error while a run was prepared")
            with self._changed:
                job.prepared = True
                self._changed.notify_all()
