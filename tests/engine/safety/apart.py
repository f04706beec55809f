"""Give every tensor a buffer of its own, so that a checker sees what leaves it.

In one arena a read beyond a tensor's end finds another tensor, and a buffer that is used again
is never uninitialised.

Under oclgrind buffers are never freed, either. It does not note that a buffer goes: the next one
gets its address and what was noted of its bytes, so that a larger one counts as unwritten beyond
the old one's end, and an unwritten one as written (test_oclgrind.py shows both).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyopencl as cl
import pytest

from app.engine import planner
from app.engine.arena import Key, Slot, Span
from app.engine.opencl.executor import Executor
from app.engine.opencl.weights import FLAGS


def keep_apart(patch: pytest.MonkeyPatch, poison: bool = False) -> None:
    """Replace the planner's arena and the executor's memory for the tests of this process.

    poison: fill every buffer with NaN, for devices that no checker watches; buffers are freed then.
    """
    patch.setattr(planner, "place", side_by_side)
    # A chain sees the arena as a whole.
    patch.setattr(planner, "chained", lambda steps, _: steps)
    patch.setattr(Executor, "_allocate", lambda executor, _: Apart(executor, poison))
    if not poison:
        keep_buffers(patch)


def keep_buffers(patch: pytest.MonkeyPatch) -> None:
    """Let no buffer go before the process ends."""
    kept: list[Any] = []
    make = cl.Buffer

    def lasting(*args: Any, **options: Any) -> Any:
        kept.append(make(*args, **options))
        return kept[-1]

    patch.setattr(cl, "Buffer", lasting)


def side_by_side(spans: Mapping[Key, Span], sizes: Mapping[Key, int],
                 align: int) -> tuple[dict[Key, Slot], int]:
    """Place all buffers one after the other, without any reuse."""
    slots, end = {}, 0
    for key in spans:
        slots[key] = Slot(end, sizes[key])
        end += -(-sizes[key] // align) * align
    return slots, end


class Apart:
    """Looks like the arena's buffer, but every slot is a buffer."""

    def __init__(self, executor: Executor, poison: bool) -> None:
        context = executor._context
        self._buffers = [(slot, cl.Buffer(context, FLAGS, max(slot.nbytes, 1)))
                         for slot in executor.plan.slots.values()]
        if poison:
            for _, buffer in self._buffers:
                # Not a number: what is used unwritten shows in the results.
                cl.enqueue_fill_buffer(executor._queue, buffer, b"\xff", 0, buffer.size).wait()

    def get_sub_region(self, offset: int, nbytes: int) -> Any:
        """The buffer that begins here, or a part of the one that holds this."""
        for slot, buffer in self._buffers:
            if slot.offset <= offset < slot.offset + max(slot.nbytes, 1):
                if offset == slot.offset and nbytes >= slot.nbytes:
                    return buffer
                return buffer.get_sub_region(offset - slot.offset, nbytes)
        raise ValueError(f"no buffer holds byte {offset}")
