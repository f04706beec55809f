"""What the blueprints need of this worker, found through the Flask app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask, Response, current_app
from marshmallow import Schema

from app.predictor.predictor import Predictor
from app.repository.checkup import Checkup
from app.repository.models import Models
from app.settings import Settings
from app.wire.totals import Totals

EXTENSION = "rx580"


@dataclass(frozen=True, slots=True)
class Serving:
    """The parts of one worker's server."""

    settings: Settings
    models: Models
    predictor: Predictor
    totals: Totals
    checkup: Checkup
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


def json_answer(schema: Schema, values: Any, status: int = 200) -> Response:
    """Write an answer through its schema; arrays are written as they lie in memory."""
    body = orjson.dumps(schema.dump(values), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, content_type="application/json")
