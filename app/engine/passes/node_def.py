"""What TensorFlow's converter keeps of an operation that it leaves to TensorFlow: a NodeDef."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from flatbuffers import flexbuffers

from app.engine.ir import Node

# How the reader names such an operation: this, then TensorFlow's own name.
FLEX = "CUSTOM:Flex"
Attribute = int | float | str | tuple[int, ...] | tuple[str, ...]
Given = Mapping[str, Attribute]
# Of NodeDef: the map of attributes. Of an entry: its name and its value. Of a value: a list, a
# text, an integer, a number with a fraction or a truth. Of a list: its texts, its integers.
ATTRIBUTES, KEY, VALUE, LIST, TEXT, INTEGER, FRACTION, TRUTH = 5, 1, 2, 1, 2, 3, 4, 5
TEXTS, INTEGERS = 2, 3
VARINT, BYTES, FLOAT = 0, 2, 5


def attributes(node: Node) -> dict[str, Attribute]:
    """The attributes of a Flex operation that are numbers, truths, texts or lists of whole numbers
    or texts; texts that are not UTF-8 keep their bytes as Latin-1 characters.

    Raises: ValueError if the bytes are no name and NodeDef.
    Source: TFLite delegates/flex; tensorflow/core/framework/node_def.proto, attr_value.proto.
    """
    custom = bytearray(node.options.get("custom", b""))
    definition = flexbuffers.GetRoot(custom).AsVector[1].AsStringBytes
    found: dict[str, Attribute] = {}
    for number, entry in _fields(bytes(definition)):
        if number == ATTRIBUTES and isinstance(entry, bytes):
            parts = dict(_fields(entry))
            key, value = parts.get(KEY, b""), parts.get(VALUE, b"")
            if isinstance(key, bytes) and isinstance(value, bytes):
                found.update((key.decode(), given) for given in _values(value))
    return found


def _values(message: bytes) -> Iterator[Attribute]:
    for number, value in _fields(message):
        if not isinstance(value, bytes):
            if number in (INTEGER, FRACTION, TRUTH):
                yield _signed(value)
        elif number == TEXT:
            yield _text(value)
        elif number == LIST:
            texts = [v for n, v in _fields(value) if n == TEXTS and isinstance(v, bytes)]
            yield tuple(map(_text, texts)) if texts else tuple(_integers(value))


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _integers(message: bytes) -> Iterator[int]:
    for number, value in _fields(message):
        if number == INTEGERS and isinstance(value, int):
            yield int(_signed(value))
        elif number == INTEGERS and isinstance(value, bytes):
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                yield int(_signed(one))


def _signed(value: float) -> float:
    """A whole number below zero is kept as one of 64 bits."""
    return value - (1 << 64) if isinstance(value, int) and value >> 63 else value


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of a protocol buffer that are numbers or have a length."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == FLOAT:
            if at + 4 > len(message):
                raise ValueError("a field leaves its message")
            yield tag >> 3, float(struct.unpack_from("<f", message, at)[0])
            at += 4
            continue
        value, at = _varint(message, at)
        if tag & 7 == BYTES:
            if at + value > len(message):
                raise ValueError("a field leaves its message")
            yield tag >> 3, message[at:at + value]
            at += value
        elif tag & 7 == VARINT:
            yield tag >> 3, value
        else:
            raise ValueError(f"a field of wire type {tag & 7} in a NodeDef")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message):
            raise ValueError("a number leaves its message")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def sides(given: Given, name: str) -> tuple[int, int] | None:
    """Height and width of (1, height, width, 1), None of other numbers. Missing ones are 1."""
    found = given.get(name, (1, 1, 1, 1))
    if not isinstance(found, tuple) or len(found) != 4 or {found[0], found[3]} != {1}:
        return None
    return int(found[1]), int(found[2])
