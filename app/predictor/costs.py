"""What answering costs, and so which requests a worker's loop answers itself."""

from __future__ import annotations

import math
import os

# So long others may have to wait for the loop: what asks about health has 250 ms.
_LONGEST_SECONDS = 0.010
# With cores to spare, a thread pays for all that costs more than waking it, and being in its way.
_SPARE_SECONDS = 0.001
# Weights of the newest value in an estimate: that a cost rises is believed sooner.
_RISE, _FALL = 0.5, 0.2
_KINDS = 1024

Kind = tuple[str | None, str | None, int]
"""A model, a version and the size class of a request: such requests cost about the same."""


def kind(name: str | None, version: str | None, size: int) -> Kind:
    """Class a request.

    Units: size in bytes of its body.
    """
    return name, version, size.bit_length()


class Costs:
    """Running estimates, of one worker.

    Units: workers of this server, who share the cores; seconds of one thread.
    """

    def __init__(self, workers: int) -> None:
        spare = len(os.sched_getaffinity(0)) >= 2 * workers
        self._limit = _SPARE_SECONDS if spare else _LONGEST_SECONDS
        self._known: dict[Kind, float] = {}

    def brief(self, kind: Kind) -> bool:
        """Tell whether such a request is known to cost so little that others may wait for it."""
        return self._known.get(kind, math.inf) < self._limit

    def learn(self, kind: Kind, seconds: float, whole: bool) -> None:
        """Correct an estimate; what was not answered as a whole can only raise it."""
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= _KINDS:
                self._known.clear()
            known = seconds
        if whole or seconds > known:
            weight = _RISE if seconds > known else _FALL
            self._known[kind] = known + weight * (seconds - known)
