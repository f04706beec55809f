"""Place buffers with known lifetimes in one block of memory, large ones first."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a buffer lies. Units: bytes."""

    offset: int
    nbytes: int


def place(spans: Mapping[Key, Span], sizes: Mapping[Key, int],
          align: int) -> tuple[dict[Key, Slot], int]:
    """Give every buffer an offset so that no two that live at the same time overlap.

    Units: bytes; spans are inclusive step numbers.
    Source: Pisarchyk & Lee 2020, greedy by size: the largest first, into the smallest gap.
    """
    slots: dict[Key, Slot] = {}
    total = 0
    order = sorted(spans, key=lambda k: (-sizes[k], spans[k]))
    for key in order:
        first, last = spans[key]
        taken = sorted((slots[k].offset, slots[k].nbytes) for k in slots
                       if spans[k][0] <= last and first <= spans[k][1])
        offset = _gap(taken, sizes[key], align)
        slots[key] = Slot(offset, sizes[key])
        total = max(total, offset + sizes[key])
    return slots, -(-total // align) * align


def _gap(taken: list[tuple[int, int]], nbytes: int, align: int) -> int:
    best, smallest, end = -1, 1 << 62, 0
    for offset, length in taken:
        if offset - end >= nbytes and offset - end < smallest:
            best, smallest = end, offset - end
        end = max(end, -(-(offset + length) // align) * align)
    return end if best < 0 else best


def lower_bound(spans: Mapping[Key, Span], sizes: Mapping[Key, int]) -> int:
    """The largest number of bytes that are live at one step: no arena can be smaller."""
    changes: dict[int, int] = {}
    for key, (first, last) in spans.items():
        changes[first] = changes.get(first, 0) + sizes[key]
        changes[last + 1] = changes.get(last + 1, 0) - sizes[key]
    live = most = 0
    for when in sorted(changes):
        live += changes[when]
        most = max(most, live)
    return most
