"""An inference request of the Open Inference Protocol: JSON, with or without binary tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import simdjson

from app.errors import InvalidInput, InvalidRequest
from app.tensors import Array
from app.wire import binary
from app.wire.dtypes import Shape, elements, of_wire
from app.wire.lists import MAX_RANK, Document

_DIGITS = re.compile(r"[0-9]{1,18}")
_FIELDS = frozenset(
    ("id", "name", "shape", "datatype", "data", "inputs", "outputs", "parameters")
)
# Of the widest type, in the numbers that numpy counts bytes with.
_MOST_ELEMENTS = 2**63 // 16
_SHARED_MEMORY = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One output the caller asks for: as bytes or JSON, whole or as its best classes."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a caller wants to have inferred.

    Shapes: inputs keep the shapes that the caller declared.
    Units:  timeout in seconds, None for the server's own; priority 0 is the model's default,
            1 the most urgent.
    """

    inputs: Mapping[str, Array]
    id: str = ""
    outputs: tuple[RequestedOutput, ...] | None = None
    binary_outputs: bool = False
    priority: int = 0
    timeout: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def parse(body: bytes | memoryview, header_length: str | None = None) -> InferRequest:
    """Read a request; header_length is the value of Inference-Header-Content-Length.

    Raises: InvalidRequest or InvalidInput, whatever the bytes are.
    """
    size = _header_size(body, header_length)
    document = Document(body if size == len(body) else body[:size])
    root = document.root
    if not isinstance(root, simdjson.Object):
        raise InvalidRequest('the request must be a JSON object with a list "inputs"')
    fields = _fields(root)
    parameters = _parameters(fields.get("parameters"), "the request")
    if parameters.get("sequence_id"):
        raise InvalidRequest(
            "parameter 'sequence_id': no state is kept from one request to the next; send all "
            "steps of a sequence in one request"
        )
    default_binary = _flag(parameters, "binary_data_output", False)
    return InferRequest(
        inputs=_inputs(document, fields.get("inputs"), memoryview(body)[size:]),
        id=_identifier(fields.get("id")),
        outputs=_outputs(fields.get("outputs"), default_binary),
        binary_outputs=default_binary,
        priority=_count(parameters, "priority", 0),
        timeout=_timeout(parameters),
        parameters=parameters,
    )


def _header_size(body: bytes | memoryview, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    text = header_length.strip()
    if not _DIGITS.fullmatch(text) or not 0 < int(text) <= len(body):
        raise InvalidRequest(
            f"Inference-Header-Content-Length is {text[:40]!r}; allowed is a whole number from 1 "
            f"to the body's length, {len(body)}"
        )
    return int(text)


def _fields(node: Any) -> dict[str, Any]:
    """Take the protocol's own fields; lists stay unread, other keys stay unlooked at."""
    fields: dict[str, Any] = {}
    for key in node:
        if key in _FIELDS:
            if key in fields:
                raise InvalidRequest(f"{key!r} is given more than once in one object")
            fields[key] = node[key]
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _identifier(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest('"id" must be a string')
    return value


def _parameters(value: Any, owner: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, simdjson.Object):
        raise InvalidRequest(f'"parameters" of {owner} must be an object')
    plain = _plain(value)
    for key, item in plain.items():
        if not isinstance(item, str | int | float | bool):
            raise InvalidRequest(
                f"parameter {key!r} of {owner} must be a string, a number or a boolean"
            )
        if key in _SHARED_MEMORY:
            raise InvalidRequest(
                f"parameter {key!r} of {owner}: shared memory is not supported; "
                "send the tensor as binary data"
            )
    return dict(plain)


def _flag(parameters: Mapping[str, Any], key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"parameter {key!r} must be true or false")
    return value


def _count(parameters: Mapping[str, Any], key: str, default: int) -> int:
    value = parameters.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InvalidRequest(f"parameter {key!r} must be a whole number that is not negative")
    return value


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    """Read the protocol's timeout, which is in microseconds; 0 means none."""
    micros = _count(parameters, "timeout", 0)
    return micros / 1e6 if micros else None


def _inputs(document: Document, value: Any, blob: memoryview) -> dict[str, Array]:
    if not isinstance(value, simdjson.Array) or not len(value):
        raise InvalidRequest('"inputs" must be a list with at least one tensor')
    arrays: dict[str, Array] = {}
    used = 0
    for item in value:
        name, shape, fields = _declared(item)
        if name in arrays:
            raise InvalidInput(f"input {name!r} is given twice")
        size = _binary_size(fields, name)
        if size is None:
            arrays[name] = _listed(document, fields, name, shape)
            continue
        if used + size > len(blob):
            raise InvalidInput(
                f"input {name!r} has binary_data_size {size}, but only {len(blob) - used} bytes "
                "are left behind the JSON header"
            )
        raw = blob[used : used + size]
        arrays[name] = binary.read(raw, of_wire(fields.get("datatype"), name), shape, name)
        used += size
    if used != len(blob):
        raise InvalidRequest(
            f"{len(blob) - used} bytes follow the JSON header that belong to no input; "
            "check binary_data_size and Inference-Header-Content-Length"
        )
    return arrays


def _declared(item: Any) -> tuple[str, Shape, dict[str, Any]]:
    if not isinstance(item, simdjson.Object):
        raise InvalidRequest('every item of "inputs" must be an object')
    fields = _fields(item)
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest('every input needs a "name", a string')
    return name, _shape(fields.get("shape"), name), fields


def _shape(value: Any, name: str) -> Shape:
    sizes: Any = value.as_list() if isinstance(value, simdjson.Array) else None
    if (
        sizes is None
        or len(sizes) > MAX_RANK
        or not all(type(size) is int and 0 <= size < 2**63 for size in sizes)
    ):
        raise InvalidInput(
            f'input {name!r} needs a "shape": a list of at most {MAX_RANK} whole numbers, '
            "none negative"
        )
    # Without elements it needs no bytes, whatever its other sizes are.
    if elements([size or 1 for size in sizes]) > _MOST_ELEMENTS:
        raise InvalidInput(f"input {name!r} declares shape {sizes}, which no memory can hold")
    return tuple(sizes)


def _binary_size(fields: Mapping[str, Any], name: str) -> int | None:
    parameters = _parameters(fields.get("parameters"), f"input {name!r}")
    if "binary_data_size" not in parameters:
        return None
    if fields.get("data") is not None:
        raise InvalidInput(f'input {name!r} has both "data" and binary_data_size; send one')
    return _count(parameters, "binary_data_size", 0)


def _listed(document: Document, fields: Mapping[str, Any], name: str, shape: Shape) -> Array:
    datatype = of_wire(fields.get("datatype"), name)
    data = fields.get("data")
    if not isinstance(data, simdjson.Array):
        raise InvalidInput(
            f'input {name!r} needs "data", a list, or the parameter binary_data_size with the '
            "bytes behind the JSON header"
        )
    array = document.array(data, datatype.numpy, name)
    if array.shape != shape and array.shape != (elements(shape),):
        raise InvalidInput(
            f"input {name!r} declares shape {list(shape)}, but its data has shape "
            f"{list(array.shape)}; send it nested like the shape, or flat"
        )
    return array.reshape(shape)


def _outputs(value: Any, default_binary: bool) -> tuple[RequestedOutput, ...] | None:
    if value is None:
        return None
    if not isinstance(value, simdjson.Array):
        raise InvalidRequest('"outputs" must be a list')
    wanted = tuple(_output(item, default_binary) for item in value)
    names = [output.name for output in wanted]
    if len(set(names)) != len(names):
        raise InvalidRequest("an output is requested twice")
    return wanted or None


def _output(item: Any, default_binary: bool) -> RequestedOutput:
    fields = _fields(item) if isinstance(item, simdjson.Object) else {}
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest('every item of "outputs" must be an object with a "name"')
    parameters = _parameters(fields.get("parameters"), f"output {name!r}")
    return RequestedOutput(
        name,
        _flag(parameters, "binary_data", default_binary),
        _count(parameters, "classification", 0),
    )
