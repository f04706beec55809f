"""What comes in and what goes out, as marshmallow schemas; the arrays themselves pass through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import simdjson
from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema, ValidationError, fields, validate

from app.errors import InvalidInput, InvalidRequest
from app.repository.manifest import BACKENDS
from app.repository.names import NAME
from app.tensors import Array, dtype_name
from app.wire.lists import Document

_USUAL = {"model_name", "input_data"}
NAME_RULE = validate.Regexp(
    NAME.pattern + r"\Z",
    error="use 1 to 64 letters, digits, '.', '_' or '-'",
)


class VersionText(fields.String):
    """A version, which callers write as text or as a whole number."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Lists(fields.Field[Any]):
    """Nested lists of numbers, or one for each input by name; read when the dtype is known."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, simdjson.Array | simdjson.Object | int | float):
            return value
        raise ValidationError("must be a list of numbers, or an object of lists by input name")


class InferenceRequest(Schema):
    """The JSON of POST /inference and POST /models/<name>/infer."""

    class Meta:
        unknown = RAISE

    model_name = fields.String(required=True, validate=NAME_RULE)
    version = VersionText(allow_none=True, load_default=None, validate=NAME_RULE)
    input_data = Lists(required=True)


class NamedInferenceRequest(InferenceRequest):
    """The same where the path names the model."""

    model_name = fields.String(load_default=None, validate=NAME_RULE)


class ImageForm(Schema):
    """The fields beside an image: of a form, or of the query."""

    class Meta:
        unknown = RAISE

    model_name = fields.String(load_default=None, validate=NAME_RULE)
    version = VersionText(load_default=None, validate=NAME_RULE)


class VersionChoice(Schema):
    """Which version a load or unload means."""

    class Meta:
        unknown = RAISE

    version = VersionText(allow_none=True, load_default=None, validate=NAME_RULE)


class UploadOptions(Schema):
    """The query of PUT /models/<name>/versions/<version>."""

    class Meta:
        unknown = RAISE

    backend = fields.String(load_default=None, validate=validate.OneOf(BACKENDS))
    sha256 = fields.String(
        load_default=None,
        validate=validate.Regexp(
            r"[0-9a-fA-F]{64}\Z", error="must be 64 hexadecimal digits, the sha256 of the body"
        ),
    )


class Quantization(Schema):
    """Affine quantisation: real = scale * (quantised - zero_point)."""

    scales = fields.List(fields.Float())
    zero_points = fields.List(fields.Integer())
    axis = fields.Integer()


class Tensor(Schema):
    """One input or output of a model; -1 is a dimension that the caller may choose."""

    name = fields.String()
    shape = fields.List(fields.Integer())
    dtype = fields.String()
    quantization = fields.Nested(Quantization, allow_none=True)


class WorkerReport(Schema):
    """What one worker made of a model version."""

    worker = fields.String()
    pid = fields.Integer()
    state = fields.String()
    error = fields.String(allow_none=True)


class ModelVersion(Schema):
    """One version of a model."""

    class Meta:
        unknown = EXCLUDE

    version = fields.String()
    state = fields.String()
    wanted = fields.Boolean()
    sha256 = fields.String()
    backend = fields.String(allow_none=True)
    backend_wanted = fields.String()
    device = fields.String(allow_none=True)
    reason = fields.String(allow_none=True)
    memory_bytes = fields.Integer(allow_none=True)
    load_seconds = fields.Float(allow_none=True)
    inputs = fields.List(fields.Nested(Tensor), allow_none=True)
    outputs = fields.List(fields.Nested(Tensor), allow_none=True)
    error = fields.String(allow_none=True)
    workers = fields.List(fields.Nested(WorkerReport))


class Model(Schema):
    """One model with its versions."""

    name = fields.String()
    title = fields.String()
    description = fields.String()
    licence = fields.String()
    homepage = fields.String()
    labels = fields.List(fields.String())
    default_version = fields.String(allow_none=True)
    versions = fields.List(fields.Nested(ModelVersion))
    error = fields.String(allow_none=True)


class ModelList(Schema):
    """Every model."""

    models = fields.List(fields.Nested(Model))


class ActionAnswer(Schema):
    """How far a load, unload, upload or delete has come."""

    id = fields.String()
    action = fields.String()
    model_name = fields.String()
    version = fields.String()
    sha256 = fields.String()
    state = fields.String()
    workers = fields.List(fields.Nested(WorkerReport))
    status_url = fields.String()


class ActionAnswers(Schema):
    """The same for every version that was meant."""

    state = fields.String()
    actions = fields.List(fields.Nested(ActionAnswer))
    status_url = fields.String(allow_none=True)


class WorkerVerification(Schema):
    """What one worker's golden check found; ok is null where no answer came in time.

    ratio is the largest difference to the allowed one.
    """

    worker = fields.String()
    pid = fields.Integer()
    backend = fields.String(allow_none=True)
    device = fields.String(allow_none=True)
    ok = fields.Boolean(allow_none=True)
    ratio = fields.Float(allow_none=True)
    detail = fields.String()


class Verification(Schema):
    """A golden check on every worker; ok says that each of them found its answer right."""

    model_name = fields.String()
    version = fields.String()
    ok = fields.Boolean()
    workers = fields.List(fields.Nested(WorkerVerification))


class Output(Schema):
    """One output; what is not a finite number is null in data and counted in non_finite."""

    shape = fields.List(fields.Integer())
    dtype = fields.String()
    data = fields.Raw()
    non_finite = fields.Integer()


class InferenceAnswer(Schema):
    """Outputs by name, and how they came about."""

    model_name = fields.String()
    version = fields.String()
    outputs = fields.Dict(keys=fields.String(), values=fields.Nested(Output))
    backend = fields.String()
    device = fields.String()
    queue_seconds = fields.Float()
    compute_seconds = fields.Float()
    request_id = fields.String()


class HealthWorkers(Schema):
    """How many workers there are, and how many of them serve."""

    alive = fields.Integer()
    serving = fields.Integer()
    expected = fields.Integer()


class HealthModels(Schema):
    """How many model versions are ready on every serving worker, loading or failed on any."""

    ready = fields.Integer()
    loading = fields.Integer()
    failed = fields.Integer()


class Health(Schema):
    """GET /health."""

    status = fields.String()
    version = fields.String()
    uptime_seconds = fields.Float()
    device = fields.String()
    workers = fields.Nested(HealthWorkers)
    models = fields.Nested(HealthModels)


class Readiness(Schema):
    """GET /health/ready when it is."""

    status = fields.String()
    reasons = fields.List(fields.String())


class Problem(Schema):
    """RFC 9457, and `error` for clients of the Open Inference Protocol."""

    class Meta:
        unknown = INCLUDE

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    error = fields.String()
    request_id = fields.String()
    workers = fields.List(fields.Nested(WorkerReport))


def checked(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """Validate what came in.

    Raises: InvalidInput that names every field that is wrong.
    """
    try:
        return dict(schema.load(values))
    except ValidationError as error:
        raise InvalidInput(_sentence(schema, error.messages_dict)) from error


def inference(body: bytes | memoryview, named: bool) -> tuple[dict[str, Any], Document]:
    """Read the JSON of an inference; its arrays stay unread until the model is known.

    Raises: InvalidRequest, InvalidInput.
    """
    if not bytes(body[:64]).strip() and not bytes(body).strip():
        raise InvalidRequest(
            'the body is empty; send {"model_name": "...", "input_data": [[...]]} as JSON'
        )
    document = Document(body)
    root = document.root
    if not isinstance(root, simdjson.Object):
        raise InvalidInput('the body must be a JSON object like {"model_name": …, "input_data": …}')
    values = once(root, "the body")
    if _as_usual(values, named):
        return values, document
    schema = NamedInferenceRequest() if named else InferenceRequest()
    return checked(schema, values), document


def _as_usual(values: dict[str, Any], named: bool) -> bool:
    """Complete a request that is right at a glance; the schema costs more than a small model."""
    if not values.keys() <= _USUAL or not isinstance(values.get("input_data"), simdjson.Array):
        return False
    name = values.get("model_name")
    expected = "model_name" in values or not named
    if expected and not (isinstance(name, str) and NAME.fullmatch(name)):
        return False
    values.update(model_name=name, version=None)
    return True


def once(element: Any, where: str) -> dict[str, Any]:
    """Give the members of a JSON object, whose lists stay unread.

    Raises: InvalidRequest if a name comes twice, since readers of JSON differ in which one counts.
    """
    values: dict[str, Any] = {}
    for key in element:
        if key in values:
            raise InvalidRequest(f"{where} has {key[:80]!r} more than once")
        if "\0" in key:  # simdjson could not look it up again
            raise InvalidRequest(f"{where} has a name with a NUL character, {key[:80]!r}")
        values[key] = element[key]
    return values


def output(array: Array) -> dict[str, Any]:
    """Describe one output; JSON has no infinities and no NaN, so they become null."""
    answer: dict[str, Any] = {"shape": list(array.shape), "dtype": dtype_name(array.dtype)}
    if array.dtype == object:
        texts = [bytes(item).decode("utf-8", "replace") for item in array.reshape(-1)]
        return {**answer, "dtype": "bytes", "data": _nested(texts, array.shape)}
    answer["data"] = np.ascontiguousarray(array) if array.ndim else array.item()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        wrong = array.size - int(np.isfinite(array).sum())
        answer["non_finite"] = wrong
        if not array.ndim:
            answer["data"] = None
    return answer


def _nested(texts: list[str], shape: tuple[int, ...]) -> Any:
    nested = np.empty(len(texts), dtype=object)
    nested[:] = texts
    return nested.reshape(shape).tolist()


def _sentence(schema: Schema, messages: Mapping[str, Any]) -> str:
    parts = []
    for name, problems in messages.items():
        text = " ".join(problems) if isinstance(problems, list) else str(problems)
        if text == "Unknown field.":
            text = f"is not known; known are {', '.join(schema.fields)}"
        parts.append(f"{name[:80]!r}: {text[:300]}")
    return "; ".join(parts)
