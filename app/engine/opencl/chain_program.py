"""The program of a plan's chains: one kernel that does what their parts do, one after the other.

Every distinct part becomes a function, which a loop calls for each of the part's work-items. Which
function, with which numbers and with what memory, comes from a table: so the text depends on the
kinds of parts only, and a compiler sees each kind once.
"""

from __future__ import annotations

from collections.abc import Sequence
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
"""


class Places(Protocol):
    """Where the memory of an argument lies."""

    def __call__(self, arg: Tensor | Scratch | Const) -> tuple[Any, int]:
        """The buffer that holds it, and the byte in it where it begins."""


@dataclass(slots=True)
class Chains:
    """What their launches need: the program's text, the buffers that it reads and writes, and of
    each chain its numbers.

    Units: tables are int64: the number of parts, then of each its function, its extents and its
    arguments: numbers, floats as bits, memory as a buffer's number and a byte in it.
    """

    text: str
    buffers: list[Any]
    tables: list[Data]


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
    tables = [np.array([len(launch.parts), *chain.from_iterable(map(draft.add, launch.parts))],
                       np.int64) for launch in launches]
    names = [f"m{i}" for i in range(len(draft.buffers))]
    text = "\n".join([
        PLAIN, *draft.texts, KERNELS, CALLS,
        f"__kernel void {KERNEL}(__global const long* n, "
        f"{', '.join(f'__global char* {name}' for name in names)})",
        "{", f"    __global char* const m[] = {{{', '.join(names)}}};",
        "    for (long left = *n++; left > 0; left--) switch ((int)*n) {",
        *(f"        {call}" for call in draft.calls), "    }", "}", ""])
    return Chains(text, draft.buffers, tables)
