"""The model registry: list, load, unload, upload and delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, request, url_for

from app import schemas
from app.blueprints.errors import answer
from app.blueprints.health import state
from app.blueprints.serving import json_answer, json_object, queried, serving
from app.errors import (
    DeviceMemoryError,
    InvalidInput,
    InvalidModel,
    InvalidRequest,
    ModelLoadFailed,
    ModelMisdescribed,
    UnsupportedMedia,
    UnsupportedOp,
)
from app.repository.names import Key, checked
from app.repository.records import Action
from app.repository.standing import Outcome, Version

blueprint = Blueprint("models", __name__)

_AT_FAULT = {error.code for error in (InvalidModel, UnsupportedOp, ModelMisdescribed)}
# The status of the whole: the first of these that any of its actions has.
_STATUS = {"failed": 503, "superseded": 409, "pending": 202, "done": 200}


@blueprint.get("/models")
def models() -> Response:
    """List every model and version."""
    grouped: dict[str, list[Version]] = {}
    for version in serving().models.versions():
        grouped.setdefault(version.wish.key.name, []).append(version)
    listed = [_model(name, versions) for name, versions in grouped.items()]
    return json_answer(schemas.ModelList(), {"models": listed})


@blueprint.get("/models/<name>")
def model(name: str) -> Response:
    """Describe one model."""
    return json_answer(schemas.Model(), _model(name, serving().models.versions(name)))


@blueprint.get("/models/<name>/versions/<version>")
def model_version(name: str, version: str) -> Response:
    """Describe one version."""
    found = serving().models.version(Key(name, version))
    return json_answer(schemas.ModelVersion(), _version(found))


@blueprint.put("/models/<name>/versions/<version>")
def put(name: str, version: str) -> Response:
    """Take a .tflite; answer when every worker serves it."""
    here = serving()
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("a model is sent as it is; leave Content-Encoding away")
    if "Content-Range" in request.headers:
        raise InvalidRequest("a model is sent whole: an upload that broke off begins anew")
    given = queried(schemas.UploadOptions())
    header = request.headers.get("X-Content-Sha256")
    if header is not None:
        given |= schemas.checked(schemas.UploadOptions(only=["sha256"]), {"sha256": header})
    key = Key(checked(name, "model"), checked(version, "version"))
    request.max_content_length = here.settings.max_model_bytes
    action = here.models.put(
        key, request.stream, here.settings.max_model_bytes, given["sha256"], given["backend"]
    )
    return settled([action])


@blueprint.delete("/models/<name>/versions/<version>")
def delete(name: str, version: str) -> Response:
    """Take a version away; answer when no worker serves it."""
    return settled([serving().models.delete(Key(name, version))])


@blueprint.post("/models/<name>/load")
def load(name: str) -> Response:
    """Load a version, the newest if none is named; answer when every worker serves it."""
    return settled(serving().models.load(name, _chosen()))


@blueprint.post("/models/<name>/unload")
def unload(name: str) -> Response:
    """Unload a version, or all of them; answer when no worker serves them."""
    return settled(serving().models.unload(name, _chosen()))


@blueprint.post("/models/<name>/verify")
@blueprint.post("/models/<name>/versions/<version>/verify")
def verify(name: str, version: str | None = None) -> Response:
    """Run a model's golden check in every worker; one with a wrong answer goes to the CPU."""
    here = serving()
    key = here.predictor.find(name, version).key
    found = here.checkup.everywhere(key, here.settings.action_timeout_s)
    return json_answer(
        schemas.Verification(),
        {
            "model_name": name,
            "version": key.version,
            "ok": all(item.ok for item in found),
            "workers": [
                {**asdict(item), "worker": item.worker.worker, "pid": item.worker.pid}
                for item in found
            ],
        },
    )


@blueprint.get("/actions/<action>")
def action(action: str) -> Response:
    """Say how far an earlier action has come."""
    outcome = serving().models.outcome(action)
    return json_answer(schemas.ActionAnswer(), _action(outcome))


def _chosen() -> str | None:
    """Read the version that a load or unload means, from the query or the JSON body."""
    asked: str | None = queried(schemas.VersionChoice())["version"]
    said: str | None = schemas.checked(schemas.VersionChoice(), json_object())["version"]
    if None not in (asked, said) and asked != said:
        raise InvalidInput(f"the query says {asked!r} and the body {said!r}")
    return asked or said


def settled(actions: Sequence[Action]) -> Response:
    """Wait until every worker has followed, and say how far they came."""
    here = serving()
    outcomes = [here.models.wait(item, here.settings.action_timeout_s) for item in actions]
    word = next(word for word in _STATUS if any(item.state == word for item in outcomes))
    shown = [_action(outcome) for outcome in outcomes]
    if word in ("failed", "superseded"):
        return _unsettled(word, outcomes, shown)
    url = shown[0]["status_url"] if word == "pending" else None
    values = {"state": word, "actions": shown, "status_url": url}
    response = json_answer(schemas.ActionAnswers(), values, _STATUS[word])
    if url:
        response.headers["Location"] = url
        response.headers["Retry-After"] = "1"
    return response


def _unsettled(word: str, outcomes: Sequence[Outcome], shown: list[dict[str, Any]]) -> Response:
    bad = next(item for item in outcomes if item.state == word)
    if word == "superseded":
        detail = f"another request has changed {bad.action.key} before every worker had followed"
        return answer(409, "model_conflict", detail, {"actions": shown})
    failed = [item for item in bad.workers if item.state == "failed"]
    errors = "; ".join(f"worker {item.pid}: {item.error}" for item in failed)
    detail = f"{bad.action.key} failed on {len(failed)} of {len(bad.workers)} workers: {errors}"
    codes = {item.code for item in failed}
    if DeviceMemoryError.code in codes:
        return answer(507, DeviceMemoryError.code, detail, {"actions": shown})
    # The file is at fault, not the server: no reason to wake somebody who watches for 5xx.
    if len(codes) == 1 and codes < _AT_FAULT:
        return answer(422, codes.pop() or "", detail, {"actions": shown})
    response = answer(503, ModelLoadFailed.code, detail, {"actions": shown})
    response.headers["Retry-After"] = "5"
    return response


def _action(outcome: Outcome) -> dict[str, Any]:
    item = outcome.action
    return {
        "id": item.id,
        "action": item.kind,
        "model_name": item.key.name,
        "version": item.key.version,
        "sha256": item.sha256,
        "state": outcome.state,
        "workers": [
            {"worker": w.worker, "pid": w.pid, "state": w.state, "error": w.error}
            for w in outcome.workers
        ],
        "status_url": url_for("models.action", action=item.id),
    }


def _model(name: str, versions: list[Version]) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "error": None}
    try:
        manifest = serving().models.manifest(name)
        for part in ("title", "description", "licence", "homepage", "labels"):
            described[part] = getattr(manifest, part)
    except InvalidModel as error:
        described["error"] = str(error)
    loaded = [v.wish.key.version for v in versions if state(v) == "ready"]
    described["default_version"] = loaded[-1] if loaded else None
    described["versions"] = [_version(version) for version in versions]
    return described


def _version(version: Version) -> dict[str, Any]:
    wish = version.wish
    current = list(version.current())
    errors = [report.error for _, report in current if report]
    workers = [
        {
            "worker": worker.worker,
            "pid": worker.pid,
            "state": report.state if report else "pending",
            "error": report.error if report else None,
        }
        for worker, report in current
    ]
    unknown = dict.fromkeys(
        ("backend", "device", "reason", "memory_bytes", "load_seconds", "inputs", "outputs")
    )
    return {
        **unknown,
        **version.facts(),
        # Workers that have not let go yet still have a backend to speak of.
        **({"reason": wish.rest} if wish.asleep else {}),
        "version": wish.key.version,
        "state": state(version),
        "wanted": wish.wanted,
        "sha256": wish.sha256,
        "backend_wanted": wish.backend,
        "error": next((error for error in errors if error), None),
        "workers": workers,
    }
