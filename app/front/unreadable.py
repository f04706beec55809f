"""What to answer to bytes that are no request: the status, and a sentence for who sent them."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors

from app.front.head import LARGEST


def explained(error: Exception, cfg: Any) -> tuple[HTTPStatus, str] | None:
    """Say what was wrong and what would be right; None if no client is to blame.

    cfg has gunicorn's limits.
    """
    if isinstance(error, errors.InvalidResponseHeader | errors.InvalidResponseHeaderName):
        return None
    for kind, (status, say) in _KINDS.items():
        if isinstance(error, kind):
            return status, say(error, cfg)
    if isinstance(error, errors.ParseException | errors.NoMoreData):
        return HTTPStatus.BAD_REQUEST, f"this is no HTTP request: {str(error)[:200]}"
    return None


def _line(error: Any, cfg: Any) -> str:
    line = error.req if isinstance(error.req, bytes) else str(error.req).encode()
    hint = next((hint for start, hint in _BEGINNINGS.items() if line.startswith(start)), _PLAIN)
    return f"{error.req!r:.60} is no HTTP/1.1{hint}"


_PLAIN = "; send a line like 'POST /inference HTTP/1.1', and end every line with CR LF"
_PROXIED = ": it is the PROXY protocol, which is not read here; turn it off at the proxy"
_BEGINNINGS = {
    b"\x16": ": it looks like TLS, which ends at a proxy; this port speaks plain http://",
    b"PRI * HTTP/2": ": it is HTTP/2, which a proxy may speak; this port speaks HTTP/1.1",
    b"PROXY ": _PROXIED,
    b"\r\n\r\n\0\r\nQUIT\n": _PROXIED,
}


def _header(error: Any, cfg: Any) -> str:
    rule = _RULES.get(error.hdr, "send it once, in one line without control characters")
    return (
        f"the header field {error.hdr!r:.60} is missing, given twice or has a value that is none; "
        f"{rule}"
    )


def _dotted(version: Any) -> str:
    return ".".join(map(str, version)) if isinstance(version, tuple) else repr(version)


_RULES = {
    "CONTENT-LENGTH": "it is one whole number, and does not stand beside Transfer-Encoding",
    "HOST": "HTTP/1.1 has it once, like 'Host: localhost:8000'",
    "TRANSFER-ENCODING": "HTTP/1.1 alone has it, and 'chunked' alone is read here",
}
_BAD = HTTPStatus.BAD_REQUEST
_KINDS: dict[type[Exception], tuple[HTTPStatus, Callable[[Any, Any], str]]] = {
    errors.InvalidRequestLine: (_BAD, _line),
    errors.InvalidRequestMethod: (_BAD, lambda error, cfg: (
        f"the method {error.method!r:.60} is none; GET, HEAD, POST, PUT, DELETE and OPTIONS are, "
        "in capitals"
    )),
    errors.InvalidHTTPVersion: (_BAD, lambda error, cfg: (
        f"the version of HTTP is {_dotted(error.version):.60}; HTTP/1.1 and HTTP/1.0 are spoken "
        "here"
    )),
    errors.InvalidHeader: (_BAD, _header),
    errors.InvalidHeaderName: (_BAD, lambda error, cfg: (
        f"{error.hdr!r:.60} cannot name a header field: use letters, digits and '-', with the "
        "':' right behind them"
    )),
    errors.ObsoleteFolding: (_BAD, lambda error, cfg: (
        f"the header field {error.hdr!r:.60} goes on in a second line; send it in one"
    )),
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, lambda error, cfg: (
        f"the request line is longer than the {cfg.limit_request_line} bytes that are taken"
    )),
    errors.LimitRequestHeaders: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, lambda error, cfg: (
        f"the header is too large; {cfg.limit_request_fields} fields are taken, of "
        f"{cfg.limit_request_field_size} bytes each and {LARGEST} in all"
    )),
    errors.UnsupportedTransferCoding: (HTTPStatus.NOT_IMPLEMENTED, lambda error, cfg: (
        f"the transfer coding {error.hdr!r:.60} is not read here; 'chunked' is, and a compressed "
        "body says so in Content-Encoding"
    )),
    errors.ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, lambda error, cfg: (
        f"Expect is {error.expect!r:.60}; 100-continue is all that can be expected"
    )),
}  # fmt: skip
STATUSES = sorted({int(status) for status, _ in _KINDS.values()})
"""Whatever is asked for, bytes that are no request may be answered so."""
