"""TensorFlow's operations ("Flex") that TFLite has too, only not for every type of number; and what
else a model does with complex numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flatbuffers import flexbuffers

from app.engine.ir import Graph, Node, Tensor, integers
from app.engine.passes.stablehlo import MASKS

SLICE = "CUSTOM:FlexStridedSlice"
SPECTRUM = "CUSTOM:FlexRFFT"
NAMES = (SLICE, SPECTRUM)
# Of NodeDef: the map of attributes. Of an entry: its name and its value, where an integer is.
ATTRIBUTES, KEY, VALUE, INTEGER = 5, 1, 2, 3
VARINT, BYTES = 0, 2


def plain(node: Node) -> Graph | None:
    """The operations of TFLite's that a Flex operation is; None of others."""
    rule = _RULES.get(node.op)
    made = None if rule is None else rule(node)
    return None if made is None else Graph(node.op, tuple(made), (), node.outputs)


def _slice(node: Node) -> list[Node]:
    given = _attributes(bytes(node.options["custom"]))
    options = {name: given.get(name, 0) for name in MASKS}
    return [Node("STRIDED_SLICE", node.inputs, node.outputs, options, graph=node.graph)]


def _spectrum(node: Node) -> list[Node] | None:
    x, length, y = node.input(0), node.input(1).data, node.outputs[0]
    if length is None or not x.shape:
        return None
    count, axis = int(length.reshape(-1)[0]), len(x.shape) - 1
    outer = (*x.shape[:-1], 1)
    row = Tensor(x.name, (*outer, x.shape[-1]), x.dtype)
    found = Tensor(y.name, (*outer, count // 2 + 1), y.dtype)
    return [Node("EXPAND_DIMS", (x, integers(axis)), (row,), graph=node.graph),
            Node("RFFT2D", (row, integers(1, count)), (found,), graph=node.graph),
            Node("SQUEEZE", (found,), (y,), {"squeeze_dims": (axis,)}, graph=node.graph)]


def _real(node: Node) -> list[Node] | None:
    if (node.input(0).dtype, node.outputs[0].dtype) != ("complex64", "float32"):
        return None
    return [Node("REAL", node.inputs, node.outputs, graph=node.graph)]


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


_RULES: dict[str, Callable[[Node], list[Node] | None]] = {
    SLICE: _slice, SPECTRUM: _spectrum, "CAST": _real}
