"""POST /inference and POST /models/<name>/infer: JSON lists, or images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import simdjson
from flask import Blueprint, Response, g, request

from app import schemas
from app.backends.fit import wanted
from app.blueprints.requests import terms
from app.blueprints.serving import serving
from app.errors import InvalidInput, InvalidRequest, UnsupportedMedia
from app.images import image_input, tensor
from app.predictor.predictor import Decode, Prediction
from app.repository.served import Loaded
from app.tensors import Array
from app.wire.body import decoded
from app.wire.lists import Document

blueprint = Blueprint("inference", __name__)

# curl -d and bare clients name no type, or a form's, for what is JSON.
JSON_TYPES = frozenset(
    ("", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded")
)
IMAGE_TYPES = frozenset(("image/jpeg", "image/jpg", "image/png"))

Meant = tuple[str | None, str | None, Decode]


@blueprint.post("/inference")
def inference() -> Response:
    """Run the model that the request names."""
    name, version, decode = _read(named=False)
    if name is None:
        raise InvalidInput("'model_name': Missing data for required field.")
    return _answer(name, version, decode)


@blueprint.post("/models/<name>/infer")
@blueprint.post("/models/<name>/versions/<version>/infer")
def infer(name: str, version: str | None = None) -> Response:
    """Run the model in the path."""
    other, chosen, decode = _read(named=True)
    if other not in (None, name) or (version and chosen not in (None, version)):
        raise InvalidInput(f"the path says {name!r} and the request {other!r} {chosen or ''}")
    return _answer(name, version or chosen, decode)


def _read(named: bool) -> Meant:
    kind = request.mimetype
    if kind in JSON_TYPES or kind.endswith("+json"):
        return _read_json(named)
    if kind in IMAGE_TYPES:
        given = schemas.checked(schemas.ImageForm(), request.args)
        return given["model_name"], given["version"], _image_decoder([_body()])
    if kind == "multipart/form-data":
        return _read_form()
    raise UnsupportedMedia(
        f"Content-Type {kind[:80]!r} is not read here; allowed are application/json, "
        "multipart/form-data with an image file, image/jpeg and image/png"
    )


def _body() -> bytes:
    limit = serving().settings.max_body_bytes
    return decoded(request.get_data(cache=False), request.headers.get("Content-Encoding"), limit)


def _read_json(named: bool) -> Meant:
    values, document = schemas.inference(_body(), named)
    data = values["input_data"]
    return values["model_name"], values["version"], lambda m: _arrays(m, document, data)


def _read_form() -> Meant:
    files = [file.read() for _, file in request.files.items(multi=True)]
    if not files:
        raise InvalidRequest("the form has no file; send one like -F image=@photo.jpg")
    given = schemas.checked(schemas.ImageForm(), {**request.args, **request.form})
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
        how = here.models.manifest(loaded.key.name).preprocessing
        spec = image_input(loaded.session.inputs, how)
        return {spec.name: tensor(files, spec, how, here.settings.max_image_megapixels)}

    return decode


def _answer(name: str, version: str | None, decode: Decode) -> Response:
    here = serving()
    agreed = terms(here.settings.request_timeout_s)
    g.facts = {"model": name[:64], "version": version}
    result = here.predictor.predict(name, version, decode, agreed)
    g.facts = {
        "model": result.model,
        "version": result.version,
        "queue_ms": round(result.queue_seconds * 1e3, 3),
        "compute_ms": round(result.compute_seconds * 1e3, 3),
    }
    values = schemas.InferenceAnswer().dump(_plain(result))
    body = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, content_type="application/json")


def _plain(result: Prediction) -> dict[str, Any]:
    return {
        "model_name": result.model,
        "version": result.version,
        "outputs": {name: schemas.output(array) for name, array in result.outputs.items()},
        "backend": result.backend,
        "device": result.device,
        "queue_seconds": result.queue_seconds,
        "compute_seconds": result.compute_seconds,
        "request_id": g.request_id,
    }
