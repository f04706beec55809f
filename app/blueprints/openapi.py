"""GET /openapi.json: every route of the API, with bodies described by the marshmallow schemas."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Flask, Response, current_app
from marshmallow import fields

from app import schemas
from app.blueprints.errors import PROBLEM, STATUS
from app.blueprints.operations import BINARY, HEADERS, JSON, OPERATIONS, Operation
from app.blueprints.serving import serving
from app.errors import Overloaded, ServingError
from app.front.unreadable import STATUSES
from app.repository.names import NAME

blueprint = Blueprint("openapi", __name__)

_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
# Any worker may be without a thread, or memory, for one more; and nobody is without faults.
_EVERYWHERE = (Overloaded, ServingError)
_READS_AS_JSON = (
    "JSON is read without a Content-Type too, and as text/json, text/plain, any +json, or a form's."
)


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
                    "parameters": _parameters(operation, names),
                    "responses": _responses(operation),
                    **_body(operation),
                }
                for method in sorted(methods)
            },
        )
    made: dict[str, Any] = spec.to_dict()
    return made


def _parameters(operation: Operation, names: list[str]) -> list[Any]:
    made: list[Any] = [
        {
            "in": "path", "name": name, "required": True,
            "schema": {"type": "string", "pattern": f"^(?:{NAME.pattern})$"},
        }
        for name in names
    ]  # fmt: skip
    if operation.query:
        made.append({"in": "query", "schema": operation.query})
    headers = ("X-Request-Id", *operation.headers)
    return made + [{"in": "header", "name": name, **_header(name)} for name in headers]


def _header(name: str, **more: Any) -> dict[str, Any]:
    schema, text = HEADERS[name]
    return {"schema": schema, "description": text, **more}


def _body(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = dict.fromkeys(operation.raw, BINARY)
    if operation.body:
        content[JSON] = {"schema": operation.body}
    if operation.form:
        content["multipart/form-data"] = {"schema": schemas.ImageForm}
    if not content:
        return {}
    made = {"content": content, "required": operation.body_required}
    if operation.form:
        made["description"] = _READS_AS_JSON
    return {"requestBody": made}


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {key: {} for key in operation.answers}
    if operation.answer:
        shown: Any = operation.answer(many=True) if operation.many else operation.answer
        content[JSON] = {"schema": shown}
    made = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "headers": _sent(status, *operation.sends),
            "content": content,
        }
        for status in operation.statuses
    }
    return {**made, **_problems(operation)}


def _problems(operation: Operation) -> dict[str, Any]:
    said: dict[int, list[str]] = {status: [] for status in STATUSES}
    for error in (*operation.errors, *_EVERYWHERE):
        said.setdefault(STATUS[error], []).append((error.__doc__ or "").splitlines()[0])
    problem = {PROBLEM: {"schema": schemas.Problem}}
    return {
        str(status): {
            "description": " ".join(texts) or HTTPStatus(status).phrase,
            "headers": _sent(status),
            "content": problem,
        }
        for status, texts in sorted(said.items())
    }


def _sent(status: int, *more: str) -> dict[str, Any]:
    made = {name: _header(name) for name in more}
    made["X-Request-Id"] = _header("X-Request-Id", required=True)
    if status == HTTPStatus.ACCEPTED:
        made["Location"] = _header("Location", required=True)
    if status in (202, 429, 503):
        made["Retry-After"] = _header("Retry-After", required=True)
    return made


def _lists(self: Any, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
    """Describe the fields that are read outside of marshmallow: nested lists, and files."""
    if isinstance(field, schemas.Lists):
        return {"type": ["array", "object", "number"]}
    if isinstance(field, schemas.Picture):
        return {"type": "string", "format": "binary"}
    return {}
