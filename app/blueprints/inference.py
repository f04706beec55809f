"""POST /inference and POST /models/<name>/infer: JSON lists, or images."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import orjson
import simdjson
from flask import Blueprint, Response, g, request

from app import schemas
from app.backends.fit import wanted
from app.blueprints.requests import terms, terms_of
from app.blueprints.serving import Sent, Serving, queried, serving
from app.errors import DeadlineExceeded, InvalidInput, InvalidRequest, UnsupportedMedia
from app.front.body import Buffer
from app.images import image_input, tensor
from app.predictor.predictor import Decode, Prediction, Terms
from app.repository.names import NAME
from app.repository.served import Loaded
from app.tensors import Array
from app.wire.body import decoded
from app.wire.lists import Document

blueprint = Blueprint("inference", __name__)

# curl -d and bare clients name no type, or a form's, for what is JSON; aiohttp calls it bytes.
JSON_TYPES = frozenset((
    "", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded",
    "application/octet-stream",
))  # fmt: skip
IMAGE_TYPES = frozenset(("image/jpeg", "image/jpg", "image/png"))

_NO_JSON = {
    b"\x89PNG": "a PNG, and no type says so; send it with Content-Type: image/png",
    b"\xff\xd8\xff": "a JPEG, and no type says so; send it with Content-Type: image/jpeg",
    b"\x1f\x8b": "compressed, and no field says so; send it with Content-Encoding: gzip",
}

# A model's name as the first member of the body, where JSON has no other reading of it.
_GLIMPSE = re.compile(rb'\s*\{\s*"model_name"\s*:\s*"(%b)"' % NAME.pattern.encode())
_GLIMPSE_BYTES = 256

Meant = tuple[str | None, str | None, Decode]


@blueprint.post("/inference")
def inference() -> Response:
    """Run the model that the request names."""
    return _infer(None, None)


@blueprint.post("/models/<name>/infer")
@blueprint.post("/models/<name>/versions/<version>/infer")
def infer(name: str, version: str | None = None) -> Response:
    """Run the model in the path."""
    return _infer(name, version)


def is_json(content_type: str | None) -> bool:
    """Tell whether a body is read as JSON."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in JSON_TYPES or kind.endswith("+json")


def glimpse(body: Buffer) -> str | None:
    """Find the model's name without reading the body; None if it does not come first."""
    found = _GLIMPSE.match(body[:_GLIMPSE_BYTES])
    return found[1].decode("ascii") if found else None


def answer_json(
    here: Serving,
    body: Buffer,
    environ: Mapping[str, Any],
    started: float,
    request_id: str,
    name: str | None,
    version: str | None,
) -> tuple[Sent, dict[str, object]]:
    """Decode, run and encode one inference; gives the answer and what the log says of it.

    Units:  started in time.monotonic() seconds; environ is the request's, of WSGI.
    Raises: ServingError.
    """
    coding = environ.get("HTTP_CONTENT_ENCODING")
    meant = _read_json(decoded(body, coding, here.settings.max_body_bytes), name is not None)
    return _answer(here, _agreed(meant, name, version), environ, started, request_id)


def _infer(name: str | None, version: str | None) -> Response:
    here = serving()
    g.facts = {"model": name and name[:64], "version": version}
    meant = _agreed(_read(name is not None), name, version)
    sent, g.facts = _answer(here, meant, request.environ, float(g.started), g.request_id)
    return Response(sent.body, content_type=sent.content_type)


def _agreed(meant: Meant, name: str | None, version: str | None) -> Meant:
    """Put what the path says and what the body says together."""
    other, chosen, decode = meant
    if name is None:
        if other is None:
            raise InvalidInput("'model_name': Missing data for required field.")
        return meant
    if other not in (None, name) or (version and chosen not in (None, version)):
        said = " ".join(repr(part) for part in (other, chosen) if part)
        raise InvalidInput(f"the path says {name!r} {version or ''} and the request {said}")
    return name, version or chosen, decode


def _read(named: bool) -> Meant:
    kind = request.mimetype
    if is_json(kind):
        return _queried(_read_json(_body(), named or "model_name" in request.args))
    if kind in IMAGE_TYPES:
        given = queried(schemas.Aside())
        return given["model_name"], given["version"], _image_decoder([_body()])
    if kind == "multipart/form-data":
        return _read_form()
    raise UnsupportedMedia(
        f"Content-Type {kind[:80]!r} is not read here; allowed are application/json, "
        "multipart/form-data with an image file, image/jpeg and image/png"
    )


def _body() -> bytes:
    limit = serving().settings.max_body_bytes
    coding = request.headers.get("Content-Encoding")
    return bytes(decoded(request.get_data(cache=False), coding, limit))


def _read_json(body: Buffer, named: bool) -> Meant:
    # No JSON begins so.
    for beginning, what in _NO_JSON.items():
        if body[: len(beginning)] == beginning:
            raise InvalidRequest(f"the body is {what}")
    values, document = schemas.inference(body, named)
    data = values["input_data"]
    return values["model_name"], values["version"], lambda m: _arrays(m, document, data)


def _queried(meant: Meant) -> Meant:
    """Take what the query says in as well: what it names shall not be passed over."""
    given = queried(schemas.Aside())
    name, version, decode = meant
    for said, asked in ((name, given["model_name"]), (version, given["version"])):
        if None not in (said, asked) and said != asked:
            raise InvalidInput(f"the query says {asked!r} and the body {said!r}")
    return name or given["model_name"], version or given["version"], decode


def _read_form() -> Meant:
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedMedia(
            f"a form is not read with Content-Encoding {coding!r:.60}; send it as it is: "
            "pictures are compressed by themselves"
        )
    files = [file.read() for _, file in request.files.items(multi=True)]
    if not files:
        raise InvalidRequest("the form has no file; send one like -F image=@photo.jpg")
    given = queried(schemas.Aside(), request.form)
    return given["model_name"], given["version"], _image_decoder(files)


def _arrays(loaded: Loaded, document: Document, data: Any) -> Mapping[str, Array]:
    session = loaded.session
    if isinstance(data, simdjson.Object):
        given = schemas.once(data, '"input_data"')
    elif len(session.inputs) == 1:
        given = {session.inputs[0].name: data}
    else:
        names = ", ".join(f"{spec.name!r}: {wanted(spec)}" for spec in session.inputs)
        raise InvalidInput(
            f'this model has {len(session.inputs)} inputs; send "input_data" as an object '
            f"with each of them by name: {names}"
        )
    dtypes = {spec.name: spec.dtype for spec in session.inputs}
    return {
        name: document.array(element, dtypes.get(name, "float64"), name)
        for name, element in given.items()
    }


def _image_decoder(files: list[bytes]) -> Decode:
    here = serving()

    def decode(loaded: Loaded) -> Mapping[str, Array]:
        how = loaded.described.manifest.preprocessing
        spec = image_input(loaded.session.inputs)
        agreed = terms(here.settings.request_timeout_s)

        def turn(pixels: int) -> AbstractContextManager[None]:
            _drop_late(loaded, agreed)
            return here.pixels.hold(pixels, agreed.deadline)

        return {spec.name: tensor(files, spec, how, here.settings.max_image_megapixels, turn)}

    return decode


def _drop_late(loaded: Loaded, agreed: Terms) -> None:
    """Decode no more for a caller that has gone, or whose time is up."""
    if time.monotonic() >= agreed.deadline:
        loaded.meter.dropped("deadline")
        raise DeadlineExceeded("the time was up before all pictures were decoded")
    if agreed.alive is not None and not agreed.alive():
        loaded.meter.dropped("hangup")
        raise DeadlineExceeded("dropped before all pictures were decoded: hangup")


def _answer(
    here: Serving, meant: Meant, environ: Mapping[str, Any], started: float, request_id: str
) -> tuple[Sent, dict[str, object]]:
    name, version, decode = meant
    assert name is not None
    agreed = terms_of(environ, started, here.settings.request_timeout_s)
    result = here.predictor.predict(name, version, decode, agreed)
    values = _plain(result, request_id)
    return Sent(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)), result.facts()


def _plain(result: Prediction, request_id: str) -> dict[str, Any]:
    """Write schemas.InferenceAnswer by hand: marshmallow takes longer over it than a small model.

    A test holds the two to each other.
    """
    return {
        "model_name": result.model,
        "version": result.version,
        "outputs": {name: schemas.output(array) for name, array in result.outputs.items()},
        "backend": result.backend,
        "device": result.device,
        "queue_seconds": result.queue_seconds,
        "compute_seconds": result.compute_seconds,
        "request_id": request_id,
    }
