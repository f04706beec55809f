"""Bring what the host runs together, so that few values travel between it and the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from app.engine import registry
from app.engine.ir import Graph, Launch, Node, Tensor
from app.engine.passes.facts import plain
from app.engine.segments import small

Storage = tuple[Tensor, int]


@dataclass(slots=True, eq=False)
class Entry:
    """A node on its way to its place; origin and whole: what it stands for, and whether it is
    the file's own operator."""

    node: Node
    where: str
    reason: str = ""
    launches: Sequence[Launch] = ()
    origin: tuple[Node, ...] = ()
    whole: bool = False


def absorbed(entries: Sequence[Entry], graph: Graph,
              views: dict[Tensor, Storage]) -> list[Entry]:
    """Move small kernels to the host where all that they read and feed is there already."""
    readers: dict[Tensor, list[Entry]] = {}
    for entry in entries:
        for tensor in entry.node.reads:
            readers.setdefault(tensor, []).append(entry)
    leads = set()
    for entry in reversed(entries):
        after = [r for t in entry.node.outputs for r in readers.get(t, ())]
        if (entry.where == "device" and after and _movable(entry, graph)
                and all(r.where == "host" or r in leads for r in after)):
            leads.add(entry)
    on_host = set(graph.inputs)
    by_host: set[Tensor] = set()
    for entry in entries:
        near = all(t in on_host or t.data is not None for t in entry.node.reads)
        after = [r for t in entry.node.outputs for r in readers.get(t, ())]
        if entry in leads and near:
            entry.where, entry.reason = "host", "small, between operations of the CPU"
            entry.launches = ()
        elif (entry.where == "free" and entry.node.input(0) in by_host
              and any(r.where == "host" for r in after)):
            # A segment must not look through a view at what it makes itself.
            entry.where, entry.reason = "host", "between operations of the CPU"
            views.pop(entry.node.outputs[0])
        if entry.where == "host":
            by_host.update(entry.node.outputs)
        if entry.where == "host" or (entry.where == "free" and near):
            on_host.update(entry.node.outputs)
    return list(entries)


def _movable(entry: Entry, graph: Graph) -> bool:
    # The CPU's runtime knows the file's own operators only, not what a rewriting made of them.
    node = entry.node
    return (not node.epilogue and small(node) and not any(t in graph.outputs for t in node.outputs)
            and ((bool(graph.blob) and entry.whole)
                 or (node.op in registry.HOSTS and plain(node))))


def ordered(entries: list[Entry]) -> list[Entry]:
    """Bring host nodes together, where that makes fewer changes between device and host."""
    other = _clustered(entries)
    return other if _changes(other) < _changes(entries) else entries


def _changes(entries: Sequence[Entry]) -> int:
    kinds = [e.where for e in entries if e.where != "free"]
    return sum(a != b for a, b in pairwise(kinds) if "host" in (a, b))


def _clustered(entries: Sequence[Entry]) -> list[Entry]:
    makers = {t: i for i, e in enumerate(entries) for t in e.node.outputs}
    readers: dict[int, list[int]] = {}
    waits = []
    last_state: int | None = None
    for i, entry in enumerate(entries):
        before = {makers[t] for t in entry.node.reads if t in makers}
        if entry.where == "state":
            before |= {last_state} if last_state is not None else set()
            last_state = i
        waits.append(len(before))
        for other in before:
            readers.setdefault(other, []).append(i)
    # By place, the earliest first.
    ready: dict[str, list[int]] = {}
    for i, entry in enumerate(entries):
        if not waits[i]:
            heappush(ready.setdefault(entry.where, []), i)
    order: list[Entry] = []
    kind = "device"
    while heaps := {where: heap for where, heap in ready.items() if heap}:
        like = {w: h for w, h in heaps.items() if w in (kind, "free")}
        chosen = heappop(min((like or heaps).values(), key=lambda heap: heap[0]))
        entry = entries[chosen]
        kind = kind if entry.where == "free" else entry.where
        order.append(entry)
        for reader in readers.get(chosen, ()):
            waits[reader] -= 1
            if not waits[reader]:
                heappush(ready.setdefault(entries[reader].where, []), reader)
    if len(order) < len(entries):
        raise ValueError("some operations wait for each other's results")
    return order
