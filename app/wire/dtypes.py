"""The one table of tensor types: numpy's, the Open Inference Protocol's and Triton's names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import InvalidInput

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DataType:
    """One tensor type under its three names.

    Units:  itemsize in bytes; 0 where elements differ in length.
    Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
    """

    wire: str
    numpy: str
    config: str
    itemsize: int


_ROWS = (
    DataType("BOOL", "bool", "TYPE_BOOL", 1),
    DataType("UINT8", "uint8", "TYPE_UINT8", 1),
    DataType("UINT16", "uint16", "TYPE_UINT16", 2),
    DataType("UINT32", "uint32", "TYPE_UINT32", 4),
    DataType("UINT64", "uint64", "TYPE_UINT64", 8),
    DataType("INT8", "int8", "TYPE_INT8", 1),
    DataType("INT16", "int16", "TYPE_INT16", 2),
    DataType("INT32", "int32", "TYPE_INT32", 4),
    DataType("INT64", "int64", "TYPE_INT64", 8),
    DataType("FP16", "float16", "TYPE_FP16", 2),
    DataType("FP32", "float32", "TYPE_FP32", 4),
    DataType("FP64", "float64", "TYPE_FP64", 8),
    DataType("BYTES", "bytes", "TYPE_STRING", 0),
)

BY_WIRE = {row.wire: row for row in _ROWS}
BY_NUMPY = {row.numpy: row for row in _ROWS}


def of_wire(name: object, tensor: str) -> DataType:
    """Look a type up by the protocol's name.

    Raises: InvalidInput if the protocol has no such type.
    """
    found = BY_WIRE.get(name) if isinstance(name, str) else None
    if found is None:
        said = repr(name) if isinstance(name, str | int | None) else "that is no string"
        raise InvalidInput(
            f"input {tensor!r} has datatype {said:.60}; allowed are {', '.join(BY_WIRE)}"
        )
    return found


def of_numpy(name: str, tensor: str) -> DataType:
    """Look a type up by numpy's name ("object" is how numpy holds BYTES).

    Raises: InvalidInput if the protocol cannot carry it.
    """
    found = BY_NUMPY.get("bytes" if name == "object" else name)
    if found is None:
        other = "; /models/NAME/infer takes and gives pairs" if name.startswith("complex") else ""
        raise InvalidInput(
            f"tensor {tensor!r} is {name}, which the Open Inference Protocol cannot carry; "
            f"it carries {', '.join(BY_NUMPY)}{other}"
        )
    return found


def elements(shape: Sequence[int]) -> int:
    """Count the elements of a shape; Python's integers cannot overflow."""
    return math.prod(shape)
