"""Plans of several batches of a model as one, made beside the requests that could use them."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from math import inf
from time import monotonic

import pyopencl as cl

from app.engine.ahead import Ahead
from app.engine.ir import Data, Graph
from app.engine.routine import Routines
from app.errors import DeviceMemoryError, InvalidInput, ModelNotReady, ServingError

log = logging.getLogger("app.engine")

Shape = tuple[int, ...]
# After so long there may be room for a plan that found none.
ROOM_SECONDS = 60.0


class LargerPlans:
    """Knows which sizes of a graph are planned, and has those made that are missed.

    lock: held by whoever uses the routines; try_out: runs a plan that is new once. Both may end
    with ReferenceError where the model is gone.
    """

    def __init__(self, graph: Graph, routines: Routines, lock: AbstractContextManager[object],
                 try_out: Callable[[Sequence[Shape]], None]) -> None:
        self._graph, self._routines = graph, routines
        self._lock, self._try_out = lock, try_out
        self._closed = False
        # Plans that were asked for, and when again at the earliest. Units: seconds, monotonic().
        self._asked: dict[tuple[Shape, ...], float] = {}

    def ready(self, ahead: Ahead, inputs: Sequence[Data], runs: int, size: int) -> bool:
        """Whether so many of these batches may run as one; sees to it if they may not yet."""
        shapes = tuple((a.shape[0] // runs * size, *a.shape[1:]) for a in inputs)
        if self._routines.knows(self._graph, shapes):
            return True
        if monotonic() >= self._asked.get(shapes, 0.0):
            self._asked[shapes] = inf
            ahead.ask(partial(_make, weakref.ref(self), shapes))
        return False

    def make(self, shapes: Sequence[Shape]) -> None:
        """Make a plan while others are in use. Where that does not work out there is none, and
        whoever wanted it goes on without."""
        try:
            ready = self._routines.made(self._graph, shapes, {})
            with self._lock:
                if self._closed:
                    return
                self._routines.put(self._graph, shapes, ready, self._try_out)
                # Should it be forgotten for others, it can be made again.
                self._asked.pop(tuple(shapes))
        except (ModelNotReady, ReferenceError):
            return
        except DeviceMemoryError as error:
            self._asked[tuple(shapes)] = monotonic() + ROOM_SECONDS
            log.warning("no plan for inputs of %s: %s", list(shapes), error)
        except (InvalidInput, ServingError, cl.Error) as error:
            # Many models are made for one at a time.
            log.info("no plan for inputs of %s: %s", list(shapes), error)

    def close(self) -> None:
        """Take in no plan any more; to be called under the lock."""
        self._closed = True


def _make(plans: weakref.ref[LargerPlans], shapes: Sequence[Shape]) -> None:
    # Nobody waits for a model that is gone.
    found = plans()
    if found is not None:
        found.make(shapes)
