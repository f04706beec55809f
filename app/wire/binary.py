"""Tensors as raw bytes: the binary tensor data extension."""

from __future__ import annotations

import struct

import numpy as np

from app.errors import InvalidInput
from app.tensors import Array
from app.wire.dtypes import DataType, Shape, elements

_LENGTH = struct.Struct("<I")


def read(raw: memoryview, datatype: DataType, shape: Shape, name: str) -> Array:
    """View bytes as an array, without a copy for every type of fixed size.

    Shapes: raw holds the elements of shape, row-major, little-endian.
    Raises: InvalidInput if the bytes are not what shape and datatype need.
    """
    if datatype.wire == "BYTES":
        return _read_strings(raw, elements(shape), name).reshape(shape)
    needed = elements(shape) * datatype.itemsize
    if len(raw) != needed:
        raise InvalidInput(
            f"input {name!r} has binary_data_size {len(raw)}, but shape {list(shape)} of "
            f"{datatype.wire} needs {needed} bytes"
        )
    # An empty memoryview of a released slice is refused by numpy.
    if not needed:
        return np.empty(shape, dtype=datatype.numpy)
    if datatype.wire == "BOOL":
        bits = np.frombuffer(raw, dtype=np.uint8)
        if bits.max(initial=0) > 1:
            raise InvalidInput(f"input {name!r} is BOOL: its bytes must be 0 or 1")
        return bits.view(np.bool_).reshape(shape)
    array: Array = np.frombuffer(raw, dtype=np.dtype(datatype.numpy).newbyteorder("<"))
    return array.reshape(shape)


def _read_strings(raw: memoryview, count: int, name: str) -> Array:
    items: list[bytes] = []
    at = 0
    while at < len(raw) and len(items) <= count:
        if at + _LENGTH.size > len(raw):
            raise InvalidInput(f"input {name!r} is BYTES: a length is cut off at byte {at}")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            raise InvalidInput(
                f"input {name!r} is BYTES: an element of {length} bytes at {at} reaches beyond "
                f"the {len(raw)} bytes sent"
            )
        items.append(bytes(raw[at : at + length]))
        at += length
    if len(items) != count:
        raise InvalidInput(
            f"input {name!r} is BYTES: its shape needs {count} elements, "
            f"the data holds {'more' if len(items) > count else len(items)}"
        )
    array = np.empty(count, dtype=object)
    array[:] = items
    return array


def written(array: Array) -> bytes | memoryview:
    """Give an array's bytes, row-major and little-endian; strings behind their lengths."""
    if array.dtype == object:
        return b"".join(_LENGTH.pack(len(item)) + item for item in array.ravel())
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if not array.size:
        return b""
    return np.ascontiguousarray(array).data.cast("B")
