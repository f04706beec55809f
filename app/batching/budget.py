"""What one worker takes on in all, and what one caller may have of it."""

from __future__ import annotations

import threading
from collections import Counter

from app.errors import Overloaded, QuotaExceeded


class Budget:
    """Bounds over all models of a worker: waiting and running requests, and their bytes.

    Units: max_bytes in bytes of inputs; per_caller in requests at once, 0 for no quota.
    """

    def __init__(self, max_jobs: int, max_bytes: int, per_caller: int = 0) -> None:
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._per_caller = per_caller
        self._lock = threading.Lock()
        self._jobs = 0
        self._bytes = 0
        self._callers: Counter[str] = Counter()

    def take(self, size: int, caller: str = "") -> None:
        """Admit one request.

        Raises: QuotaExceeded or Overloaded, at once and without a trace.
        """
        with self._lock:
            self._check(size, caller)
            self._jobs += 1
            self._bytes += size
            if self._per_caller and caller:
                self._callers[caller] += 1

    def check(self, size: int, caller: str = "") -> None:
        """Do as take would, and take nothing.

        Raises: QuotaExceeded or Overloaded.
        """
        with self._lock:
            self._check(size, caller)

    def _check(self, size: int, caller: str) -> None:
        if self._per_caller and caller and self._callers[caller] >= self._per_caller:
            raise QuotaExceeded(
                f"this caller has {self._per_caller} requests running here, its quota; "
                "wait for one of them"
            )
        if self._jobs >= self._max_jobs:
            raise Overloaded(
                f"this worker has {self._jobs} requests, its limit; come back later",
                reason="queue_full",
            )
        # A single request may be larger than the bound when nothing else is held.
        if self._jobs and self._bytes + size > self._max_bytes:
            raise Overloaded(
                f"this worker holds {self._bytes} bytes of requests and {size} more would "
                f"pass its limit, {self._max_bytes}; come back later",
                reason="queue_bytes",
            )

    def give_back(self, size: int, caller: str = "") -> None:
        """End what take began."""
        with self._lock:
            self._jobs -= 1
            self._bytes -= size
            if self._per_caller and caller:
                self._callers[caller] -= 1
                if not self._callers[caller]:
                    del self._callers[caller]

    @property
    def held(self) -> tuple[int, int]:
        """Requests and bytes held now."""
        with self._lock:
            return self._jobs, self._bytes
