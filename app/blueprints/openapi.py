"""GET /openapi.json: every route of the API, with bodies described by the marshmallow schemas."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Flask, Response, current_app
from marshmallow import Schema, fields

from app import schemas
from app.blueprints.serving import serving
from app.repository.names import NAME
from app.wire import schemas as v2

blueprint = Blueprint("openapi", __name__)

PROBLEM = "application/problem+json"
JSON = "application/json"
IMAGES = ("image/jpeg", "image/png")
BINARY = {"schema": {"type": "string", "format": "binary"}}
_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


@dataclass(frozen=True, slots=True)
class Operation:
    """What goes into and comes out of one route, beyond its docstring.

    raw: media types whose bodies are bytes; text: the answer is no JSON.
    """

    answer: type[Schema] | None = None
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    statuses: tuple[int, ...] = (200,)
    raw: tuple[str, ...] = ()
    many: bool = False
    body_required: bool = True


_CHANGE = Operation(
    schemas.ActionAnswers, schemas.VersionChoice, statuses=(200, 202), body_required=False
)
_V2_CHANGE = Operation(
    schemas.ActionAnswers, v2.RepositoryCommand, statuses=(200, 202), body_required=False
)
# By endpoint; a test compares with the routes that there are.
OPERATIONS: dict[str, Operation] = {
    "health.health": Operation(schemas.Health),
    "health.live": Operation(schemas.Readiness),
    "health.ready": Operation(schemas.Readiness),
    "models.models": Operation(schemas.ModelList),
    "models.model": Operation(schemas.Model),
    "models.model_version": Operation(schemas.ModelVersion),
    "models.put": Operation(
        schemas.ActionAnswers,
        query=schemas.UploadOptions,
        statuses=(200, 202),
        raw=("application/octet-stream",),
    ),
    "models.delete": Operation(schemas.ActionAnswers, statuses=(200, 202)),
    "models.load": _CHANGE,
    "models.unload": _CHANGE,
    "models.verify": Operation(schemas.Verification),
    "models.action": Operation(schemas.ActionAnswer),
    "inference.inference": Operation(schemas.InferenceAnswer, schemas.InferenceRequest),
    "inference.infer": Operation(
        schemas.InferenceAnswer, schemas.NamedInferenceRequest, raw=IMAGES
    ),
    "v2.server": Operation(v2.ServerMetadata),
    "v2.live": Operation(v2.Live),
    "v2.ready": Operation(v2.Ready),
    "v2.model": Operation(v2.ModelMetadata),
    "v2.model_ready": Operation(v2.ModelReady),
    "v2.config": Operation(v2.ModelConfig),
    "v2.stats": Operation(v2.ModelStatistics),
    "v2.infer": Operation(v2.InferAnswer, v2.InferBody, raw=("application/octet-stream",)),
    "v2.index": Operation(v2.IndexEntry, v2.IndexQuery, many=True, body_required=False),
    "v2.load": _V2_CHANGE,
    "v2.unload": _V2_CHANGE,
    "openapi.document": Operation(),
    "prometheus_metrics": Operation(),
}


@blueprint.get("/openapi.json")
def document() -> Response:
    """Describe this API as OpenAPI 3.1."""
    made = describe(current_app._get_current_object(), serving().version)  # type: ignore[attr-defined]
    return Response(orjson.dumps(made), content_type=JSON)


def describe(app: Flask, version: str) -> dict[str, Any]:
    """Make the document of an app's routes."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        "rx580-inference", version, "3.1.0", plugins=[plugin],
        info={"description": "TFLite models on the AMD Radeon RX 580, over REST."},
    )  # fmt: skip
    assert plugin.converter is not None
    plugin.converter.add_attribute_function(_lists)  # type: ignore[no-untyped-call]
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        operation = OPERATIONS[rule.endpoint]
        view = app.view_functions[rule.endpoint]
        summary = (view.__doc__ or rule.endpoint).strip().splitlines()[0]
        names = [match.group(1) for match in _PARAMETER.finditer(rule.rule)]
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        spec.path(
            path=_PARAMETER.sub(r"{\1}", rule.rule),
            operations={
                method.lower(): {
                    "operationId": f"{rule.endpoint}{len(names)}",
                    "summary": summary,
                    "tags": [rule.endpoint.split(".")[0]],
                    **_content(operation, names),
                }
                for method in sorted(methods)
            },
        )
    made: dict[str, Any] = spec.to_dict()
    return made


def _content(operation: Operation, names: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"responses": _responses(operation)}
    parameters: list[Any] = [
        {
            "in": "path", "name": name, "required": True,
            "schema": {"type": "string", "pattern": f"^(?:{NAME.pattern})$"},
        }
        for name in names
    ]  # fmt: skip
    if operation.query:
        parameters.append({"in": "query", "schema": operation.query})
    if parameters:
        made["parameters"] = parameters
    content: dict[str, Any] = dict.fromkeys(operation.raw, BINARY)
    if operation.body:
        content[JSON] = {"schema": operation.body}
    if content:
        made["requestBody"] = {"content": content, "required": operation.body_required}
    return made


def _responses(operation: Operation) -> dict[str, Any]:
    problem = {"description": "A problem", "content": {PROBLEM: {"schema": schemas.Problem}}}
    answer: dict[str, Any] = {"description": "The answer"}
    if operation.answer:
        shown: Any = operation.answer(many=True) if operation.many else operation.answer
        answer["content"] = {JSON: {"schema": shown}}
    good = {str(status): answer for status in operation.statuses}
    return {**good, "4XX": problem, "5XX": problem}


def _lists(self: Any, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
    """Describe the one field whose lists are read outside of marshmallow."""
    if not isinstance(field, schemas.Lists):
        return {}
    return {"type": ["array", "object", "number"]}
