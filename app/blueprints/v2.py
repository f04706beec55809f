"""The Open Inference Protocol (KServe V2, as Triton speaks it over REST)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Blueprint, Response, g, request

from app.batching.policy import batchable
from app.blueprints.errors import answer as problem_answer
from app.blueprints.health import state
from app.blueprints.models import settled
from app.blueprints.requests import terms_of
from app.blueprints.serving import Sent, Serving, json_object, serving
from app.errors import InvalidRequest
from app.front.body import Buffer
from app.repository.manifest import VersionPolicy
from app.repository.names import Key
from app.repository.served import Loaded
from app.repository.standing import Version
from app.tensors import Array
from app.wire import describe, response
from app.wire.body import answer_coding, decoded, encoded
from app.wire.request import InferRequest, parse

blueprint = Blueprint("v2", __name__, url_prefix="/v2")

NAME = "rx580-inference"
PLATFORM = "tensorflow_lite"
# Rows that a configuration promises to take in one request; the body's size is the real bound.
ROWS = 128
_STATES = {"ready": "READY", "loading": "LOADING", "failed": "UNAVAILABLE"}


@blueprint.get("", strict_slashes=False)
def server() -> Response:
    """Describe the server."""
    return _json(describe.server(NAME, serving().version))


@blueprint.get("/health/live")
def live() -> Response:
    """Say that this worker answers."""
    return _json({"live": True})


@blueprint.get("/health/ready")
def ready() -> Response:
    """Say whether every worker has carried out what it should."""
    here = serving()
    reasons = here.models.not_ready(here.settings.workers)
    if not reasons:
        return _json({"ready": True})
    refusal = problem_answer(
        503, "not_ready", "; ".join(reasons), {"ready": False, "reasons": reasons}
    )
    refusal.headers["Retry-After"] = "1"
    return refusal


@blueprint.get("/models/<name>")
@blueprint.get("/models/<name>/versions/<version>")
def model(name: str, version: str | None = None) -> Response:
    """Describe a model's tensors."""
    loaded = _found(name, version)
    session = loaded.session
    return _json(
        describe.metadata(
            name,
            [loaded.key.version] if version else serving().predictor.versions(name),
            PLATFORM,
            session.inputs,
            session.outputs,
            batchable(session),
        )
    )


@blueprint.get("/models/<name>/ready")
@blueprint.get("/models/<name>/versions/<version>/ready")
def model_ready(name: str, version: str | None = None) -> Response:
    """Say whether a model can be asked here; its own state, whatever becomes of others."""
    key = serving().predictor.ready(name, version)
    return _json({"name": name, "version": key.version, "ready": True})


@blueprint.get("/models/<name>/config")
@blueprint.get("/models/<name>/versions/<version>/config")
def config(name: str, version: str | None = None) -> Response:
    """Describe a model's configuration in Triton's names."""
    loaded = _found(name, version)
    session, policy = loaded.session, loaded.policy
    rows = ROWS if batchable(session) else 0
    return _json(
        describe.config(
            name,
            PLATFORM,
            session.backend,
            session.inputs,
            session.outputs,
            describe.BatchingConfig(
                max(rows, policy.max_batch) if rows else 0,
                policy.preferred,
                policy.max_delay,
                joined=policy.max_batch > 1,
            ),
            _version_policy(loaded),
            session.concurrency,
        )
    )


@blueprint.get("/models/stats")
@blueprint.get("/models/<name>/stats")
@blueprint.get("/models/<name>/versions/<version>/stats")
def stats(name: str | None = None, version: str | None = None) -> Response:
    """Say what all workers together have done with a model since the server started."""
    here = serving()
    meant = here.predictor.find(name, version).key if name is not None else None
    chosen = [
        (loaded.key, loaded.meter.last)
        for loaded in here.predictor.loaded()
        if meant is None or loaded.key == meant or (not version and loaded.key.name == name)
    ]
    return _json(describe.statistics(here.totals.of(chosen)))


@blueprint.post("/models/<name>/infer")
@blueprint.post("/models/<name>/versions/<version>/infer")
def infer(name: str, version: str | None = None) -> Response:
    """Run a model on tensors that come as JSON or as bytes."""
    g.facts = {"model": name[:64], "version": version}
    sent, g.facts = answer(
        serving(), request.get_data(), request.environ, float(g.started), g.request_id,
        name, version,
    )  # fmt: skip
    made = Response(sent.body, content_type=sent.content_type)
    if sent.coding:
        made.headers["Content-Encoding"] = sent.coding
    if sent.header_length is not None:
        made.headers[response.HEADER_LENGTH] = str(sent.header_length)
    return made


def answer(
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
    assert name is not None
    limit = here.settings.max_body_bytes
    body = decoded(body, environ.get("HTTP_CONTENT_ENCODING"), limit)
    asked = parse(body, environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"))
    agreed = terms_of(
        environ, started, here.settings.request_timeout_s, asked.timeout, asked.priority
    )
    result = here.predictor.predict(name, version, lambda loaded: _inputs(asked, loaded), agreed)
    made = response.encode(asked, result.model, result.version, result.outputs, result.labels)
    coding = answer_coding(environ.get("HTTP_ACCEPT_ENCODING"))
    content = encoded(made.body, coding) if coding else made.body
    return Sent(content, made.content_type, coding, made.header_length), result.facts()


@blueprint.post("/repository/index")
def index() -> Response:
    """List every version of every model with its state."""
    only_ready = json_object().get("ready", False)
    if not isinstance(only_ready, bool):
        raise InvalidRequest('"ready" must be true or false')
    rows = [_index_entry(version) for version in serving().models.versions()]
    return _json([row for row in rows if row["state"] == "READY" or not only_ready])


@blueprint.post("/repository/models/<name>/load")
def load(name: str) -> Response:
    """Load the newest version of a model; answer when every worker serves it."""
    given = json_object().get("parameters") or {}
    if not isinstance(given, dict) or given:
        raise InvalidRequest(
            "a load takes no parameters here: a configuration is written in model.yaml, and files "
            "are sent with PUT /models/<name>/versions/<version>"
        )
    return settled(serving().models.load(name, None))


@blueprint.post("/repository/models/<name>/unload")
def unload(name: str) -> Response:
    """Unload all versions of a model; answer when no worker serves them."""
    json_object()
    return settled(serving().models.unload(name, None))


def _found(name: str, version: str | None) -> Loaded:
    """Find a model for a client that asks about it before it sends; an idle one comes back."""
    here = serving()
    return here.predictor.find(name, version, float(g.started) + here.settings.request_timeout_s)


def _inputs(asked: InferRequest, loaded: Loaded) -> Mapping[str, Array]:
    """Look for unknown outputs before anything is computed."""
    known = {spec.name for spec in loaded.session.outputs}
    for wanted in asked.outputs or ():
        if wanted.name not in known:
            raise InvalidRequest(
                f"the model has no output {wanted.name[:80]!r}; it has {', '.join(sorted(known))}"
            )
    return asked.inputs


def _json(values: Any) -> Response:
    return Response(orjson.dumps(values), content_type="application/json")


def _version_policy(loaded: Loaded) -> dict[str, Any]:
    policy = loaded.described.manifest.version_policy or VersionPolicy()
    if policy.specific:
        return {"specific": {"versions": list(policy.specific)}}
    return {"latest": {"num_versions": policy.latest}} if policy.latest else {"all": {}}


def _index_entry(version: Version) -> dict[str, str]:
    key: Key = version.wish.key
    word = state(version)
    errors = [r.error for _, r in version.reports if r and r.error and word == "failed"]
    unloaded = version.wish.rest or "unloaded" if word == "unloaded" else ""
    reason = errors[0] if errors else unloaded
    return describe.index_entry(
        key.name, key.version, _STATES.get(word, "UNAVAILABLE"), str(reason)
    )
