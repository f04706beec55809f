"""Writes what TensorFlow's converter keeps of an operation that it leaves to TensorFlow."""

from __future__ import annotations

import struct

from flatbuffers import flexbuffers

Attribute = int | float | bool | str | tuple[int, ...] | tuple[str, ...]


def node_def(name: str, **attributes: Attribute) -> bytes:
    """The custom options of Flex<name>: its name and a NodeDef."""
    parts = [(1, name.encode()), *((5, field(1, key.encode()) + field(2, _value(value)))
                                   for key, value in attributes.items())]
    definition = b"".join(field(n, part) for n, part in parts)
    builder = flexbuffers.Builder()
    with builder.Vector():
        builder.String(name)
        # A text by its type, whose bytes need not be one.
        builder._WriteBlob(definition, append_zero=True, type_=flexbuffers.Type.STRING)
    return bytes(builder.Finish())


def field(number: int, content: bytes) -> bytes:
    """A field that has a length."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _value(value: Attribute) -> bytes:
    if isinstance(value, str):
        return field(2, value.encode())
    if isinstance(value, float):
        return bytes([0x25]) + struct.pack("<f", value)
    if isinstance(value, tuple):
        texts = [field(2, v.encode()) for v in value if isinstance(v, str)]
        return field(1, b"".join(texts) if texts else
                     field(3, b"".join(_varint(int(v)) for v in value)))
    return bytes([0x28 if isinstance(value, bool) else 0x18]) + _varint(value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    made = []
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])
