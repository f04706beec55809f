"""The program of a plan's chains: one kernel that does what their parts do, one after the other.

Every distinct part becomes a function, which a loop calls for each of the part's work-items. Which
function, with which numbers and with what memory, comes from a table: so the text depends on the
kinds of parts only, and a compiler sees each kind once.

A chain may do all that several times, for as many steps of a request: then it fetches each step's
inputs from where the caller put them all, and leaves the results in a row. Before the first step
of a request it gives variables their first values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

import numpy as np

from app.engine.ir import Arg, Const, Data, Launch, Scratch, Tensor
from app.engine.opencl.texts import KERNELS, PLAIN, WITHIN, Kind, kind_of, renamed

KERNEL = "chain"
CALLS = """#define EACH for (int G2 = 0; G2 < n[3]; G2++) \\
             for (int G1 = 0; G1 < n[2]; G1++) for (int G0 = 0; G0 < n[1]; G0++)
#define AT(i) ((__global void*)(m[n[i]] + n[i + 1]))
static void pass(__global char* restrict to, __global const char* restrict from, long bytes) {
    for (long i = 0; i < bytes; i++) to[i] = from[i];
}
"""
BODY = """{
    __global char* const m[] = {%s};
    const long from = table[0], to = table[1];
    table += 2;
    for (long left = *table++; left > 0; left--, table += 4)
        if (afresh) pass(m[table[0]] + table[1], first + table[2], table[3]);
    for (; steps > 0; steps--, given += from, made += to) {
        __global const long* n = table;
        for (long left = *n++; left > 0; left--, n += 4)
            pass(m[n[0]] + n[1], given + n[2], n[3]);
        for (long left = *n++; left > 0; left--) switch ((int)*n) {
%s
        }
        for (long left = *n++; left > 0; left--, n += 4)
            pass(made + n[2], m[n[0]] + n[1], n[3]);
    }
}
"""


class Places(Protocol):
    """Where the memory of an argument lies."""

    def __call__(self, arg: Tensor | Scratch | Const) -> tuple[Any, int]:
        """The buffer that holds it, and the byte in it where it begins."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Tensors that lie one after the other, step after step, in memory of the caller's.

    Units: bytes; stride is that of a step, places are where each tensor lies in one.
    """

    stride: int
    places: Mapping[Tensor, int]


NOWHERE = Passage(0, {})


@dataclass(slots=True)
class Chains:
    """What their launches need: the program's text, and the buffers that it reads and writes.

    A kernel's arguments are a table, the number of steps, whether variables begin afresh, where
    their first values, the steps' inputs and their results lie, and the buffers.
    """

    text: str
    buffers: list[Any]
    _place: Places
    _parts: Mapping[Launch, list[int]]

    def table(self, launch: Launch, first: Passage = NOWHERE, given: Passage = NOWHERE,
              made: Passage = NOWHERE) -> Data:
        """The numbers of a chain: strides, first values, what it fetches, its parts, what it
        leaves.

        Units: int64; a part is its function, its extents and its arguments: numbers, floats as
        bits, memory as a buffer's number and a byte in it.
        """
        return np.array([given.stride, made.stride, *self._copies(first), *self._copies(given),
                         len(launch.parts), *self._parts[launch], *self._copies(made)], np.int64)

    def _copies(self, passage: Passage) -> list[int]:
        numbers = [len(passage.places)]
        for tensor, where in passage.places.items():
            buffer, offset = self._place(tensor)
            numbers += [self.buffers.index(buffer), offset, where, tensor.nbytes]
        return numbers


@dataclass(slots=True)
class _Draft:
    place: Places
    functions: dict[tuple[str, Kind], int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=list)

    def add(self, part: Launch) -> list[int]:
        key = (part.kernel, kind_of(part.source, part.defines))
        new = key not in self.functions
        number = self.functions.setdefault(key, len(self.functions))
        record = [number, *(*part.global_size, 1, 1)[:3]]
        args = ["G0", "G1", "G2", *(self._argument(record, a) for a in part.args)]
        if new:
            self.texts.append(renamed(part.source, part.defines, f"f{number}_", WITHIN))
            call = f"EACH f{number}_{part.kernel}({', '.join(args)});"
            self.calls.append(f"case {number}: {call} n += {len(record)}; break;")
        return record

    def _argument(self, record: list[int], arg: Arg) -> str:
        position = len(record)
        if isinstance(arg, Tensor | Scratch | Const):
            buffer, offset = self.place(arg)
            if buffer not in self.buffers:
                self.buffers.append(buffer)
            record += [self.buffers.index(buffer), offset]
            return f"AT({position})"
        record.append(int(np.asarray(arg).view(np.int32)))
        return f"as_float((int)n[{position}])" if isinstance(arg, np.float32) else f"n[{position}]"


def chains(launches: Sequence[Launch], place: Places) -> Chains:
    """Write one program for chains."""
    draft = _Draft(place)
    parts = {launch: [*chain.from_iterable(map(draft.add, launch.parts))] for launch in launches}
    names = [f"m{i}" for i in range(len(draft.buffers))]
    text = "\n".join([
        PLAIN, *draft.texts, KERNELS, CALLS,
        f"__kernel void {KERNEL}(__global const long* table, int steps, int afresh, "
        "__global const char* first, __global const char* given, __global char* made, "
        f"{', '.join(f'__global char* {name}' for name in names)})",
        BODY % (", ".join(names), "\n".join(f"        {call}" for call in draft.calls))])
    return Chains(text, draft.buffers, place, parts)
