"""Quick reading of flatbuffer tables: the package checks every number of every step anew, which
was a third of a cached load."""

from __future__ import annotations

from struct import Struct
from typing import Any, TypeVar

import numpy as np
from flatbuffers.table import Table

from app.engine.ir import Data

Reading = TypeVar("Reading")
U16, I32, U32 = Struct("<H"), Struct("<i"), Struct("<I")
LITTLE: dict[Any, np.dtype[Any]] = {}


class QuickTable(Table):  # type: ignore[misc]
    """A table of the package that looks its layout up without checks.

    Raises: struct.error where the file ends before what it describes.
    Source: flatbuffers' internals: a table begins with the distance to its vtable, whose entries
    are the fields' places; vectors and strings begin with their length.
    """

    __slots__ = ("_end", "_vtable")

    def __init__(self, buf: bytes, pos: int) -> None:
        self.Bytes, self.Pos = buf, pos  # type: ignore[misc]
        self._vtable = pos - I32.unpack_from(buf, pos)[0]
        # A negative place would be counted from the end of the file; all other offsets go up.
        if self._vtable < 0:
            raise ValueError("a table's layout lies before its beginning")
        self._end = U16.unpack_from(buf, self._vtable)[0]

    def Offset(self, vtableOffset: int) -> int:
        """The place of a field in the table; 0 if it has none."""
        if vtableOffset >= self._end:
            return 0
        return int(U16.unpack_from(self.Bytes, self._vtable + vtableOffset)[0])

    def Indirect(self, off: int) -> int:
        """What an offset in the file points to."""
        return int(off + U32.unpack_from(self.Bytes, off)[0])

    def VectorLen(self, off: int) -> int:
        """The elements of the vector that a field points to."""
        off += self.Pos
        return int(U32.unpack_from(self.Bytes, off + U32.unpack_from(self.Bytes, off)[0])[0])

    def Vector(self, off: int) -> int:
        """Where the elements of the vector begin that a field points to."""
        off += self.Pos
        return int(off + U32.unpack_from(self.Bytes, off)[0] + 4)

    def GetVectorAsNumpy(self, flags: Any, off: int) -> Data:
        """The elements of the vector that a field points to, where they are in the file.

        Raises: ValueError if the file ends before they do.
        """
        place = off + self.Pos
        place += U32.unpack_from(self.Bytes, place)[0]
        dtype = LITTLE.get(flags)
        if dtype is None:
            dtype = LITTLE[flags] = np.dtype(flags.packer_type.format)
        count = U32.unpack_from(self.Bytes, place)[0]
        # numpy takes no place at the very end of the file, even for nothing.
        return np.frombuffer(self.Bytes, dtype, count, place + 4) if count else np.empty(0, dtype)

    def Get(self, flags: Any, off: int) -> Any:
        """The number at a place."""
        return flags.packer_type.unpack_from(self.Bytes, off)[0]


def quick(table: Reading) -> Reading:
    """Let an object that the schema's package generated read by a QuickTable from now on."""
    plain: Any = table
    if plain is not None:
        plain._tab = QuickTable(plain._tab.Bytes, plain._tab.Pos)
    return table
