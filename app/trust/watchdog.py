"""A bound on how long a caller waits for a device that may never answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from app.errors import DeviceHung

# Work may also hang before its turn comes, in the driver's compiler for one: this many timeouts
# without an answer are a hang whatever the device seems to do.
PATIENCE = 10
Work = Callable[[], Any]


class _Errand:
    def __init__(self, work: Work) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Watchdog:
    """Runs work on threads of its own, so that a hung driver holds none of the callers.

    A thread that hangs in the driver cannot be ended; it is left behind, and everything after it
    is refused at once until the process is restarted.

    Units: timeout in seconds. busy gives how long the device has been at what it does now, in
           seconds, where work may wait for another's turn; without it every wait counts.
    """

    def __init__(
        self, timeout: float, threads: int = 1, busy: Callable[[], float] | None = None
    ) -> None:
        self._timeout = timeout
        self._busy = busy
        self._errands: queue.SimpleQueue[_Errand | None] = queue.SimpleQueue()
        self._hung = False
        self._threads = [
            threading.Thread(target=self._serve, name="device", daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def call(self, work: Work) -> Any:
        """Run work and give its result.

        Raises: DeviceHung if the device takes longer than the timeout; what work raises.
        """
        if self._hung:
            raise DeviceHung("the device hung before; this worker no longer uses it")
        errand = _Errand(work)
        self._errands.put(errand)
        if not self._done(errand):
            self._hung = True
            raise DeviceHung(f"the device did not answer within {self._timeout:g} s")
        if errand.error is not None:
            raise errand.error
        return errand.result

    def _done(self, errand: _Errand) -> bool:
        rest, end = self._timeout, monotonic() + PATIENCE * self._timeout
        while not errand.done.acquire(timeout=rest):
            if self._busy is None or monotonic() > end:
                return False
            rest = self._timeout - self._busy()
            if rest <= 0:
                return False
        return True

    def close(self) -> None:
        """End the threads that still listen."""
        for _ in self._threads:
            self._errands.put(None)
        if not self._hung:
            for thread in self._threads:
                thread.join(self._timeout)

    def _serve(self) -> None:
        while (errand := self._errands.get()) is not None:
            try:
                errand.result = errand.work()
            except Exception as error:
                errand.error = error
            errand.done.release()
            # Waiting for the next, it would keep what this one was about.
            del errand
