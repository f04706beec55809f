"""What the blueprints need of this worker, found through the Flask app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import simdjson
from flask import Flask, Response, current_app, request
from marshmallow import Schema
from werkzeug.datastructures import MultiDict

from app import schemas
from app.errors import InvalidInput, InvalidRequest
from app.pixels import PixelBudget
from app.predictor.predictor import Predictor
from app.repository.checkup import Checkup
from app.repository.models import Models
from app.settings import Settings
from app.wire.body import decoded
from app.wire.lists import Document
from app.wire.totals import Totals

EXTENSION = "rx580"


@dataclass(frozen=True, slots=True)
class Serving:
    """The parts of one worker's server.

    Units: started in time.monotonic() seconds.
    """

    settings: Settings
    models: Models
    predictor: Predictor
    totals: Totals
    checkup: Checkup
    pixels: PixelBudget
    version: str
    started: float


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer's body and what its headers say of it."""

    body: bytes
    content_type: str = "application/json"
    coding: str | None = None
    header_length: int | None = None


def init_app(app: Flask, serving: Serving) -> None:
    """Keep the parts where requests find them."""
    app.extensions[EXTENSION] = serving


def serving() -> Serving:
    """Give the parts to a request."""
    found: Serving = current_app.extensions[EXTENSION]
    return found


def queried(schema: Schema, also: MultiDict[str, str] | None = None) -> dict[str, Any]:
    """Read the query, and a form's fields beside it.

    Raises: InvalidInput that names what is wrong, also what is said twice in different words.
    """
    said = MultiDict(request.args)
    said.update(also or {})
    for name, values in said.lists():
        if len(set(values)) > 1:
            raise InvalidInput(f"{name[:80]!r} is given more than once, and not the same")
    return schemas.checked(schema, said.to_dict())


def json_object() -> dict[str, Any]:
    """Read a body that is a JSON object, or empty where there is nothing to say.

    Raises: InvalidRequest, also for names that come twice.
    """
    coding = request.headers.get("Content-Encoding")
    body = bytes(decoded(request.get_data(), coding, serving().settings.max_body_bytes))
    if not body.strip():
        return {}
    root = Document(body).root
    if not isinstance(root, simdjson.Object):
        raise InvalidRequest("the body must be empty or a JSON object")
    schemas.once(root, "the body")
    return dict(root.as_dict())


def json_answer(schema: Schema, values: Any, status: int = 200) -> Response:
    """Write an answer through its schema; arrays are written as they lie in memory."""
    body = orjson.dumps(schema.dump(values), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, content_type="application/json")
