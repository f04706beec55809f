"""An inference answer of the Open Inference Protocol: JSON, with or without binary tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from app.errors import InvalidRequest
from app.tensors import Array, dtype_name
from app.wire import binary
from app.wire.dtypes import of_numpy
from app.wire.request import InferRequest, RequestedOutput

HEADER_LENGTH = "Inference-Header-Content-Length"
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body, and the length of its JSON header when binary tensors follow it.

    Units: header_length in bytes; None for plain JSON.
    """

    body: bytes
    header_length: int | None

    @property
    def content_type(self) -> str:
        """ "application/octet-stream" is what the binary extension demands."""
        return "application/json" if self.header_length is None else "application/octet-stream"


def encode(
    request: InferRequest,
    model: str,
    version: str,
    outputs: Mapping[str, Array],
    labels: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> Encoded:
    """Write an answer in the form that the request asked for.

    Raises: InvalidRequest if it asks for an output that the model does not have.
    """
    entries, blobs = [], []
    for wanted in _wanted(request, outputs):
        array = outputs[wanted.name]
        if wanted.classes:
            array = classified(array, wanted.classes, labels)
        entry, blob = _tensor(wanted, array)
        entries.append(entry)
        blobs += blob
    head: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id:
        head["id"] = request.id
    if parameters:
        head["parameters"] = parameters
    head["outputs"] = entries
    header = orjson.dumps(head, option=_OPTIONS)
    if not any(wanted.binary for wanted in _wanted(request, outputs)):
        return Encoded(header, None)
    return Encoded(b"".join((header, *blobs)), len(header))


def _wanted(request: InferRequest, outputs: Mapping[str, Array]) -> Sequence[RequestedOutput]:
    if request.outputs is None:
        return [RequestedOutput(name, request.binary_outputs) for name in outputs]
    for wanted in request.outputs:
        if wanted.name not in outputs:
            raise InvalidRequest(
                f"the model has no output {wanted.name!r}; it has {', '.join(outputs)}"
            )
    return request.outputs


def _tensor(
    wanted: RequestedOutput, array: Array
) -> tuple[dict[str, Any], list[bytes | memoryview]]:
    entry: dict[str, Any] = {
        "name": wanted.name,
        "datatype": of_numpy(dtype_name(array.dtype), wanted.name).wire,
        "shape": list(array.shape),
    }
    if not wanted.binary:
        entry["data"] = _listed(array, wanted.name)
        return entry, []
    blob = binary.written(array)
    entry["parameters"] = {"binary_data_size": len(blob)}
    return entry, [blob]


def _listed(array: Array, name: str) -> Any:
    if array.dtype != object:
        # orjson writes native, contiguous arrays directly.
        return np.ascontiguousarray(array).ravel()
    try:
        return [item.decode("utf-8") for item in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"output {name!r} holds bytes that are not UTF-8 text; ask for it with "
            '"binary_data": true'
        ) from error


def classified(array: Array, classes: int, labels: Sequence[str]) -> Array:
    """Keep the best classes of each item as Triton's "value:index[:label]" strings.

    Shapes: [N, ...] -> [N, min(classes, size of an item)]; rank 0 and 1 count as one item.
    Raises: InvalidRequest for strings and complex numbers, which have no order.
    """
    if array.dtype.kind not in "biuf":
        raise InvalidRequest("classification needs an output of real numbers")
    items = array if array.ndim > 1 else array.reshape(1, -1)
    # Not -1: where there are no items, numpy cannot tell how long they would be.
    rows = items.reshape(len(items), math.prod(items.shape[1:]))
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :classes]
    text = np.empty(best.shape, dtype=object)
    for at, chosen in np.ndenumerate(best):
        index = int(chosen)
        label = f":{labels[index]}" if index < len(labels) else ""
        text[at] = f"{_number(rows[at[0], index])}:{index}{label}".encode()
    return text if array.ndim > 1 else text[0]


def _number(value: Any) -> str:
    return f"{value:f}" if isinstance(value, np.floating) else str(int(value))
