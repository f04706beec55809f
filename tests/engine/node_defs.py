"""Writes what TensorFlow's converter keeps of an operation that it leaves to TensorFlow."""

from __future__ import annotations

from flatbuffers import flexbuffers

Attribute = int | bool | str | tuple[int, ...]


def node_def(name: str, **attributes: Attribute) -> bytes:
    """The custom options of Flex<name>: its name and a NodeDef."""
    parts = [(1, name.encode()), *((5, field(1, key.encode()) + field(2, _value(value)))
                                   for key, value in attributes.items())]
    return bytes(flexbuffers.Dumps([name, b"".join(field(n, part) for n, part in parts).decode()]))


def field(number: int, content: bytes) -> bytes:
    """A field that has a length."""
    return bytes([number << 3 | 2, len(content)]) + content


def _value(value: Attribute) -> bytes:
    if isinstance(value, str):
        return field(2, value.encode())
    if isinstance(value, tuple):
        return field(1, field(3, bytes(value)))
    return bytes([0x28 if isinstance(value, bool) else 0x18, value])
