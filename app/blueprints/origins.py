"""What pages in a browser may do here: of other origins only those that CORS_ORIGINS names.

A browser sends what a page asks for, but shows it only answers that name the page's origin. It
would send a plain POST all the same: a load or unload from anywhere that somebody looks at who can
reach this server. So changes are refused to other origins; clients that are no browsers send
neither of the fields that are looked at.
Source: the Fetch standard, CORS protocol; W3C Fetch Metadata for Sec-Fetch-Site.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

from app.errors import ForeignOrigin
from app.wire.response import HEADER_LENGTH

EVERY = "*"
_CHANGES = frozenset((
    "models.put", "models.delete", "models.load", "models.unload", "models.verify",
    "v2.load", "v2.unload",
))  # fmt: skip
_READABLE = f"Location, Retry-After, X-Request-Id, Content-Encoding, {HEADER_LENGTH}"
_PREFLIGHT_SECONDS = 600


def init_app(app: Flask, allowed: tuple[str, ...]) -> None:
    """Hold an app's routes to the origins that are allowed."""

    def refuse() -> None:
        if request.endpoint in _CHANGES and request.method != "OPTIONS" and _foreign():
            origin = request.headers.get("Origin", "")
            if not _named(origin, allowed):
                raise ForeignOrigin(
                    f"a page of {origin[:200] or 'another origin'} may not change this server; "
                    "name its origin in CORS_ORIGINS if it shall"
                )

    def permit(response: Response) -> Response:
        origin = request.headers.get("Origin", "")
        if allowed:
            response.vary.add("Origin")
        if _named(origin, allowed):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _READABLE
            if request.method == "OPTIONS":
                wanted = request.headers.get("Access-Control-Request-Headers", "")
                response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
                response.headers["Access-Control-Allow-Headers"] = wanted
                response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
        return response

    app.before_request(refuse)
    app.after_request(permit)


def _named(origin: str, allowed: tuple[str, ...]) -> bool:
    return bool(origin) and (origin in allowed or EVERY in allowed)


def _foreign() -> bool:
    """Tell whether a page of another origin sends this; old browsers tell its name only."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    # A proxy may leave the port out of Host.
    return origin is not None and _host(origin) != _host(f"//{request.host}")


def _host(url: str) -> str | None:
    """Find the host in what a client calls an origin."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
