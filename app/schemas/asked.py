"""What comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import simdjson
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from app.errors import InvalidInput, InvalidRequest
from app.repository.manifest import BACKENDS
from app.repository.names import NAME
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


class Aside(Schema):
    """What is said beside a body: in the query, or in the other fields of a form."""

    class Meta:
        unknown = RAISE

    model_name = fields.String(load_default=None, validate=NAME_RULE)
    version = VersionText(load_default=None, validate=NAME_RULE)


class Picture(fields.Field[Any]):
    """A file of a form; its name does not matter, and several are a batch."""


class ImageForm(Aside):
    """A form with pictures."""

    image = Picture(required=True)


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


def _sentence(schema: Schema, messages: Mapping[str, Any]) -> str:
    parts = []
    for name, problems in messages.items():
        text = " ".join(problems) if isinstance(problems, list) else str(problems)
        if text == "Unknown field.":
            text = f"is not known; known are {', '.join(schema.fields)}"
        parts.append(f"{name[:80]!r}: {text[:300]}")
    return "; ".join(parts)
