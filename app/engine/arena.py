"""Place buffers with known lifetimes in one block of memory, large ones first."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a buffer lies. Units: bytes."""

    offset: int
    nbytes: int


# Changed orders that are tried when none of the plain ones comes near enough to the bound.
SHUFFLES = 200
NEAR = 1.02


def place(spans: Mapping[Key, Span], sizes: Mapping[Key, int],
          align: int) -> tuple[dict[Key, Slot], int]:
    """Give every buffer an offset so that no two that live at the same time overlap.

    Units: bytes; spans are inclusive step numbers.
    Source: Pisarchyk & Lee 2020: greedy into the smallest gap, by size and by breadth; the best of
            several orders, then of random changes to it.
    """
    goal = NEAR * lower_bound(spans, sizes, align)
    best: list[Key] = []
    total = 1 << 62
    for order in _orders(spans, sizes):
        size = _fill(order, spans, sizes, align)[1]
        if size < total:
            best, total = order, size
        if total <= goal:
            return _fill(best, spans, sizes, align)
    # The large ones decide; the small ones fill the gaps that they leave.
    large = [k for k in best if sizes[k] * 16 >= total]
    small = [k for k in best if sizes[k] * 16 < total]
    found = [*_search(large, spans, sizes, align, goal), *small]
    return min(_fill(found, spans, sizes, align), _fill(best, spans, sizes, align),
               key=lambda filled: filled[1])


def _search(order: list[Key], spans: Mapping[Key, Span], sizes: Mapping[Key, int], align: int,
            goal: float) -> list[Key]:
    chance = random.Random(0)
    total = _fill(order, spans, sizes, align)[1]
    for _ in range(SHUFFLES):
        if total <= goal:
            break
        other = list(order)
        for _ in range(chance.randint(1, 4)):
            other.insert(chance.randrange(len(other)), other.pop(chance.randrange(len(other))))
        size = _fill(other, spans, sizes, align)[1]
        if size <= total:
            order, total = other, size
    return order


def _orders(spans: Mapping[Key, Span], sizes: Mapping[Key, int]) -> Iterator[list[Key]]:
    length = {k: last - first + 1 for k, (first, last) in spans.items()}
    yield sorted(spans, key=lambda k: (-sizes[k], spans[k]))
    yield sorted(spans, key=lambda k: (-sizes[k] * length[k], spans[k]))
    yield sorted(spans, key=lambda k: (-length[k], -sizes[k]))
    yield _by_breadth(spans, sizes)


def _by_breadth(spans: Mapping[Key, Span], sizes: Mapping[Key, int]) -> list[Key]:
    # The fullest step's buffers first: they decide how large the arena is.
    live: dict[int, list[Key]] = defaultdict(list)
    for key, (first, last) in spans.items():
        for when in range(first, last + 1):
            live[when].append(key)
    load = {when: sum(sizes[k] for k in here) for when, here in live.items()}
    order: dict[Key, None] = {}
    for when in sorted(load, key=lambda w: -load[w]):
        order.update(dict.fromkeys(sorted(live[when], key=lambda k: -sizes[k])))
    return list(order)


def _fill(order: list[Key], spans: Mapping[Key, Span], sizes: Mapping[Key, int],
          align: int) -> tuple[dict[Key, Slot], int]:
    slots: dict[Key, Slot] = {}
    total = 0
    # What lives during a step, and what of it lives from that step on.
    live: dict[int, list[tuple[int, int]]] = defaultdict(list)
    begun: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for key in order:
        first, last = spans[key]
        taken = [*live[first], *(t for when in range(first + 1, last + 1) for t in begun[when])]
        offset = _gap(sorted(taken), sizes[key], align)
        slots[key] = Slot(offset, sizes[key])
        begun[first].append((offset, sizes[key]))
        for when in range(first, last + 1):
            live[when].append((offset, sizes[key]))
        total = max(total, offset + sizes[key])
    return slots, -(-total // align) * align


def _gap(taken: list[tuple[int, int]], nbytes: int, align: int) -> int:
    best, smallest, end = -1, 1 << 62, 0
    for offset, length in taken:
        if offset - end >= nbytes and offset - end < smallest:
            best, smallest = end, offset - end
        end = max(end, -(-(offset + length) // align) * align)
    return end if best < 0 else best


def lower_bound(spans: Mapping[Key, Span], sizes: Mapping[Key, int], align: int = 1) -> int:
    """The largest number of bytes that are live at one step, each buffer rounded up to align: no
    arena can be smaller."""
    changes: dict[int, int] = {}
    for key, (first, last) in spans.items():
        rounded = -(-sizes[key] // align) * align
        changes[first] = changes.get(first, 0) + rounded
        changes[last + 1] = changes.get(last + 1, 0) - rounded
    live = most = 0
    for when in sorted(changes):
        live += changes[when]
        most = max(most, live)
    return most
