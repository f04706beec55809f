"""What goes into and comes out of each route, beside its docstring; tests hold it to the routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields

from app import schemas
from app.blueprints.requests import TIMEOUT
from app.errors import (
    DeadlineExceeded,
    DeviceError,
    DeviceMemoryError,
    ForeignOrigin,
    InvalidInput,
    InvalidModel,
    InvalidRequest,
    ModelConflict,
    ModelLoadFailed,
    ModelNotFound,
    ModelNotReady,
    Overloaded,
    QuotaExceeded,
    RequestTooLarge,
    ServingError,
    StorageFailed,
    UnsupportedMedia,
)
from app.wire import schemas as v2
from app.wire.body import CODINGS
from app.wire.response import HEADER_LENGTH

JSON = "application/json"
BYTES = "application/octet-stream"
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
Errors = tuple[type[ServingError], ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One route.

    raw: media types whose bodies are bytes, or what else is no JSON; answers: the same of answers.
    errors: what it raises beside what every route does. headers: of the request.
    """

    answer: type[Schema] | None = None
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    statuses: tuple[int, ...] = (200,)
    errors: Errors = ()
    headers: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    sends: tuple[str, ...] = ()
    form: bool = False
    many: bool = False
    body_required: bool = True


class MetricsQuery(Schema):
    """Which families of metrics are wanted; all if none is named."""

    name = fields.List(fields.String(), data_key="name[]")


# By name: the schema and what it means.
HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "X-Request-Id": ({"type": "string"}, "Comes back in the answer and stands in the log."),
    "X-Request-Timeout": (
        {"type": "string", "pattern": f"^(?:{TIMEOUT.pattern})$"},
        "Seconds until the caller gives up; REQUEST_TIMEOUT_S at most.",
    ),
    "X-Caller": ({"type": "string"}, "Whose quota this counts by; else the address."),
    "Content-Encoding": (
        {"type": "string"}, f"How the body is packed: {', '.join(CODINGS)}.",
    ),
    "Accept-Encoding": ({"type": "string"}, "gzip or deflate alone has the answer packed so."),
    "X-Content-Sha256": (
        {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}, "What the body has to hash to.",
    ),
    HEADER_LENGTH: (
        {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
        "Bytes of JSON, behind which binary tensors stand.",
    ),
    "Location": ({"type": "string"}, "Where to ask how far the change has come."),
    "Retry-After": ({"type": "integer", "minimum": 1}, "Seconds after which to ask again."),
}  # fmt: skip

_FOUND = (ModelNotFound, StorageFailed)
_SERVED = (ModelNotFound, ModelNotReady)
_READ = (InvalidRequest, UnsupportedMedia, RequestTooLarge)
_PACKED = ("Content-Encoding",)
_UNLOAD = (ForeignOrigin, *_READ, InvalidInput, ModelNotFound, ModelConflict, StorageFailed)
_LOAD = (*_UNLOAD, InvalidModel, ModelLoadFailed, DeviceMemoryError)
_INFER = (
    *_READ, InvalidInput, *_SERVED, Overloaded, QuotaExceeded, DeadlineExceeded, DeviceError,
    DeviceMemoryError, StorageFailed,
)  # fmt: skip
_CALLER = ("X-Request-Timeout", "X-Caller", "Content-Encoding")


def _change(errors: Errors, body: type[Schema], query: type[Schema] | None) -> Operation:
    return Operation(
        schemas.ActionAnswers, body, query, (200, 202), errors, _PACKED, body_required=False
    )


def _inference(body: type[Schema]) -> Operation:
    return Operation(
        schemas.InferenceAnswer, body, schemas.Aside, errors=_INFER, headers=_CALLER,
        raw=("image/jpeg", "image/png"), form=True,
    )  # fmt: skip


OPERATIONS: dict[str, Operation] = {
    "health.health": Operation(schemas.Health, errors=(StorageFailed,)),
    "health.live": Operation(schemas.Readiness),
    "health.ready": Operation(schemas.Readiness, errors=(StorageFailed,)),
    "models.models": Operation(schemas.ModelList, errors=(StorageFailed,)),
    "models.model": Operation(schemas.Model, errors=_FOUND),
    "models.model_version": Operation(schemas.ModelVersion, errors=_FOUND),
    "models.put": Operation(
        schemas.ActionAnswers,
        query=schemas.UploadOptions,
        statuses=(200, 202),
        errors=tuple(error for error in _LOAD if error is not ModelNotFound),
        headers=("X-Content-Sha256",),
        raw=(BYTES,),
    ),
    "models.delete": Operation(
        schemas.ActionAnswers, statuses=(200, 202), errors=(ForeignOrigin, *_FOUND, ModelConflict)
    ),
    "models.load": _change(_LOAD, schemas.VersionChoice, schemas.VersionChoice),
    "models.unload": _change(_UNLOAD, schemas.VersionChoice, schemas.VersionChoice),
    "models.verify": Operation(
        schemas.Verification, errors=(ForeignOrigin, *_SERVED, StorageFailed)
    ),
    "models.action": Operation(schemas.ActionAnswer, errors=_FOUND),
    "inference.inference": _inference(schemas.InferenceRequest),
    "inference.infer": _inference(schemas.NamedInferenceRequest),
    "v2.server": Operation(v2.ServerMetadata),
    "v2.live": Operation(v2.Live),
    "v2.ready": Operation(v2.Ready, errors=(StorageFailed,)),
    "v2.model": Operation(v2.ModelMetadata, errors=_SERVED),
    "v2.model_ready": Operation(v2.ModelReady, errors=_SERVED),
    "v2.config": Operation(v2.ModelConfig, errors=_SERVED),
    "v2.stats": Operation(v2.ModelStatistics, errors=_SERVED),
    "v2.infer": Operation(
        v2.InferAnswer,
        v2.InferBody,
        errors=_INFER,
        headers=(*_CALLER, "Accept-Encoding", HEADER_LENGTH),
        raw=(BYTES,),
        answers=(BYTES,),
        sends=("Content-Encoding", HEADER_LENGTH),
    ),
    "v2.index": Operation(
        v2.IndexEntry,
        v2.IndexQuery,
        errors=(*_READ, StorageFailed),
        headers=_PACKED,
        many=True,
        body_required=False,
    ),
    "v2.load": _change(_LOAD, v2.RepositoryCommand, None),
    "v2.unload": _change(_UNLOAD, v2.RepositoryCommand, None),
    "openapi.document": Operation(answers=(JSON,)),
    "prometheus_metrics": Operation(
        query=MetricsQuery, answers=("text/plain", "application/openmetrics-text")
    ),
}
