"""GET /health, /health/live and /health/ready."""

from __future__ import annotations

import time
from collections import Counter

from flask import Blueprint, Response, request

from app import schemas
from app.blueprints.errors import answer
from app.blueprints.serving import json_answer, serving
from app.repository.standing import Version

blueprint = Blueprint("health", __name__)


# Of the server as a whole.
_METHODS = "DELETE, GET, HEAD, OPTIONS, POST, PUT"
_WHOLE = frozenset(("*", "/"))


@blueprint.before_app_request
def options() -> Response | None:
    """Answer the question whether a server is there, as HAProxy asks it: OPTIONS / or OPTIONS *.

    Source: RFC 9110, 9.3.7. A worker that does not take requests yet does not answer this either.
    """
    if request.method == "OPTIONS" and request.environ.get("RAW_URI") in _WHOLE:
        return Response(status=204, headers={"Allow": _METHODS})
    return None


@blueprint.get("/health")
def health() -> Response:
    """Say in one JSON how the server as a whole is."""
    here = serving()
    versions = here.models.versions()
    workers = here.models.workers()
    count = Counter(state(version) for version in versions if version.wish.wanted)
    devices = {str(device) for v in versions if (device := v.facts().get("device"))}
    reasons = here.models.not_ready(here.settings.workers)
    began = min((worker.since for worker in workers), default=here.started)
    words = {True: "ok" if not count["failed"] else "degraded", False: "starting"}
    return json_answer(
        schemas.Health(),
        {
            "status": words[not reasons],
            "version": here.version,
            "uptime_seconds": time.monotonic() - began,
            "device": ", ".join(sorted(devices)) or "none in use",
            "workers": {
                "alive": len(workers),
                "serving": sum(worker.phase == "serving" for worker in workers),
                "expected": here.settings.workers,
            },
            "models": {word: count[word] for word in ("ready", "loading", "failed")},
        },
    )


@blueprint.get("/health/live")
def live() -> Response:
    """Say that this worker answers."""
    return json_answer(schemas.Readiness(), {"status": "live"})


@blueprint.get("/health/ready")
def ready() -> Response:
    """Say whether every worker has carried out what it should; 503 with the reasons if not."""
    here = serving()
    reasons = here.models.not_ready(here.settings.workers)
    if not reasons:
        return json_answer(schemas.Readiness(), {"status": "ready", "reasons": []})
    response = answer(503, "not_ready", "; ".join(reasons), {"reasons": reasons})
    response.headers["Retry-After"] = "1"
    return response


def state(version: Version) -> str:
    """Sum up what the serving workers say of one version."""
    if not version.wish.wanted:
        return "unloaded"
    states = {
        report.state if report else "loading"
        for worker, report in version.current()
        if worker.phase == "serving"
    }
    for word in ("failed", "loading"):
        if word in states:
            return word
    return "ready" if states == {"ready"} else "loading"


