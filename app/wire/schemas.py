"""The Open Inference Protocol's bodies as schemas, for the description of the API.

The bodies themselves are read by request.py and written by response.py, which check them without
making a Python object of every number.
"""

from __future__ import annotations

from marshmallow import INCLUDE, Schema, fields, validate

from app.wire.dtypes import BY_WIRE

DATATYPE = validate.OneOf(list(BY_WIRE))


class TensorIn(Schema):
    """One input: data nested like its shape or flat, or binary_data_size bytes behind the JSON."""

    class Meta:
        unknown = INCLUDE

    name = fields.String(required=True, validate=validate.Length(min=1))
    shape = fields.List(
        fields.Integer(validate=validate.Range(min=0)),
        required=True,
        validate=validate.Length(max=32),
    )
    datatype = fields.String(required=True, validate=DATATYPE)
    data = fields.List(fields.Raw())
    parameters = fields.Dict(keys=fields.String())


class OutputWanted(Schema):
    """One output asked for: parameters binary_data and classification."""

    class Meta:
        unknown = INCLUDE

    name = fields.String(required=True, validate=validate.Length(min=1))
    parameters = fields.Dict(keys=fields.String())


class InferBody(Schema):
    """POST /v2/models/{name}/infer."""

    class Meta:
        unknown = INCLUDE

    id = fields.String()
    inputs = fields.List(
        fields.Nested(TensorIn), required=True, validate=validate.Length(min=1)
    )
    outputs = fields.List(fields.Nested(OutputWanted))
    parameters = fields.Dict(keys=fields.String())


class TensorOut(Schema):
    """One output: data is flat, row-major."""

    name = fields.String(required=True)
    datatype = fields.String(required=True, validate=DATATYPE)
    shape = fields.List(fields.Integer(), required=True)
    data = fields.List(fields.Raw(allow_none=True))
    parameters = fields.Dict(keys=fields.String())


class InferAnswer(Schema):
    """What an inference gives."""

    model_name = fields.String(required=True)
    model_version = fields.String(required=True)
    id = fields.String()
    parameters = fields.Dict(keys=fields.String())
    outputs = fields.List(fields.Nested(TensorOut), required=True)


class ServerMetadata(Schema):
    """GET /v2."""

    name = fields.String(required=True)
    version = fields.String(required=True)
    extensions = fields.List(fields.String(), required=True)


class TensorMetadata(Schema):
    """Name, type and shape of a tensor; -1 is a dimension that the caller chooses."""

    name = fields.String(required=True)
    datatype = fields.String(required=True, validate=DATATYPE)
    shape = fields.List(fields.Integer(), required=True)


class ModelMetadata(Schema):
    """GET /v2/models/{name}."""

    name = fields.String(required=True)
    versions = fields.List(fields.String(), required=True)
    platform = fields.String(required=True)
    inputs = fields.List(fields.Nested(TensorMetadata), required=True)
    outputs = fields.List(fields.Nested(TensorMetadata), required=True)


class Live(Schema):
    """GET /v2/health/live."""

    live = fields.Boolean(required=True)


class Ready(Schema):
    """GET /v2/health/ready."""

    ready = fields.Boolean(required=True)


class ModelReady(Schema):
    """GET /v2/models/{name}/ready."""

    name = fields.String(required=True)
    version = fields.String(required=True)
    ready = fields.Boolean(required=True)


class ModelConfig(Schema):
    """GET /v2/models/{name}/config, in the names of Triton's ModelConfig."""

    name = fields.String(required=True)
    platform = fields.String(required=True)
    backend = fields.String(required=True)
    max_batch_size = fields.Integer(required=True)
    input = fields.List(fields.Dict(), required=True)
    output = fields.List(fields.Dict(), required=True)
    version_policy = fields.Dict(required=True)
    dynamic_batching = fields.Dict()
    instance_group = fields.List(fields.Dict())
    default_model_filename = fields.String()
    parameters = fields.Dict()


class ModelStatistics(Schema):
    """GET /v2/models/{name}/stats, over all workers."""

    model_stats = fields.List(fields.Dict(), required=True)


class IndexQuery(Schema):
    """POST /v2/repository/index; the body may be empty."""

    class Meta:
        unknown = INCLUDE

    ready = fields.Boolean(truthy={True}, falsy={False})


class IndexEntry(Schema):
    """One version of a model in the repository."""

    name = fields.String(required=True)
    version = fields.String(required=True)
    state = fields.String(required=True)
    reason = fields.String(required=True)


class RepositoryCommand(Schema):
    """A load or unload; the body may be empty."""

    class Meta:
        unknown = INCLUDE

    parameters = fields.Dict(keys=fields.String())
