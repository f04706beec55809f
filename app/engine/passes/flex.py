"""TensorFlow's operations ("Flex") that TFLite has too, only not for every type of number."""

from __future__ import annotations

from collections.abc import Iterator

from flatbuffers import flexbuffers

from app.engine.ir import Graph, Node

SLICE = "CUSTOM:FlexStridedSlice"
NAMES = (SLICE,)
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
# Of NodeDef: the map of attributes. Of an entry: its name and its value, where an integer is.
ATTRIBUTES, KEY, VALUE, INTEGER = 5, 1, 2, 3
VARINT, BYTES = 0, 2


def plain(node: Node) -> Graph | None:
    """The operation of TFLite's that a Flex operation is; None of others."""
    if node.op not in NAMES:
        return None
    given = _attributes(bytes(node.options["custom"]))
    options = {name: given.get(name, 0) for name in MASKS}
    made = Node("STRIDED_SLICE", node.inputs, node.outputs, options, graph=node.graph)
    return Graph(node.op, (made,), (), node.outputs)


def _attributes(custom: bytes) -> dict[str, int]:
    """The attributes of a Flex operation that are integers.

    Raises: ValueError if the bytes are no name and NodeDef.
    Source: TFLite delegates/flex; tensorflow/core/framework/node_def.proto, attr_value.proto.
    """
    definition = flexbuffers.GetRoot(bytearray(custom)).AsVector[1].AsStringBytes
    found: dict[str, int | bytes | None] = {}
    for number, entry in _fields(bytes(definition)):
        if number == ATTRIBUTES and isinstance(entry, bytes):
            parts = dict(_fields(entry))
            value = parts.get(VALUE, b"")
            key = parts.get(KEY, b"")
            if isinstance(key, bytes) and isinstance(value, bytes):
                found[key.decode()] = dict(_fields(value)).get(INTEGER)
    return {key: value for key, value in found.items() if isinstance(value, int)}


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer that are numbers or have a length."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
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
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
