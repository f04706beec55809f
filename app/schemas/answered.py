"""What goes out."""

from __future__ import annotations

from typing import Any

import numpy as np
from marshmallow import EXCLUDE, INCLUDE, Schema, fields

from app.tensors import Array, dtype_name, pairs


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


def output(array: Array) -> dict[str, Any]:
    """Describe one output; JSON has no infinities and no NaN, so they become null.

    Shapes: data is nested like shape; complex numbers are pairs, one level deeper.
    """
    answer: dict[str, Any] = {"shape": list(array.shape), "dtype": dtype_name(array.dtype)}
    if array.dtype == object:
        texts = [bytes(item).decode("utf-8", "replace") for item in array.reshape(-1)]
        return {**answer, "dtype": "bytes", "data": _nested(texts, array.shape)}
    if array.dtype.kind == "c":
        array = pairs(array)
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
